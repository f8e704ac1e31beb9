"""As whom PostgreSQL runs. It refuses to run as root, and initdb wants a user that the machine knows."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trunkline.dev.errors import StartError


@dataclass(frozen=True)
class Identity:
    """Ourselves, ourselves under another name (`prefix` enters a user namespace), or another user of the machine."""

    prefix: tuple[str, ...] = ()
    user: int | None = None
    group: int | None = None

    def can_run(self, *programs: Path) -> bool:
        """Whether the programs start under this identity; tried, since policies of kernel and container decide."""
        return all(_starts([*self.prefix, str(program), "--version"], self) for program in programs)

    def own(self, path: Path) -> Path:
        """Hands what we have just created to the user who will need it."""
        if self.user is not None:
            os.chown(path, self.user, self.group if self.group is not None else -1)
        return path


def choose(program: Path) -> Identity:
    """The least intrusive identity under which `program` (a postgres) can run.

    Raises:
        StartError: as root or an unnamed user, with user namespaces forbidden and no other user to become.
    """
    if os.geteuid() != 0 and _known(os.geteuid()):
        return Identity()
    alias = _ordinary_user()
    unshare = shutil.which("unshare")
    if unshare and alias:
        # Files stay ours on the outside; on the inside the same user has an ordinary number. No permission has to be widened.
        renamed = Identity(prefix=(unshare, "-U", f"--map-user={alias.pw_uid}"))
        if renamed.can_run(program):
            return renamed
    if os.geteuid() == 0 and alias:
        return Identity(user=alias.pw_uid, group=alias.pw_gid)
    raise StartError(
        "PostgreSQL cannot run as this user and user namespaces are not allowed here: run as an ordinary user with an entry in /etc/passwd."
    )


def _known(user: int) -> bool:
    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True


def _ordinary_user() -> pwd.struct_passwd | None:
    by_name = {entry.pw_name: entry for entry in pwd.getpwall() if entry.pw_uid != 0}
    for name in ("postgres", "nobody"):
        if name in by_name:
            return by_name[name]
    return next(iter(by_name.values()), None)


def _starts(argv: Sequence[str], identity: Identity) -> bool:
    try:
        tried = subprocess.run(  # noqa: S603  the program is the postgres we are about to start
            argv,
            user=identity.user,
            group=identity.group,
            extra_groups=[] if identity.user is not None else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return tried.returncode == 0

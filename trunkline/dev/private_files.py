"""Directories and files that nobody else on the machine can read. What we did not create keeps its permissions."""

import os
import secrets
import stat
from pathlib import Path

from trunkline.dev.errors import StartError


def private_directory(path: Path) -> Path:
    """Creates `path` with mode 0700 unless it stands there already as a directory of ours that is closed to others.

    Raises:
        StartError: it cannot be made, belongs to somebody else, is open to others, or is no directory.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise StartError(f"{path} cannot be used as a directory ({error.strerror}): choose another one.") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise StartError(f"{path} belongs to somebody else: remove it or choose another directory.")
    if found.st_mode & 0o077:
        raise StartError(f"{path} is open to other users of this machine: close it with `chmod 700` or choose another directory.")
    return path


def write_private(path: Path, text: str) -> Path:
    """Replaces the file in one step by one of mode 0600: a reader sees the old text or the new one, also after a crash."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return new.replace(path)


def kept_secret(path: Path) -> str:
    """The random password in `path`, made on first use; its characters need no quoting in a URL."""
    if not path.exists():
        write_private(path, secrets.token_urlsafe(24))
    return path.read_text(encoding="utf-8")


def kept_text(path: Path) -> str | None:
    """What stands in `path`, or None where there is no such file."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None

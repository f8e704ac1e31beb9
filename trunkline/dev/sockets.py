"""Directories short enough for a unix socket: its whole path must fit into 108 bytes on Linux and 104 on macOS, the final zero included."""

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from trunkline.dev.errors import StartError
from trunkline.dev.private_files import kept_text, write_private

LONGEST_PATH = 103
_NOTE = "socket-directory"  # where a short directory was made, so that a later start can remove what a killed one left


def socket_directory(directory: Path, socket_name: str) -> Path:
    """`directory` itself if the path of its socket fits, else a private directory in a shorter place, noted in `directory`."""
    if _fits(directory / socket_name):
        return directory
    places = [os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp"]  # noqa: S108  mkdtemp makes a 0700 directory there
    for place in places:
        if not (place and os.access(place, os.W_OK | os.X_OK) and _fits(Path(place, "trunkline-12345678", socket_name))):
            continue
        made = Path(tempfile.mkdtemp(prefix="trunkline-", dir=place))
        write_private(directory / _NOTE, str(made))
        return made
    raise StartError(f"{directory} is too long a path for a unix socket and no shorter place is writable: choose a shorter DATA_DIR.")


def remove_socket_directory(directory: Path) -> None:
    """Removes the short directory that stands in for `directory`, if there is one and it is ours."""
    noted = kept_text(directory / _NOTE)
    if noted is None:
        return
    place = Path(noted)
    with suppress(FileNotFoundError):
        if place.lstat().st_uid in (os.geteuid(), directory.stat().st_uid) and place.name.startswith("trunkline-"):
            shutil.rmtree(place, ignore_errors=True)
    (directory / _NOTE).unlink(missing_ok=True)


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= LONGEST_PATH

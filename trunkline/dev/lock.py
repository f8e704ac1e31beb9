import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from trunkline.dev.errors import StartError


class DirectoryLock:
    """One holder per file, across processes; the kernel frees it with the last of its holder, so a `kill -9` leaves no stale lock."""

    def __init__(self, path: Path, purpose: str) -> None:
        """`purpose` completes the refusal: "Process 7 already runs {purpose}"."""
        self.path, self.purpose = path, purpose
        self._held: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds it."""
        return self._held is not None

    def acquire(self) -> None:
        """Takes the lock; does nothing while this object holds it.

        Raises:
            StartError: another holder is alive.
        """
        if self._held is not None:
            return
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(file, 20, 0).decode(errors="replace").strip() or "of another user"
            os.close(file)
            raise StartError(f"Process {holder} already runs {self.purpose}: stop it, or choose another DATA_DIR.") from None
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)
        self._held = file

    def release(self) -> None:
        """Frees the lock; does nothing where it is not held. The file stays: removing it would let two holders in."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()

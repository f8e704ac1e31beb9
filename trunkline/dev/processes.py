"""Children of ours: started so that they end with us, stopped so that nothing of them stays."""

import asyncio
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO

from trunkline.dev.identity import Identity

Steps = Sequence[tuple[signal.Signals, float]]
"""Signals in the order they are sent, each with the seconds that it is given to work."""

_LOOK_EVERY = 0.02  # seconds; polling needs no thread and no particular event loop
_LARGEST_LOG = 10_000_000  # bytes, before a start moves it aside


class Child:
    """A started process, leading a session of its own: a Ctrl-C at the terminal reaches us alone, and we choose the order of stopping."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """The process id; that of the program itself, since every wrapper replaces itself by it."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        return self._process.poll()

    async def wait(self) -> int:
        """The exit code, once it has one."""
        while (code := self.exit_code) is None:  # noqa: ASYNC110  another process sets no event
            await asyncio.sleep(_LOOK_EVERY)
        return code

    async def end(self, steps: Steps) -> None:
        """Sends each signal and waits as long as its step says, then kills what is left of the process and of its group."""
        for number, seconds in (*steps, (signal.SIGKILL, 5.0)):
            if self.exit_code is not None:
                break
            self._process.send_signal(number)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.wait()
        with suppress(ProcessLookupError, PermissionError):  # macOS answers PermissionError for a group of zombies
            os.killpg(self.pid, signal.SIGKILL)


def spawn(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    log: Path,
    echo: Callable[[str], None] | None = None,
    identity: Identity | None = None,
    death_signal: signal.Signals = signal.SIGTERM,
) -> Child:
    """Starts a program whose output is appended to `log` and, line by line, given to `echo`.

    `death_signal` reaches the child when the calling thread ends (Linux): call it from the main thread.

    Raises:
        OSError: there is no such program or directory.
    """
    identity = identity or Identity()
    if log.exists() and log.stat().st_size > _LARGEST_LOG:
        log.replace(log.with_name(f"{log.name}.1"))
    output = log.open("ab")
    process = subprocess.Popen(  # noqa: S603  what runs is decided by the caller, never by input
        [*_dying_with_us(death_signal), *identity.prefix, *argv],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if echo else output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        user=identity.user,
        group=identity.group,
        extra_groups=[] if identity.user is not None else None,
    )
    if echo and process.stdout:
        threading.Thread(target=_copy, args=(process.stdout, output, echo), daemon=True).start()
    else:
        output.close()
    return Child(process)


def last_lines(log: Path, count: int = 5, since: int = 0) -> str:
    """The end of a log file, from byte `since` on, in at most `count` lines."""
    with suppress(OSError), log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(since if since <= size else 0, size - 4_000))
        return "\n".join(file.read().decode(errors="replace").strip().splitlines()[-count:])
    return ""


def _copy(lines: IO[bytes], log: IO[bytes], echo: Callable[[str], None]) -> None:
    with lines, log:
        for line in lines:
            log.write(line)
            log.flush()
            with suppress(OSError):  # whoever read our output may have gone before us
                echo(line.decode(errors="replace").rstrip())


@cache
def _dying_with_us(number: signal.Signals) -> tuple[str, ...]:
    """A wrapper that asks the kernel to signal the child when we die, even by `kill -9`; empty where there is none.

    setpriv rather than `preexec_fn`: no Python runs between fork and exec. The wish outlives exec and the way into a user namespace.
    Where it is missing, the next start finds and ends what stayed.
    """
    setpriv = shutil.which("setpriv")
    prefix = (setpriv or "", "--pdeathsig", number.name.removeprefix("SIG"))
    if setpriv is None or subprocess.run([*prefix, "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:  # noqa: S603  a fixed command
        return ()
    return prefix

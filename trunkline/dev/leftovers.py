"""Finding and ending what a killed supervisor left behind."""

import asyncio
import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from trunkline.dev.processes import Steps


def standing_in(directory: Path, names: frozenset[str]) -> list[psutil.Process]:
    """Running programs of these names whose current directory is `directory` or below: a pid file may lie after a reboot, this does not."""
    place = directory.resolve()
    return [process for process in _others() if _name(process) in names and (cwd := _cwd(process)) and cwd.is_relative_to(place)]


def carrying(variable: str, value: str) -> list[psutil.Process]:
    """Running processes that were started with this environment variable, ourselves and our ancestors excluded."""
    ours = {process.pid for process in psutil.Process().parents()}
    return [process for process in _others() if process.pid not in ours and _environment(process).get(variable) == value]


async def end_all(processes: Iterable[psutil.Process], steps: Steps) -> None:
    """Signals the parents among the processes step by step; at the end kills whatever of them is left. Returns when all are gone."""
    found = list(processes)
    pids = {process.pid for process in found}
    heads = [process for process in found if _parent(process) not in pids]
    for number, seconds in (*steps, (signal.SIGKILL, 5.0)):
        for process in found if number == signal.SIGKILL else heads:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        until = time.monotonic() + seconds
        while any(map(_alive, found)) and time.monotonic() < until:  # noqa: ASYNC110  another process sets no event
            await asyncio.sleep(0.02)
        if not any(map(_alive, found)):
            return


def _others() -> Iterator[psutil.Process]:
    return (process for process in psutil.process_iter() if process.pid != os.getpid())


def _alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _name(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return process.name()
    return ""


def _parent(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return process.ppid()
    return 0


def _cwd(process: psutil.Process) -> Path | None:
    with suppress(psutil.Error, OSError):
        return Path(process.cwd() or "/")
    return None


def _environment(process: psutil.Process) -> dict[str, str]:
    with suppress(psutil.Error, OSError):
        return process.environ()
    return {}

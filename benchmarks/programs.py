"""Programs that a benchmark starts: run to their end, or served for the length of a block."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import psutil

from trunkline.dev.commands import Command


async def run(name: str, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """What the program printed.

    Raises:
        SystemExit: it failed; with its last words.
    """
    process = await asyncio.create_subprocess_exec(
        *argv, cwd=cwd, env={**os.environ, **(env or {})}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said = (await process.communicate())[0].decode(errors="replace")
    if process.returncode:
        raise SystemExit(f"{name} failed with {process.returncode}:\n{said[-2000:]}")
    return said


@asynccontextmanager
async def served(name: str, argv: Sequence[str], health: str, *, cwd: Path, env: Mapping[str, str], log: Path) -> AsyncIterator[int]:
    """A server for the length of the block, ready once `health` answers 200; gives its process id."""

    async def healthy() -> bool:
        try:
            return (await http.get(health)).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    async with httpx.AsyncClient(timeout=5) as http:
        command = Command(name, argv, {**os.environ, **env}, cwd, log, ready=healthy)
        await command.start()
    try:
        if command.pid is None:
            raise SystemExit(f"{name} ended as soon as it was ready; see {log}")
        yield command.pid
    finally:
        await command.stop(within=15.0)


def cpu_seconds(pid: int) -> float:
    """CPU time that a process and its children have used so far."""
    root = psutil.Process(pid)
    used = 0.0
    for each in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # a worker of PostgreSQL that ended just now
            used += sum(each.cpu_times()[:2])
    return used

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trunkline.dev.errors import StartError
from trunkline.dev.processes import Child, last_lines, spawn

_LOOK_EVERY = 0.05


@dataclass
class Command:
    """A program of ours under supervision, such as the API or the worker; its output goes to `log` and, by lines, to `echo`."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    log: Path
    ready: Callable[[], Awaitable[bool]] | None = None
    ready_within: float = 60.0
    echo: Callable[[str], None] | None = None
    _child: Child | None = field(default=None, init=False, repr=False)

    @property
    def pid(self) -> int | None:
        """The process id, None while it does not run."""
        return self._child.pid if self._child and self._child.exit_code is None else None

    async def start(self) -> None:
        """Returns once `ready` says so, at once where there is none.

        Raises:
            StartError: it ended before, or took longer than `ready_within` seconds; it runs no more.
        """
        await self.stop(within=0)  # what a run that died has started itself
        written = self.log.stat().st_size if self.log.exists() else 0
        try:
            self._child = spawn(self.argv, cwd=self.cwd, env=self.env, log=self.log, echo=self.echo)
        except OSError as error:
            raise StartError(f"{self.name} does not start: {error}.") from error
        try:
            await self._until_ready(self._child, written)
        except BaseException:
            await self.stop(within=2.0)
            raise

    async def wait(self) -> int:
        """The exit code, once it has ended."""
        return await self._child.wait() if self._child else 0

    async def stop(self, within: float = 5.0) -> None:
        """TERM, at most `within` seconds later KILL; its own children go with it."""
        if self._child:
            await self._child.end([(signal.SIGTERM, within)])

    async def _until_ready(self, child: Child, written: int) -> None:
        until = time.monotonic() + self.ready_within
        while self.ready and not await self.ready():
            if child.exit_code is not None:
                said = last_lines(self.log, since=written) or "nothing"
                raise StartError(f"{self.name} ended with {child.exit_code} before it was ready; it said: {said}")
            if time.monotonic() > until:
                raise StartError(f"{self.name} was not ready within {self.ready_within:g} s; see {self.log}.")
            await asyncio.sleep(_LOOK_EVERY)

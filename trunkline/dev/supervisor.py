import asyncio
import ctypes
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import click

from trunkline.dev.commands import Command
from trunkline.dev.errors import StartError
from trunkline.dev.leftovers import carrying, end_all
from trunkline.dev.lock import DirectoryLock
from trunkline.dev.private_files import private_directory

_MARK = "SUPERVISED_IN"  # in the environment of every command, so that a later start recognises it
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0  # seconds before a dead service is started again
_STEADY_AFTER = 30.0  # seconds of running after which a death counts as the first
_PR_SET_PDEATHSIG = 1


class Service(Protocol):
    """What can be supervised: a Command, an EmbeddedPostgres, an EmbeddedValkey."""

    @property
    def name(self) -> str:
        """How notices call it."""

    async def start(self) -> None:
        """Returns when it serves; also after a death."""

    async def wait(self) -> int:
        """Returns its exit code when it has ended."""

    async def stop(self, within: float) -> None:
        """Returns when nothing of it is left, some `within` seconds from now at the latest."""


class Supervisor:
    """Runs services in `data_dir` until it is told to stop: restarts what dies, stops in reverse order, takes over from a killed one.

    `private` is a 0700 directory inside `data_dir` for whatever a service keeps. `data_dir` itself keeps its permissions.
    """

    def __init__(self, data_dir: Path, notice: Callable[[str], None] = click.echo, *, stop_within: float = 16.0) -> None:
        """`notice` is given one line for each event; `stop_within` are the seconds that all services together get for a polite end.

        Raises:
            StartError: the directory cannot be used.
        """
        self.data_dir = data_dir.absolute()
        self.private = private_directory(self.data_dir / "private")
        self._say = notice
        self._stop_within = stop_within
        self._watched: list[tuple[Service, asyncio.Task[None]]] = []
        self._stop_asked = asyncio.Event()

    def notice(self, line: str) -> None:
        """Tells the person at the terminal; whether anyone is still there does not matter."""
        with suppress(OSError):
            self._say(line)

    def command(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        *,
        cwd: Path | None = None,
        ready: Callable[[], Awaitable[bool]] | None = None,
        ready_within: float = 60.0,
        echo: bool = False,
    ) -> Command:
        """A program that logs to `private/logs/{name}.log` and, with `echo`, to our terminal under its name."""
        log = private_directory(self.private / "logs") / f"{name}.log"
        marked = {**env, _MARK: str(self.private.resolve())}
        return Command(
            name,
            argv,
            marked,
            cwd or self.data_dir,
            log,
            ready,
            ready_within,
            (lambda line: self.notice(f"{name} | {line}")) if echo else None,
        )

    async def run(self, story: Callable[[], Awaitable[None]]) -> None:
        """Plays `story`, which starts the services, then serves until INT, TERM or HUP or `ask_to_stop`; then stops them in reverse order.

        Raises:
            StartError: another run holds the directory.
            Exception: whatever the story raised, once everything has been stopped.
        """
        with DirectoryLock(self.private / "lock", f"on {self.data_dir}"):
            _end_with_make()
            signals = self._listen()
            try:
                await self._end_leftovers()
                await self._play(story)
            finally:
                await self._stop_all()
                for number in signals:
                    asyncio.get_running_loop().remove_signal_handler(number)

    async def start(self, service: Service) -> None:
        """Starts a service and keeps it running from then on.

        Raises:
            StartError: it does not start.
        """
        await service.start()
        self._watched.append((service, asyncio.create_task(self._keep(service), name=f"keep {service.name}")))

    async def run_once(self, command: Command) -> int:
        """Runs a command to its end; answers with its exit code."""
        try:
            await command.start()
            return await command.wait()
        finally:
            await command.stop(within=3.0)

    def ask_to_stop(self) -> None:
        """Ends `run`, as a signal does."""
        self._stop_asked.set()

    def _listen(self) -> list[signal.Signals]:
        wanted = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # ignored under nohup, which wants us to outlive the terminal
            wanted.append(signal.SIGHUP)
        for number in wanted:
            asyncio.get_running_loop().add_signal_handler(number, self._signalled, number)
        return wanted

    def _signalled(self, number: signal.Signals) -> None:
        self.notice("already stopping" if self._stop_asked.is_set() else f"{number.name}: stopping")
        self._stop_asked.set()

    async def _play(self, story: Callable[[], Awaitable[None]]) -> None:
        asked = asyncio.create_task(self._stop_asked.wait())
        playing = asyncio.ensure_future(story())
        try:
            await asyncio.wait({asked, playing}, return_when=asyncio.FIRST_COMPLETED)
            if playing.done():
                playing.result()
                await asked
        finally:
            for task in (asked, playing):
                task.cancel()
            await asyncio.gather(asked, playing, return_exceptions=True)

    async def _keep(self, service: Service) -> None:
        """Starts a service again whenever it ends."""
        pause = _FIRST_PAUSE
        while True:
            since = time.monotonic()
            ended = _described(await service.wait())
            pause = _FIRST_PAUSE if time.monotonic() - since > _STEADY_AFTER else pause
            self.notice(f"{service.name} {ended}: starting it again in {pause:g} s")
            while not await self._started_again(service, pause):
                pause = min(pause * 2, _LONGEST_PAUSE)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _started_again(self, service: Service, pause: float) -> bool:
        await asyncio.sleep(pause)
        try:
            await service.start()
        except StartError as error:
            self.notice(f"{error} Trying again.")
            return False
        self.notice(f"{service.name} runs again")
        return True

    async def _stop_all(self) -> None:
        self._stop_asked.set()
        until = time.monotonic() + self._stop_within
        while self._watched:
            service, keeping = self._watched.pop()
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            # Half of what is left for each, so that the first to hang leaves the servers time for a clean end.
            await service.stop(within=max(0.5, (until - time.monotonic()) / 2))

    async def _end_leftovers(self) -> None:
        found = carrying(_MARK, str(self.private.resolve()))
        if found:
            self.notice(f"ending {len(found)} processes that an earlier run left behind")
            await end_all(found, [(signal.SIGTERM, 5.0)])


def _described(code: int) -> str:
    if code >= 0:
        return f"ended with {code}"
    return f"was ended by {signal.Signals(-code).name}"


def _end_with_make() -> None:
    """Asks the kernel for a TERM when `make` goes, even by `kill -9`; without make we serve until a signal."""
    if "MAKELEVEL" in os.environ and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)

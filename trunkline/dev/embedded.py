import asyncio
import importlib.util
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from trunkline.dev.errors import StartError
from trunkline.dev.identity import Identity
from trunkline.dev.leftovers import end_all, standing_in
from trunkline.dev.lock import DirectoryLock
from trunkline.dev.ports import is_free, kept_port
from trunkline.dev.private_files import private_directory
from trunkline.dev.processes import Child, Steps, last_lines, spawn
from trunkline.dev.sockets import remove_socket_directory, socket_directory

_READY_WITHIN = 90.0  # seconds; recovery after a crash may replay a lot
_PORT_ATTEMPTS = 3
_LOOK_EVERY = 0.03


def silent(_: str) -> None:
    """A notice that nobody wants to read."""


class EmbeddedServer(ABC):
    """A server program as a child of ours in a private directory, on a unix socket and on a loopback port that it keeps.

    One at a time per directory. What a killed run left running in the directory is ended first. After a death, `start` again
    brings the server back on the same port, so that addresses once handed out stay true.
    """

    name: ClassVar[str]
    programs: ClassVar[frozenset[str]]  # what its processes are called, to recognise leftovers

    def __init__(self, directory: Path, notice: Callable[[str], None] = silent) -> None:
        """`directory` is made with mode 0700; `notice` is told in one line about leftovers."""
        self.directory = directory.absolute()
        self.home = self.directory  # where the server's own files stand
        self.sockets = self.directory
        self.identity = Identity()
        self.port = 0
        self._notice = notice
        self._lock = DirectoryLock(self.directory / "lock", f"{self.name} in {self.directory}")
        self._child: Child | None = None

    @property
    def log(self) -> Path:
        """What the server has to say."""
        return self.directory / "log"

    @property
    def pid(self) -> int | None:
        """The server's process id, None while it does not run."""
        return self._child.pid if self._child and self._child.exit_code is None else None

    async def start(self) -> None:
        """Returns once the server answers.

        Raises:
            StartError: it cannot; nothing is left running.
        """
        private_directory(self.directory)
        self._lock.acquire()
        try:
            await self._end_leftovers()
            await self._prepare()
            await self._launch()
        except BaseException:
            await self.stop(within=4.0)
            raise

    async def wait(self) -> int:
        """The exit code, once the server has ended."""
        return await self._child.wait() if self._child else 0

    async def stop(self, within: float = 10.0) -> None:
        """Ends the server, politely for `within` seconds, and all that belongs to it."""
        if self._child:
            await self._child.end(self._stopping(within))
        if self._lock.held:
            await end_all(standing_in(self.home, self.programs), self._stopping(2.0))
            remove_socket_directory(self.home)
        self._lock.release()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()

    @abstractmethod
    async def _prepare(self) -> None:
        """Makes the files that the server needs; may set `home` and `identity`."""

    @abstractmethod
    def _argv(self) -> list[str]:
        """The program and its arguments; `home`, `sockets` and `port` are set."""

    @abstractmethod
    def _socket_name(self) -> str:
        """The file name of the unix socket, as long as it may get."""

    @abstractmethod
    def _stopping(self, within: float) -> Steps:
        """The signals that end it, the polite one first."""

    @abstractmethod
    async def _answers(self) -> bool:
        """Whether it takes a connection and a command now."""

    async def _launch(self) -> None:
        promised = self.port != 0
        remove_socket_directory(self.home)
        self.sockets = self.identity.own(socket_directory(self.home, self._socket_name()))
        for _ in range(_PORT_ATTEMPTS):
            self.port = self.port if promised else kept_port(self.directory / "port")
            written = self.log.stat().st_size if self.log.exists() else 0
            self._child = spawn(
                self._argv(),
                cwd=self.home,
                env=server_environment(),
                log=self.log,
                identity=self.identity,
                death_signal=self._stopping(0)[0][0],
            )
            if await self._ready(self._child):
                return
            if promised or is_free(self.port):
                break
        if not promised:
            self.port = 0
        raise StartError(f"{self.name} does not start; its log ends with: {last_lines(self.log, since=written) or 'nothing'}")

    async def _ready(self, child: Child) -> bool:
        until = time.monotonic() + _READY_WITHIN
        while child.exit_code is None and time.monotonic() < until:
            if await self._answers():
                return True
            await asyncio.sleep(_LOOK_EVERY)
        return False

    async def _end_leftovers(self) -> None:
        found = standing_in(self.home, self.programs)
        if found:
            self._notice(f"{self.name} of an earlier run is still there: ending it")
            await end_all(found, self._stopping(8.0))


def package_directory(package: str) -> Path:
    """Where an installed package stands, without importing it: its start-up code is not ours to run.

    Raises:
        StartError: it is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise StartError(f"The package {package} is missing: install requirements/dev.txt, as `make run` does.")
    return Path(spec.submodule_search_locations[0])


def server_environment() -> Mapping[str, str]:
    """Ours, without the variables by which a shell's PostgreSQL settings would reach this server, and with messages in English."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}, "LC_ALL": "C"}

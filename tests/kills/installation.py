"""A whole Trunkline of its own: `trunkline dev` in a new directory, and a sandbox Twilio outside it that outlives every kill."""

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import psutil

from tests.kills.client import Http, Unreachable
from trunkline.dev.ports import free_port
from trunkline.dev.processes import Child, last_lines, spawn

Part = Literal["api", "worker", "postgres", "valkey"]

CHECKOUT = Path(__file__).resolve().parents[2]
READY_SECONDS = 120.0
BACK_SECONDS = 60.0
LOOK_EVERY = 0.02
STOPPING = [(signal.SIGTERM, 25.0)]


class NotRunning(Exception):
    """A process did not come up, or did not come back."""


@dataclass
class Installation:
    """One `directory` with data and logs, removed at the end unless `keep` is set; `dev` is its dev.json."""

    http: Http
    keep: bool = False
    directory: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="trunkline-kills-")))
    dev: dict[str, Any] = field(default_factory=dict)
    twilio_url: str = ""
    _port: int = field(default_factory=free_port)
    _trunkline: Child | None = None
    _twilio: Child | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._start_twilio()
            await self.start()
        except BaseException as error:
            self.keep |= isinstance(error, Exception)
            await self._end()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._end()

    @property
    def base_url(self) -> str:
        """Where the API answers."""
        return str(self.dev["base_url"])

    @property
    def admin_key(self) -> str:
        """The operator's key."""
        return str(self.dev["admin_key"])

    async def start(self) -> float:
        """Start `trunkline dev`, for the first time or after a kill; gives the seconds until it was ready.

        Raises:
            NotRunning: it ended, or was not ready in time.
        """
        began, document = time.monotonic(), self._data_dir / "dev.json"
        document.unlink(missing_ok=True)
        argv = [sys.executable, "-P", "-m", "trunkline.cli", "dev", "--port", str(self._port), "--data-dir", str(self._data_dir)]
        env = {**os.environ, "TRUNKLINE_TWILIO_BASE_URL": self.twilio_url}
        self._trunkline = spawn(argv, cwd=CHECKOUT, env=env, log=self.directory / "dev.log")
        while not (document.exists() and await self._answers(json.loads(document.read_text())["base_url"] + "/health/ready")):
            if self._trunkline.exit_code is not None or time.monotonic() - began > READY_SECONDS:
                raise NotRunning(f"trunkline dev did not get ready: {last_lines(self.directory / 'dev.log')}")
            await asyncio.sleep(LOOK_EVERY)
        self.dev = json.loads(document.read_text())
        return time.monotonic() - began

    async def kill(self, part: Part) -> float:
        """`kill -9` for one process; gives the seconds until another one stood in its place, an API until that one was ready.

        Raises:
            NotRunning: there was none, or none came back.
        """
        victim = await self._running(part)
        began = time.monotonic()
        victim.kill()
        await self._running(part, other_than=victim.pid)
        if part == "api":
            await self._eventually(lambda: self._answers(self.base_url + "/health/ready"), "the API")
        return time.monotonic() - began

    async def kill_everything(self) -> int:
        """`kill -9` for every process of the run at once, the supervisor included; gives how many there were."""
        if self._trunkline is None:
            raise NotRunning("there is nothing to kill")
        supervisor = psutil.Process(self._trunkline.pid)
        supervisor.suspend()  # lest it starts the first victim again before it dies itself
        victims = [*supervisor.children(recursive=True), supervisor]
        for victim in victims:
            with suppress(psutil.NoSuchProcess):
                victim.kill()
        await self._trunkline.wait()
        await self._eventually(lambda: _gone(victims), "the end of what was killed")
        return len(victims)

    @property
    def _data_dir(self) -> Path:
        return self.directory / "data"

    async def _start_twilio(self) -> None:
        port = free_port()
        self.twilio_url = f"http://127.0.0.1:{port}"
        argv = [sys.executable, "-P", "-m", "sandbox.twilio", "--port", str(port)]
        self._twilio = spawn(argv, cwd=CHECKOUT, env=os.environ, log=self.directory / "twilio.log")
        await self._eventually(lambda: self._answers(self.twilio_url), "the sandbox Twilio")

    async def _end(self) -> None:
        for child, steps in ((self._trunkline, STOPPING), (self._twilio, [(signal.SIGTERM, 5.0)])):
            if child is not None:
                await child.end(steps)
        if not self.keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    async def _running(self, part: Part, other_than: int | None = None) -> psutil.Process:
        """The process of a part, as soon as there is one."""
        until = time.monotonic() + BACK_SECONDS
        while time.monotonic() < until:
            found = self._find(part)
            if found is not None and found.pid != other_than:
                return found
            await asyncio.sleep(LOOK_EVERY)
        raise NotRunning(f"no process of {part} came back within {BACK_SECONDS:g} s: {last_lines(self.directory / 'dev.log')}")

    def _find(self, part: Part) -> psutil.Process | None:
        """By its command line, among the children of this run's supervisor and nowhere else."""
        if self._trunkline is None:
            return None
        for child in psutil.Process(self._trunkline.pid).children():
            with suppress(psutil.Error):
                if is_part(part, child.cmdline()):
                    return child
        return None

    async def _answers(self, url: str) -> bool:
        try:
            return (await self.http.call("GET", url, within=3.0)).status == 200
        except Unreachable:
            return False

    async def _eventually(self, look: Any, what: str) -> None:
        until = time.monotonic() + BACK_SECONDS
        while not await look():
            if time.monotonic() > until:
                raise NotRunning(f"{what} did not come within {BACK_SECONDS:g} s")
            await asyncio.sleep(LOOK_EVERY)


def is_part(part: Part, words: list[str]) -> bool:
    """Whether a command line is that of a part; a wrapper that has not yet become the program is not."""
    program = Path(words[0]).name if words else ""
    match part:
        case "api":
            return words[-2:] == ["trunkline.cli", "serve"] and program.startswith("python")
        case "worker":
            return words[-2:] == ["trunkline.cli", "worker"] and program.startswith("python")
        case "postgres":
            return program == "postgres" and "-D" in words
        case "valkey":
            return program.startswith("valkey-server")


async def _gone(processes: list[psutil.Process]) -> bool:
    """Whether none of them runs any more; a zombie, which somebody else has to bury, does not run."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                return False
    return True

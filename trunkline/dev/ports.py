import secrets
import socket
from pathlib import Path

from trunkline.dev.private_files import kept_text, write_private

LOOPBACK = "127.0.0.1"
# Below the range that Linux (32768) and macOS (49152) give to outgoing connections: such a port is still free after a restart.
_RANGE = range(20_000, 32_000)


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection in TIME_WAIT hinders no server either
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(preferred: int | None = None) -> int:
    """The preferred loopback port if it is free, else a random one that is."""
    if preferred is not None and is_free(preferred):
        return preferred
    for _ in range(100):
        port = secrets.choice(_RANGE)
        if is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def kept_port(file: Path) -> int:
    """A free port, the one that `file` remembers if possible; `file` remembers the answer."""
    known = kept_text(file)
    port = free_port(int(known) if known and known.isdecimal() else None)
    write_private(file, str(port))
    return port

"""One connection that asks, waits for the whole answer and knows how long it took: latency without a queue of its own."""

import re
import socket
import time
from types import TracebackType
from typing import Self

from benchmarks.load import Target, request_of
from benchmarks.payload import Template, identity

CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n")
SECONDS = 15.0


class Prober:
    """A kept-alive connection to one target."""

    def __init__(self, target: Target, template: Template) -> None:
        self._request = request_of(target, template)
        self._name = target.name
        self._socket = socket.create_connection(("127.0.0.1", target.port), timeout=SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()

    def ask(self, run: int, number: int) -> float:
        """Deliver call `number` of `run`; seconds until the whole answer was there.

        Raises:
            SystemExit: it was not answered with 200 and a result.
        """
        request = self._request % identity(run, number)
        began = time.perf_counter()
        self._socket.sendall(request)
        received = b""
        while not self._whole(received):
            piece = self._socket.recv(65_536)
            if not piece:
                raise SystemExit(f"{self._name} hung up.")
            received += piece
        took = time.perf_counter() - began
        if not received.startswith(b"HTTP/1.1 200 ") or b'"result"' not in received:
            raise SystemExit(f"{self._name} answered wrongly: {received[:1000]!r}")
        return took

    @staticmethod
    def _whole(received: bytes) -> bool:
        head_end = received.find(b"\r\n\r\n")
        if head_end < 0:
            return False
        length = CONTENT_LENGTH.search(received[: head_end + 2].lower())
        return length is not None and len(received) >= head_end + 4 + int(length[1])


def percentile(values: list[float], share: float) -> float:
    """In milliseconds."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * share))] * 1000

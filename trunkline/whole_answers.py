"""The HTTP protocol of `trunkline serve`: an answer's head leaves together with its body, in one write.

uvicorn writes them apart, which is a second system call for us and a second wake-up for whoever reads. Its ASGI specification
has the server keep the head until the first part of the body comes anyway (asgi.readthedocs.io, HTTP, "Response Start").
"""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD, INTERIM, END_OF_HEAD = b"HTTP/1.1 ", b"HTTP/1.1 1", b"\r\n\r\n"


class HeadWaits:
    """A transport that keeps an answer's head until something follows it, or nothing will."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def __getattr__(self, name: str) -> Any:  # everything that has nothing to do with writing
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write what was kept and this, or keep it."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(HEAD) and data.endswith(END_OF_HEAD) and not data.startswith(INTERIM):
            self._head = data
            return
        self._transport.write(data)

    def let_go(self) -> None:
        """Nothing follows: what was kept is all."""
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

    def close(self) -> None:
        """End the connection when everything has left."""
        self.let_go()
        self._transport.close()


class WholeAnswers(HttpToolsProtocol):
    """uvicorn's protocol, with an answer in one piece where it is one."""

    waiting: HeadWaits

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Somebody connected."""
        self.waiting = HeadWaits(transport)
        super().connection_made(cast("asyncio.Transport", self.waiting))

    def on_response_complete(self) -> None:
        """An answer is over: one to HEAD has no body that its head could leave with."""
        self.waiting.let_go()
        super().on_response_complete()

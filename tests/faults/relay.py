"""A relay between two programs that numbers their exchanges and can stop at each: before it was passed on, or before it is answered.

At "asked" the client's bytes arrived here and go nowhere. At "answered" the server has done its work (committed, where it was asked
to), and nobody learns of it.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from tests.faults.steps import Steps
from tests.faults.talks import Talk

HOST, PIECE = "127.0.0.1", 262_144


@dataclass(eq=False)
class Line:
    """One connection through a relay."""

    client: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    server: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    talk: Talk
    waiting: bool = False  # for an answer
    held: bytes = b""

    def abort(self) -> None:
        """Cut it on both sides; what is written to it afterwards goes nowhere."""
        for _, writer in (self.client, self.server):
            writer.transport.abort()

    def close(self) -> None:
        """End it on both sides, after what was written."""
        for _, writer in (self.client, self.server):
            writer.close()


@dataclass
class Relay:
    """Passes bytes on to `port`; its own port stays the same for its whole life."""

    name: str
    port: int
    steps: Steps
    talk: Callable[[], Talk]
    own_port: int = 0
    _server: asyncio.Server | None = None
    _lines: set[Line] = field(default_factory=set)

    async def mend(self) -> None:
        """Take connections."""
        if self._server is None:
            self._server = await asyncio.start_server(self._connected, HOST, self.own_port)
            self.own_port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """End every connection and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for line in list(self._lines):
            line.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server = await asyncio.open_connection(HOST, self.port)
        except OSError:
            writer.transport.abort()
            return
        line = Line((reader, writer), server, self.talk())
        self._lines.add(line)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._requests(line))
                both.create_task(self._answers(line))
        finally:
            self._lines.discard(line)
            line.close()

    async def _requests(self, line: Line) -> None:
        with suppress(OSError):
            while piece := await line.client[0].read(PIECE):
                if not line.waiting and line.talk.asks(piece):
                    if self.steps.reached(self.name, "asked"):
                        line.abort()
                    line.waiting = True
                line.server[1].write(piece)
                await line.server[1].drain()
        line.close()

    async def _answers(self, line: Line) -> None:
        with suppress(OSError):
            while piece := await line.server[0].read(PIECE):
                whole = line.talk.answers(piece)
                line.held += piece
                if line.waiting:
                    if not whole:
                        continue
                    if self.steps.reached(self.name, "answered"):
                        line.abort()
                    line.waiting = False
                passed, line.held = line.held, b""
                line.client[1].write(passed)
                await line.client[1].drain()
            line.client[1].write(line.held)
        line.close()

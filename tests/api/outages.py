"""A database that goes away and comes back: a relay between the API and PostgreSQL that the test cuts, stalls and mends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from sqlalchemy.engine import make_url

PIECE = 65_536


class Relay:
    """Passes bytes on, or refuses connections (`cut`), or takes them and stays silent (`stall`)."""

    def __init__(self, url: str) -> None:
        self._target = make_url(url)
        self._server: asyncio.Server | None = None
        self._port = 0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers: set[asyncio.StreamWriter] = set()

    @classmethod
    @asynccontextmanager
    async def to(cls, url: str) -> AsyncIterator["Relay"]:
        """A relay to the database at this address, until the block ends."""
        relay = cls(url)
        await relay.mend()
        try:
            yield relay
        finally:
            await relay.cut()

    @property
    def url(self) -> str:
        """The database's address, by way of the relay."""
        return self._target.set(host="127.0.0.1", port=self._port).render_as_string(hide_password=False)

    async def mend(self) -> None:
        """Let everything through."""
        self._flowing.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", self._port)
            self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """End every connection and refuse new ones."""
        self._flowing.set()
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    def stall(self) -> None:
        """Pass nothing on until mended."""
        self._flowing.clear()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            inner, outer = await asyncio.open_connection(self._target.host, self._target.port)
            self._writers |= {writer, outer}
            try:
                await asyncio.gather(self._pump(reader, outer), self._pump(inner, writer))
            finally:
                self._writers -= {writer, outer}
                for each in (writer, outer):
                    each.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(PIECE):
                await self._flowing.wait()
                writer.write(piece)
                await writer.drain()
            writer.close()

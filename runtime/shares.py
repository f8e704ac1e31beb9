"""A fair part of a scarce thing: no tenant holds more than its share of a process's connections."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class Shares:
    """At most `most` holders at once for each key; a key nobody holds or waits for costs nothing."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._open: dict[Hashable, tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def of(self, key: Hashable, within: float | None = None) -> AsyncIterator[None]:
        """Wait for a place among the key's holders, at most `within` seconds, and keep it until the block ends.

        Raises:
            TimeoutError: no place was free in time.
        """
        gate, users = self._open.get(key) or (asyncio.Semaphore(self.most), 0)
        self._open[key] = (gate, users + 1)
        try:
            async with asyncio.timeout(within):
                await gate.acquire()
            try:
                yield
            finally:
                gate.release()
        finally:
            gate, users = self._open[key]
            if users == 1:
                del self._open[key]
            else:
                self._open[key] = (gate, users - 1)

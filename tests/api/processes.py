"""What one process of the API is: its own connections and caches. Several of them share a database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from litestar import Litestar

from api.app import create_edge
from api.edge import Edge
from api.wiring import Wiring
from migrations.run import newest
from runtime.settings import Settings


@dataclass(frozen=True)
class Process:
    """The API, running in this process of the suite beside others."""

    edge: Edge
    http: httpx.AsyncClient

    @property
    def app(self) -> Litestar:
        """The application inside its outer layers."""
        inner: Any = self.edge
        while not isinstance(inner, Litestar):
            inner = inner.app
        return inner

    @property
    def wiring(self) -> Wiring:
        found: Wiring = self.app.state.wiring
        return found


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Process]:
    """Serve over ASGI until the block ends, as a server would: what `trunkline serve` runs, its lifespan included."""
    edge = create_edge(settings, newest())
    transport = httpx.ASGITransport(edge, raise_app_exceptions=False)  # type: ignore[arg-type]  # Litestar types its messages more closely
    async with lifespan(edge), httpx.AsyncClient(transport=transport, base_url="http://api.test") as http:
        yield Process(edge, http)


@asynccontextmanager
async def lifespan(edge: Edge) -> AsyncIterator[None]:
    """Speak ASGI's lifespan protocol, in a task of its own: fixtures begin and end in different ones."""
    asked: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    answered: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    life = asyncio.create_task(edge({"type": "lifespan", "asgi": {}, "state": {}}, asked.get, answered.put))  # type: ignore[arg-type]
    await tell(asked, answered, "startup")
    try:
        yield
    finally:
        await tell(asked, answered, "shutdown")
        await life


async def tell(asked: "asyncio.Queue[dict[str, str]]", answered: "asyncio.Queue[dict[str, Any]]", what: str) -> None:
    """Ask for one step of the life of an application, and wait for its word."""
    await asked.put({"type": f"lifespan.{what}"})
    answer = await answered.get()
    assert answer["type"] == f"lifespan.{what}.complete", answer

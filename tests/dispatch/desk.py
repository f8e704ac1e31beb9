"""A tenant with one sender, as the tests of this folder see it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from messaging.dispatcher import Dispatcher, Measures
from messaging.reconcile import Reconciler
from runtime.clock import monotonic
from runtime.ids import TenantId, uuid7

BRISK = Measures(look=0.05, check=0.3, lease=5.0, claim=5.0)
PRIORITIES = {"otp": 0, "transactional": 1, "marketing": 2}


@dataclass(frozen=True)
class Desk:
    """A tenant with one sender, and the owner's eyes on what becomes of its texts."""

    owner: "asyncpg.Connection[asyncpg.Record]"
    tenant: TenantId
    slug: str
    registration: UUID
    sender: UUID
    account: str
    number: str

    async def text(
        self, to: str = "+12025550101", body: str = "Your table is booked.", kind: str = "transactional", segments: int = 1
    ) -> UUID:
        """A message as ingest stores it, its arrival included."""
        message = uuid7()
        async with self.owner.transaction():
            await self.owner.execute(
                "INSERT INTO messages (tenant_id, id, recipient, body, class, priority, encoding, segments, status, sender_id,"
                " registration_id, due_at, expected_at, created_at, updated_at)"
                " VALUES ($1, $2, $3, $4, $5, $6, 'GSM-7', $7, 'queued', $8, $9, app.now(), app.now(), app.now(), app.now())",
                self.tenant, message, to, body, kind, PRIORITIES[kind], segments, self.sender, self.registration,
            )  # fmt: skip
            await self.owner.execute(
                "INSERT INTO control.arrivals (tenant_id, registration_id, due_at, segments) VALUES ($1, $2, app.now(), $3)",
                self.tenant, self.registration, segments,
            )  # fmt: skip
        return message

    async def message(self, message: UUID) -> dict[str, Any]:
        """The stored row."""
        row = await self.owner.fetchrow("SELECT * FROM messages WHERE tenant_id = $1 AND id = $2", self.tenant, message)
        assert row is not None
        return dict(row)

    async def statuses(self) -> dict[str, int]:
        """How many messages are in each status."""
        rows = await self.owner.fetch("SELECT status, count(*) FROM messages WHERE tenant_id = $1 GROUP BY status", self.tenant)
        return {row[0]: row[1] for row in rows}

    async def billed(self, meter: str = "sms_segments_out") -> int:
        """Segments on the ledger."""
        sql = "SELECT coalesce(sum(quantity), 0) FROM usage_events WHERE tenant_id = $1 AND meter = $2"
        return int(await self.owner.fetchval(sql, self.tenant, meter))

    async def events(self, message: UUID) -> list[str]:
        """The statuses of a message's history, in order."""
        sql = "SELECT status FROM message_events WHERE tenant_id = $1 AND message_id = $2 ORDER BY id"
        return [row[0] for row in await self.owner.fetch(sql, self.tenant, message)]

    async def schedule(self) -> dict[str, Any]:
        """The registration's row of the schedule."""
        row = await self.owner.fetchrow(
            "SELECT * FROM control.schedule WHERE tenant_id = $1 AND registration_id = $2", self.tenant, self.registration
        )
        assert row is not None
        return dict(row)


MakeDesk = Callable[..., Awaitable[Desk]]
MakeDispatcher = Callable[..., Awaitable[Dispatcher]]


@asynccontextmanager
async def at_work(*loops: Dispatcher | Reconciler) -> AsyncIterator[asyncio.Event]:
    """Loops run until the block ends, and are waited for."""
    stopping = asyncio.Event()
    tasks = [asyncio.create_task(loop.run(stopping)) for loop in loops]
    try:
        yield stopping
    finally:
        stopping.set()
        for loop in loops:
            if isinstance(loop, Dispatcher):
                loop.woken.set()
        await asyncio.gather(*tasks)


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> None:
    """Wait until something holds, or fail."""
    end = monotonic() + seconds
    while not await holds():
        assert monotonic() < end, f"it did not come true within {seconds} s"
        await asyncio.sleep(0.02)

"""Runs of several processes over one database; a run here asks nobody, it counts."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from runtime.database import Database, open_database
from runtime.ids import TenantId, uuid7
from tests.conftest import MakeTenant
from trunkline.dev.databases import DatabaseUrls
from webhooks.runs import Ended, Ran, RunEffect, Runs, Turn, Wanted

Owner = asyncpg.Connection
MakeRuns = Callable[..., Runs]
KEY, OTHER_KEY = "0a" * 16, "0b" * 16
FINGERPRINT = "0f" * 16
DOUBTFUL = '{"error":"nobody knows"}'
PATIENCE = 10.0


def wanted(key: str = KEY, **changes: Any) -> Wanted:
    """A run to claim; `fingerprint` and fields of Wanted may be others."""
    effect = RunEffect(
        webhook_id=uuid7(),
        place=0,
        source="vapi",
        type="tool-calls",
        key=key,
        fingerprint=changes.pop("fingerprint", FINGERPRINT),
        doubtful_answer=DOUBTFUL,
        name="book",
    )
    return Wanted(effect, **{"repeatable": True, **changes})


@dataclass
class Work:
    """What a run does: it begins, waits until it may end, and ends as told. `begun` counts effects."""

    ends: Ended | Exception
    begun: int = 0
    turn: Turn | None = None
    started: asyncio.Event = field(default_factory=asyncio.Event)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, turn: Turn) -> Ended:
        self.begun += 1
        self.turn = turn
        self.started.set()
        async with asyncio.timeout(PATIENCE):
            await self.may_end.wait()
        if isinstance(self.ends, Exception):
            raise self.ends
        return self.ends


def work(said: str = "first", *, slow: bool = False, state: Any = "done", fault: Exception | None = None) -> Work:
    """Work that ends at once, or `slow`: when it is let."""
    made = Work(fault or Ended(state, f'{{"result":"{said}"}}', "tool_calls", "why" if state == "dead" else None))
    if not slow:
        made.may_end.set()
    return made


def again(answer: str) -> Ended:
    """The same thing under another id."""
    return Ended("done", answer.replace("first", "the same as first"))


@dataclass
class Desk:
    """One tenant's runs: `once` asks for one in some process, `row` and `bill` tell what stands."""

    tenant: TenantId
    owner: Owner

    async def once(self, runs: Runs, doing: Work, what: Wanted | None = None) -> Ran:
        async with asyncio.timeout(PATIENCE):
            return await runs.once(self.tenant, what or wanted(), doing, again)

    def begins(self, runs: Runs, doing: Work, what: Wanted | None = None) -> "asyncio.Task[Ran]":
        return asyncio.create_task(self.once(runs, doing, what))

    async def row(self, key: str = KEY) -> dict[str, Any]:
        found = await self.owner.fetchrow(
            "SELECT state, answer, owner, attempt, lease_until, lease_until > app.now() AS held, reason FROM processed_webhooks"
            " WHERE tenant_id = $1 AND key = $2",
            self.tenant,
            bytes.fromhex(key),
        )
        return dict(found) if found else {}

    async def bill(self) -> list[str]:
        """The sources of what is metered."""
        found = await self.owner.fetch("SELECT source_id FROM usage_events WHERE tenant_id = $1 ORDER BY source_id", self.tenant)
        return [row[0] for row in found]

    async def over(self, key: str = KEY) -> None:
        """The lease ends now, as that of a process that died does."""
        await self.owner.execute(
            "UPDATE processed_webhooks SET lease_until = app.now() WHERE tenant_id = $1 AND key = $2", self.tenant, bytes.fromhex(key)
        )

    async def left_by_the_dead(self, what: Wanted, attempt: int = 1) -> UUID:
        """What a process leaves that died while it asked: the run in flight, its lease over. Gives who had it."""
        gone = uuid4()
        await self.owner.execute(
            "INSERT INTO processed_webhooks (tenant_id, key, fingerprint, webhook_id, place, source, type, state, answer, business, owner,"
            " attempt, lease_until, received_at)"
            " VALUES ($1, $2, $3, $4, 0, 'vapi', 'tool-calls', 'in_flight', '{}', $5, $6, $7, app.now(), app.now())",
            self.tenant, what.key, bytes.fromhex(what.effect.fingerprint), what.effect.webhook_id, what.business, gone, attempt,
        )  # fmt: skip  # one line would hide which column is which
        return gone


@pytest.fixture
async def processes(urls: DatabaseUrls) -> AsyncIterator[list[Database]]:
    """Two processes' connections."""
    opened = [await open_database(urls.app_url) for _ in range(2)]
    yield opened
    for each in opened:
        await each.close()


@pytest.fixture
def make_runs(processes: list[Database]) -> MakeRuns:
    """The runs of one of the processes."""

    def make(process: int = 0, lease: float = 5.0) -> Runs:
        return Runs(processes[process], lease)

    return make


@pytest.fixture
async def desk(make_tenant: MakeTenant, owner: Owner) -> Desk:
    return Desk(await make_tenant(), owner)


@pytest.fixture
async def neighbour(make_tenant: MakeTenant, owner: Owner) -> Desk:
    return Desk(await make_tenant(), owner)

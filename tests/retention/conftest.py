"""A database of these tests' own, whose clock stands where a test puts it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from runtime.database import Database, open_database
from runtime.ids import TenantId, uuid7
from tests.conftest import Servers, migrated
from trunkline.dev.databases import DatabaseUrls

ACCEPT = "SELECT outcome FROM app.accept_v3($1, $2, '{}', false, NULL, NULL, NULL, NULL)"

Owner = asyncpg.Connection
NOW = "CREATE OR REPLACE FUNCTION app.now() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE AS $now$SELECT {}$now$"
REAL = "clock_timestamp()"  # clock: what the tests' travels end with
MakeKeeper = Callable[..., Awaitable[TenantId]]


@dataclass
class Travel:
    """Where the database's clock stands."""

    owner: Owner

    async def to(self, moment: datetime) -> None:
        await self.owner.execute(NOW.format(f"'{moment.isoformat()}'::timestamptz"))

    async def home(self) -> None:
        await self.owner.execute(NOW.format(REAL))


@dataclass
class Keys:
    """Idempotency keys as rows, seen as the owner."""

    owner: Owner

    async def put(
        self,
        tenant: UUID,
        received_at: datetime,
        id_at: datetime | None = None,
        *,
        state: str = "done",
        lease_until: datetime | None = None,
        place: int = 0,
        webhook_id: UUID | None = None,
    ) -> bytes:
        """A key; its webhook's id was made a day before it was received unless told."""
        key = uuid4().bytes
        await self.owner.execute(
            "INSERT INTO processed_webhooks (tenant_id, key, fingerprint, webhook_id, place, source, type, state, answer, received_at,"
            " lease_until) VALUES ($1, $2, $2, $3, $4, 'vapi', 'tool-calls', $5, '{}', $6, $7)",
            tenant, key, webhook_id or id_of(id_at or received_at - timedelta(days=1)), place, state, received_at, lease_until,
        )  # fmt: skip
        return key

    async def of(self, tenant: UUID) -> set[bytes]:
        return {row["key"] for row in await self.owner.fetch("SELECT key FROM processed_webhooks WHERE tenant_id = $1", tenant)}


def effect_of(key: str) -> dict[str, Any]:
    """An effect with a text, as ingest gives it."""
    return {
        "n": 0, "webhook_id": str(uuid7()), "place": 0, "source": "vapi", "type": "tool-calls", "key": key, "fingerprint": "0c" * 16,
        "store": True, "state": "done", "answer": "{}", "message_id": str(uuid7()), "recipient": "+12025550101", "body": "Hello",
        "class": "otp", "priority": 0, "encoding": "gsm7", "segments": 1, "status": "queued", "sender_id": str(uuid4()),
        "registration_id": str(uuid4()), "call_id": key,
    }  # fmt: skip


def id_of(moment: datetime) -> UUID:
    """A UUIDv7 that was made at a moment."""
    milliseconds = (moment - datetime.fromtimestamp(0, moment.tzinfo)) // timedelta(milliseconds=1)
    return UUID(int=milliseconds << 80 | uuid4().int & ((1 << 80) - 1) | 0x7 << 76)


@pytest.fixture(scope="module")
async def own_urls(servers: Servers) -> DatabaseUrls:
    made = await servers.new_database(f"retention{uuid4().hex[:8]}")
    await migrated(made)
    return made


@pytest.fixture(scope="module")
async def database(own_urls: DatabaseUrls) -> AsyncIterator[Database]:
    opened = await open_database(own_urls.app_url)
    yield opened
    await opened.close()


@pytest.fixture
async def owner(own_urls: DatabaseUrls) -> AsyncIterator[Owner]:
    connection = await asyncpg.connect(own_urls.owner_url)
    yield connection
    await connection.close()


@pytest.fixture
async def application(own_urls: DatabaseUrls) -> AsyncIterator[Owner]:
    """The application's role without the application."""
    connection = await asyncpg.connect(own_urls.app_url)
    yield connection
    await connection.close()


@pytest.fixture
async def travel(owner: Owner) -> AsyncIterator[Travel]:
    yield Travel(owner)
    await Travel(owner).home()


@pytest.fixture
def keys(owner: Owner) -> Keys:
    return Keys(owner)


@pytest.fixture
def make_keeper(owner: Owner) -> MakeKeeper:
    """A tenant that keeps its keys for so many hours."""

    async def make(hours: int = 72) -> TenantId:
        tenant = TenantId(uuid7())
        await owner.execute(
            "INSERT INTO control.tenants (id, slug, name, timezone, plan, keys_hours) VALUES ($1, $2, $2, 'UTC', 'standard', $3)",
            tenant, f"t-{uuid4().hex}", hours,
        )  # fmt: skip
        return tenant

    return make

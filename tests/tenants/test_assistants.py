from collections.abc import Awaitable, Callable
from uuid import uuid4

import asyncpg
import pytest

from runtime.crypto import Keyring, SealBroken
from runtime.database import Database
from runtime.ids import TenantId
from runtime.refusals import Conflict, NotFound
from tenants import assistants
from tenants.assistants import Registered
from tenants.credentials import COLUMN
from tests.tenants.conftest import Trail

Register = Callable[..., Awaitable[Registered]]
SECONDS_LEFT = (
    "SELECT CASE WHEN valid_until = 'infinity' THEN NULL ELSE extract(epoch FROM valid_until - app.now())::float END"
    " FROM webhook_credentials WHERE tenant_id = $1 ORDER BY id"
)


@pytest.fixture
def register(database: Database, keyring: Keyring) -> Register:
    async def make(tenant: TenantId, vapi_assistant_id: str = "") -> Registered:
        async with database.tenant_scope(tenant) as connection:
            return await assistants.register(connection, keyring, tenant, vapi_assistant_id or str(uuid4()), "Front desk", "key:1")

    return make


async def left(owner: "asyncpg.Connection[asyncpg.Record]", tenant: TenantId) -> list[float | None]:
    """The seconds that each secret is still valid, the oldest first; None: without end."""
    return [row[0] for row in await owner.fetch(SECONDS_LEFT, tenant)]


async def test_a_secret_is_kept_as_a_hash_and_sealed(
    register: Register, keyring: Keyring, tenant: TenantId, other: TenantId, owner: "asyncpg.Connection[asyncpg.Record]", trail: Trail
) -> None:
    made = await register(tenant)
    row = await owner.fetchrow(
        "SELECT secret_hash, secret_sealed, c::text AS whole FROM webhook_credentials AS c WHERE tenant_id = $1", tenant
    )
    assert row is not None
    assert made.secret.startswith("whs_")
    assert row["secret_hash"] == keyring.digest(made.secret)
    assert keyring.open(row["secret_sealed"], tenant, COLUMN) == made.secret
    with pytest.raises(SealBroken):
        keyring.open(row["secret_sealed"], other, COLUMN)
    assert made.secret not in row["whole"] + str(await trail(tenant))
    assert made.secret.encode().hex() not in row["whole"]


async def test_rotation_keeps_the_old_secret_for_the_grace(
    register: Register, database: Database, keyring: Keyring, tenant: TenantId, owner: "asyncpg.Connection[asyncpg.Record]", trail: Trail
) -> None:
    made = await register(tenant)
    assert await left(owner, tenant) == [None]
    async with database.tenant_scope(tenant) as connection:
        first = await assistants.rotate_secret(connection, keyring, tenant, made.row["id"], 3600, "key:1")
    assert len({made.secret, first.secret}) == 2
    old, new = await left(owner, tenant)
    assert new is None
    assert old is not None
    assert 3590 < old <= 3600
    async with database.tenant_scope(tenant) as connection:
        await assistants.rotate_secret(connection, keyring, tenant, made.row["id"], 60, "key:1")
    oldest, middle, newest = await left(owner, tenant)
    assert newest is None
    assert oldest is not None
    assert middle is not None
    assert max(oldest, middle) <= 60  # a shorter grace also ends what an earlier, longer one had promised
    assert [entry["detail"].get("grace_seconds") for entry in await trail(tenant)] == [60, 3600, None]


async def test_a_longer_grace_lengthens_no_earlier_one(
    register: Register, database: Database, keyring: Keyring, tenant: TenantId, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    made = await register(tenant)
    for grace in (0, 3600):
        async with database.tenant_scope(tenant) as connection:
            await assistants.rotate_secret(connection, keyring, tenant, made.row["id"], grace, "key:1")
    first, second, third = await left(owner, tenant)
    assert first is not None
    assert second is not None
    assert first <= 0
    assert second > 3590
    assert third is None


async def test_rotation_reaches_one_assistant_only(
    register: Register, database: Database, keyring: Keyring, tenant: TenantId, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await register(tenant)
    second = await register(tenant)
    async with database.tenant_scope(tenant) as connection:
        await assistants.rotate_secret(connection, keyring, tenant, second.row["id"], 0, "key:1")
    ends = await left(owner, tenant)
    assert [end is None for end in ends] == [True, False, True]


async def test_an_assistant_is_nobody_elses(
    register: Register,
    database: Database,
    keyring: Keyring,
    tenant: TenantId,
    other: TenantId,
    owner: "asyncpg.Connection[asyncpg.Record]",
    trail: Trail,
) -> None:
    made = await register(tenant)
    identity = made.row["id"]
    async with database.tenant_scope(other) as connection:
        for attempt in (
            assistants.assistant_row(connection, other, identity),
            assistants.rotate_secret(connection, keyring, other, identity, 0, "key:2"),
            assistants.rename(connection, other, identity, "mine now", "key:2"),
            assistants.remove(connection, other, identity, "key:2"),
        ):
            with pytest.raises(NotFound):
                await attempt
        assert await assistants.list_assistants(connection, other, None, 10) == []
    assert await left(owner, tenant) == [None]
    assert await trail(other) == []


async def test_an_assistant_is_registered_once_by_a_tenant_and_by_each(
    register: Register, database: Database, tenant: TenantId, other: TenantId
) -> None:
    """Two tenants may name the same assistant; who may speak for it is decided by whose secret it presents."""
    shared = str(uuid4())
    await register(tenant, shared)
    with pytest.raises(Conflict):
        await register(tenant, shared)
    await register(other, shared)
    async with database.unscoped() as connection:
        assert await assistants.owners_of(connection, shared) == {tenant, other}
        assert await assistants.owners_of(connection, "nobody's") == frozenset()


async def test_a_removed_assistant_takes_its_secrets_and_its_route_along(
    register: Register, database: Database, tenant: TenantId, other: TenantId, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    shared = str(uuid4())
    made = await register(tenant, shared)
    await register(other, shared)
    async with database.tenant_scope(tenant) as connection:
        await assistants.remove(connection, tenant, made.row["id"], "key:1")
    assert (await left(owner, tenant), await left(owner, other)) == ([], [None])
    async with database.unscoped() as connection:
        assert await assistants.owners_of(connection, shared) == {other}
    await register(tenant, shared)  # and it may come back


async def test_they_are_listed_in_pages_the_newest_first(register: Register, database: Database, tenant: TenantId, other: TenantId) -> None:
    made = [(await register(tenant)).row["id"] for _ in range(5)]
    await register(other)
    async with database.tenant_scope(tenant) as connection:
        first = await assistants.list_assistants(connection, tenant, None, 3)
        rest = await assistants.list_assistants(connection, tenant, first[-1]["id"], 3)
    assert sorted(row["id"] for row in first + rest) == sorted(made)
    assert [row["id"] for row in first + rest] == sorted(made, reverse=True)

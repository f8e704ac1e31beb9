"""One connection serves all tenants in turn: whatever went wrong before, it carries nobody's scope into the next transaction."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from runtime.database import Database, plain, with_driver
from runtime.ids import TenantId
from runtime.shares import Shares
from tests.data.rows import Ids, digest, seed
from trunkline.dev.databases import DatabaseUrls

VISIBLE = text("SELECT DISTINCT tenant_id FROM messages")
WRITE = text("INSERT INTO opt_outs (tenant_id, recipient, source) VALUES (:tenant, :recipient, 'api')")


@pytest.fixture(scope="module")
async def narrow(urls: DatabaseUrls) -> AsyncIterator[Database]:
    """The application's database with one connection on each lane."""
    engine = create_async_engine(with_driver(urls.app_url), pool_size=1, max_overflow=0, pool_timeout=5)
    pool = await asyncpg.create_pool(plain(urls.app_url), min_size=1, max_size=1)
    opened = Database(engine, pool, Shares(1), Shares(1))
    yield opened
    await opened.close()


@pytest.fixture
async def tenants(owning: "asyncpg.Connection[asyncpg.Record]") -> tuple[Ids, Ids]:
    return await seed(owning), await seed(owning)


async def writes(connection: AsyncConnection, tenant: UUID) -> None:
    await connection.execute(WRITE, {"tenant": tenant, "recipient": f"r{uuid4()}"})


async def commits(database: Database, tenant: TenantId) -> None:
    async with database.tenant_scope(tenant) as connection:
        await writes(connection, tenant)


async def fails(database: Database, tenant: TenantId) -> None:
    async def work() -> None:
        async with database.tenant_scope(tenant) as connection:
            await writes(connection, tenant)
            raise LookupError

    with pytest.raises(LookupError):
        await work()


async def rolls_back_a_part(database: Database, tenant: TenantId) -> None:
    async with database.tenant_scope(tenant) as connection:
        async with connection.begin_nested() as part:
            await writes(connection, tenant)
            await part.rollback()
        assert (await connection.execute(VISIBLE)).scalars().all() == [tenant]
        await writes(connection, tenant)


async def enters_another_in_a_part(database: Database, tenant: TenantId) -> None:
    async with database.tenant_scope(tenant) as connection:
        async with connection.begin_nested() as part:
            await database.enter(connection, TenantId(uuid4()))
            await part.rollback()
        await writes(connection, tenant)


async def times_out(database: Database, tenant: TenantId) -> None:
    async def work() -> None:
        async with database.tenant_scope(tenant) as connection:
            await writes(connection, tenant)
            await connection.execute(text("SELECT set_config('statement_timeout', '20ms', true)"))
            await connection.execute(text("SELECT pg_sleep(2)"))

    with pytest.raises(DBAPIError, match="statement timeout"):
        await work()


async def is_refused(database: Database, tenant: TenantId) -> None:
    with pytest.raises(DBAPIError, match="row-level security"):
        async with database.tenant_scope(tenant) as connection:
            await writes(connection, uuid4())


async def is_cancelled(database: Database, tenant: TenantId) -> None:
    inside = asyncio.Event()

    async def work() -> None:
        async with database.tenant_scope(tenant) as connection:
            await writes(connection, tenant)
            inside.set()
            await connection.execute(text("SELECT pg_sleep(5)"))

    task = asyncio.create_task(work())
    await inside.wait()
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


KEPT = {commits: 1, fails: 0, rolls_back_a_part: 1, enters_another_in_a_part: 1, times_out: 0, is_refused: 0, is_cancelled: 0}


@pytest.mark.parametrize("disturbance", KEPT, ids=lambda each: each.__name__)
async def test_the_next_transaction_starts_with_no_scope(
    narrow: Database, tenants: tuple[Ids, Ids], owning: "asyncpg.Connection[asyncpg.Record]", disturbance: object
) -> None:
    one, two = (TenantId(ids.tenant) for ids in tenants)
    before = {tenant: (await digest(owning, "opt_outs", tenant))[0] for tenant in (one, two)}
    for tenant, other in ((one, two), (two, one)):
        assert callable(disturbance)
        await disturbance(narrow, tenant)
        with pytest.raises(DBAPIError, match="no tenant scope"):
            async with narrow.unscoped() as connection:
                await connection.execute(VISIBLE)
        async with narrow.tenant_scope(other) as connection:
            assert (await connection.execute(VISIBLE)).scalars().all() == [other]
    after = {tenant: (await digest(owning, "opt_outs", tenant))[0] for tenant in (one, two)}
    assert {tenant: after[tenant] - before[tenant] for tenant in after} == dict.fromkeys(after, KEPT[disturbance])  # type: ignore[index]  # one of its keys


async def test_it_is_one_connection_indeed(narrow: Database, tenants: tuple[Ids, Ids]) -> None:
    seen = set()
    for ids in tenants * 3:
        async with narrow.tenant_scope(TenantId(ids.tenant)) as connection:
            seen.add((await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one())
    assert len(seen) == 1


async def test_tenants_take_turns_under_load(narrow: Database, tenants: tuple[Ids, Ids]) -> None:
    async def look(tenant: TenantId) -> None:
        async with narrow.tenant_scope(tenant) as connection:
            assert (await connection.execute(VISIBLE)).scalars().all() == [tenant]
            await asyncio.sleep(0)
            assert (await connection.execute(VISIBLE)).scalars().all() == [tenant]

    await asyncio.gather(*(look(TenantId(ids.tenant)) for ids in tenants * 20))

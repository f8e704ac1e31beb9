"""One transaction for all that a task does: what joins it commits with it, keeps its own scope, and gives the outer one back."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from runtime.database import Database, open_database, plain, with_driver
from runtime.ids import TenantId
from runtime.shares import Shares
from tests.conftest import MakeTenant
from trunkline.dev.databases import DatabaseUrls

OPT_OUT = text("INSERT INTO opt_outs (tenant_id, recipient, source) VALUES (app.current_tenant(), :recipient, 'api')")
RENAME = text("UPDATE control.tenants SET name = 'renamed' WHERE id = :tenant")
SCOPE = text("SELECT app.current_tenant()")


@pytest.fixture
async def narrow(urls: DatabaseUrls) -> AsyncIterator[Database]:
    """One connection, one place for each tenant: whoever asks for a second waits for ever."""
    engine = create_async_engine(with_driver(urls.app_url), pool_size=1, max_overflow=0, pool_timeout=5)
    pool = await asyncpg.create_pool(plain(urls.app_url), min_size=1, max_size=1)
    opened = Database(engine, pool, Shares(1), Shares(1))
    async with asyncio.timeout(20):
        yield opened
    await opened.close()


async def scope_of(connection: AsyncConnection) -> UUID:
    found: UUID = (await connection.execute(SCOPE)).scalar_one()
    return found


async def kept(owner: "asyncpg.Connection[asyncpg.Record]", tenant: TenantId) -> list[str]:
    found = await owner.fetch("SELECT recipient FROM opt_outs WHERE tenant_id = $1 ORDER BY recipient", tenant)
    return [row["recipient"] for row in found]


async def name_of(owner: "asyncpg.Connection[asyncpg.Record]", tenant: TenantId) -> bool:
    return bool(await owner.fetchval("SELECT name = 'renamed' FROM control.tenants WHERE id = $1", tenant))


async def changes(database: Database, one: TenantId, two: TenantId) -> None:
    """Of two tenants and of the schema control, each in a scope of its own."""
    async with database.tenant_scope(one) as connection:
        await connection.execute(OPT_OUT, {"recipient": "inner"})
    async with database.unscoped() as connection:
        await connection.execute(RENAME, {"tenant": one})
        await database.enter(connection, two)
        await connection.execute(OPT_OUT, {"recipient": "entered"})


async def test_all_that_joined_commits_at_once(
    narrow: Database, make_tenant: MakeTenant, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    one, two = await make_tenant(), await make_tenant()
    async with narrow.unit(one) as connection:
        await connection.execute(OPT_OUT, {"recipient": "outer"})
        await changes(narrow, one, two)
        assert (await kept(owner, one), await kept(owner, two), await name_of(owner, one)) == ([], [], False)
    assert (await kept(owner, one), await kept(owner, two), await name_of(owner, one)) == (["inner", "outer"], ["entered"], True)


async def test_a_unit_that_fails_leaves_nothing_of_any_part(
    narrow: Database, make_tenant: MakeTenant, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    one, two = await make_tenant(), await make_tenant()

    async def work() -> None:
        async with narrow.unit(one):
            await changes(narrow, one, two)
            raise LookupError

    with pytest.raises(LookupError):
        await work()
    assert (await kept(owner, one), await kept(owner, two), await name_of(owner, one)) == ([], [], False)


async def test_the_scope_around_a_part_holds_again_afterwards(narrow: Database, make_tenant: MakeTenant) -> None:
    one, two = await make_tenant(), await make_tenant()
    async with narrow.unit(one) as connection:
        async with narrow.tenant_scope(two) as inner:
            assert inner is connection
            assert await scope_of(inner) == two
            async with narrow.tenant_scope(one) as innermost:
                assert await scope_of(innermost) == one
            assert await scope_of(inner) == two
        assert await scope_of(connection) == one
        async with narrow.unscoped() as inner:
            await narrow.enter(inner, two)
            async with narrow.unscoped():
                pass
            assert await scope_of(inner) == two
        assert await scope_of(connection) == one
    async with narrow.tenant_scope(two) as connection:
        assert await scope_of(connection) == two


async def test_a_part_outside_every_tenant_reaches_no_tenants_rows(narrow: Database, make_tenant: MakeTenant) -> None:
    tenant = await make_tenant()
    async with narrow.unit(tenant) as connection:
        with pytest.raises(DBAPIError, match="no tenant scope"):
            async with narrow.unscoped() as inner:
                await inner.execute(OPT_OUT, {"recipient": "nobody's"})
        assert await scope_of(connection) == tenant


async def test_a_part_that_fails_is_undone_alone(
    narrow: Database, make_tenant: MakeTenant, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    one, two = await make_tenant(), await make_tenant()

    async def twice() -> None:
        async with narrow.tenant_scope(two) as inner:
            await inner.execute(OPT_OUT, {"recipient": "undone"})
            await inner.execute(OPT_OUT, {"recipient": "undone"})

    async with narrow.unit(one) as connection:
        await connection.execute(OPT_OUT, {"recipient": "before"})
        with pytest.raises(IntegrityError):
            await twice()
        assert await scope_of(connection) == one
        await connection.execute(OPT_OUT, {"recipient": "after"})
    assert (await kept(owner, one), await kept(owner, two)) == (["after", "before"], [])


async def test_another_task_has_a_transaction_of_its_own(
    database: Database, make_tenant: MakeTenant, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """A cache that is filled meanwhile is filled by a task that knows this one's context, and outlives it."""
    one, two = await make_tenant(), await make_tenant()

    async def beside() -> None:
        async with database.tenant_scope(two) as connection:
            await connection.execute(OPT_OUT, {"recipient": "beside"})

    async with database.unit(one) as connection:
        await asyncio.gather(beside())
        assert await kept(owner, two) == ["beside"]
        assert await scope_of(connection) == one


async def test_another_database_has_a_transaction_of_its_own(database: Database, urls: DatabaseUrls, make_tenant: MakeTenant) -> None:
    tenant = await make_tenant()
    other = await open_database(urls.app_url, connections=2)
    try:
        async with database.unit(tenant) as connection, other.tenant_scope(tenant) as apart:
            assert apart is not connection
    finally:
        await other.close()


async def test_units_take_turns_on_one_connection(
    narrow: Database, make_tenant: MakeTenant, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    one, two = await make_tenant(), await make_tenant()

    async def work(tenant: TenantId, number: int) -> None:
        async with narrow.unit(tenant), narrow.tenant_scope(tenant) as connection:
            await connection.execute(OPT_OUT, {"recipient": f"r{number:02}"})

    await asyncio.gather(*(work(tenant, number) for number in range(10) for tenant in (one, two)))
    assert await kept(owner, one) == await kept(owner, two) == [f"r{number:02}" for number in range(10)]


async def test_a_unit_that_is_cancelled_leaves_nothing_and_no_unit_behind(
    narrow: Database, make_tenant: MakeTenant, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    tenant = await make_tenant()
    inside = asyncio.Event()

    async def work() -> None:
        async with narrow.unit(tenant), narrow.tenant_scope(tenant) as connection:
            await connection.execute(OPT_OUT, {"recipient": "undone"})
            inside.set()
            await asyncio.sleep(30)

    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await kept(owner, tenant) == []
    await changes(narrow, tenant, tenant)
    assert await kept(owner, tenant) == ["entered", "inner"]

"""The names of passing conditions, against errors that real servers gave; and how many connections one tenant gets."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine

from runtime.database import Database, open_database, passing_condition, plain, with_driver
from runtime.ids import TenantId
from tests.conftest import MakeTenant, Servers
from trunkline.dev.databases import DatabaseUrls

HOLDS = "SELECT pg_advisory_xact_lock(77)"


async def raised(awaited: Awaitable[object]) -> Exception:
    with suppress(asyncio.CancelledError):
        try:
            await awaited
        except Exception as error:  # noqa: BLE001  whatever it is, it is looked at
            return error
    pytest.fail("nothing was raised")


async def on_the_fast_lane(urls: DatabaseUrls, *statements: str) -> None:
    connection = await asyncpg.connect(urls.app_url)
    try:
        async with connection.transaction():
            for statement in statements:
                await connection.execute(statement)
    finally:
        connection.terminate()


async def through_sqlalchemy(urls: DatabaseUrls, *statements: str) -> None:
    engine = create_async_engine(with_driver(urls.app_url))
    try:
        async with engine.begin() as connection:
            for statement in statements:
                await connection.execute(text(statement))
    finally:
        await engine.dispose()


KILLED = ("SELECT pg_terminate_backend(pg_backend_pid())", "SELECT 1")
TOO_SLOW = ("SET LOCAL statement_timeout = '20ms'", "SELECT pg_sleep(5)")
LOCKED = ("SET LOCAL lock_timeout = '20ms'", HOLDS)
READ_ONLY = ("SET TRANSACTION READ ONLY", "INSERT INTO control.duties (name, next_run) VALUES ('x', 'infinity')")
PASSING = [  # a connection that is killed tells why, or is found broken, as the two races end
    (KILLED, {"server_stopping", "connection_lost"}),
    (TOO_SLOW, {"statement_timeout"}),
    (LOCKED, {"lock_timeout"}),
    (READ_ONLY, {"read_only"}),
]
BUGS = [
    ("SELECT nothing FROM control.tenants",),
    ("SELECT FROM nowhere",),
    ("SELECT FROM messages",),  # without a scope
    ("INSERT INTO control.duties (name, next_run) VALUES ('twice', 'infinity'), ('twice', 'infinity')",),
    ("SELECT 1 / 0",),
]


@pytest.mark.parametrize("lane", [on_the_fast_lane, through_sqlalchemy])
@pytest.mark.parametrize(("statements", "names"), PASSING, ids=[min(names) for _, names in PASSING])
async def test_what_the_server_says_and_a_retry_outlives(
    urls: DatabaseUrls, lane: Callable[..., Awaitable[None]], statements: tuple[str, ...], names: set[str]
) -> None:
    holder = await asyncpg.connect(urls.app_url)
    try:
        async with holder.transaction():
            await holder.execute(HOLDS)
            assert passing_condition(await raised(lane(urls, *statements))) in names
    finally:
        await holder.close()


@pytest.mark.parametrize("lane", [on_the_fast_lane, through_sqlalchemy])
@pytest.mark.parametrize("statements", BUGS)
async def test_what_the_server_says_and_a_retry_does_not_mend(
    urls: DatabaseUrls, lane: Callable[..., Awaitable[None]], statements: tuple[str, ...]
) -> None:
    assert passing_condition(await raised(lane(urls, *statements))) is None


async def test_a_connection_that_was_cut_while_nobody_looked(urls: DatabaseUrls) -> None:
    connection = await asyncpg.connect(urls.app_url)
    await on_the_fast_lane(urls, f"SELECT pg_terminate_backend({connection.get_server_pid()})")
    for _ in range(500):
        if connection.is_closed():
            break
        await asyncio.sleep(0.01)
    assert passing_condition(await raised(connection.fetch("SELECT 1"))) == "connection_lost"


@pytest.mark.parametrize("isolation", ["repeatable_read"])
async def test_two_who_change_one_row(urls: DatabaseUrls, make_tenant: MakeTenant, isolation: str) -> None:
    tenant = await make_tenant()
    change = f"UPDATE control.tenants SET name = 'changed' WHERE id = '{tenant}'"
    one, two = await asyncpg.connect(urls.app_url), await asyncpg.connect(urls.app_url)
    try:
        async with one.transaction(isolation=isolation):
            await one.fetchval("SELECT count(*) FROM control.tenants")
            await two.execute(change)
            assert passing_condition(await raised(one.execute(change))) == "serialization"
    except asyncpg.InFailedSQLTransactionError:
        pass
    finally:
        one.terminate()
        two.terminate()


async def test_a_ring_of_locks(urls: DatabaseUrls) -> None:
    async def locks(first: int, second: int, ready: asyncio.Barrier) -> None:
        connection = await asyncpg.connect(urls.app_url)
        try:
            async with connection.transaction():
                await connection.execute(f"SELECT pg_advisory_xact_lock({first})")
                await ready.wait()
                await connection.execute(f"SELECT pg_advisory_xact_lock({second})")
        finally:
            connection.terminate()

    ready = asyncio.Barrier(2)
    ended = await asyncio.gather(locks(81, 82, ready), locks(82, 81, ready), return_exceptions=True)
    assert [passing_condition(error) for error in ended if isinstance(error, Exception)] == ["deadlock"]


async def test_no_connection_is_left_for_the_role(urls: DatabaseUrls, servers: Servers) -> None:
    superuser = await asyncpg.connect(servers.postgres.superuser_url("suite"))
    try:
        await superuser.execute(
            "CREATE ROLE crowded LOGIN PASSWORD 'crowded' CONNECTION LIMIT 0; GRANT CONNECT ON DATABASE suite TO crowded"
        )
    finally:
        await superuser.close()
    place = urls.app_url.rpartition("@")[2]
    assert passing_condition(await raised(asyncpg.connect(f"postgresql://crowded:crowded@{place}"))) == "too_many_connections"


async def test_a_server_that_is_not_there() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    for host in ("127.0.0.1", "localhost"):  # the second has two addresses, and both refuse
        url = f"postgresql://u:p@{host}:{port}/d"
        assert passing_condition(await raised(asyncpg.connect(url))) == "unreachable"
        engine = create_async_engine(with_driver(url))
        assert passing_condition(await raised(engine.connect().__aenter__())) == "unreachable"
        await engine.dispose()


async def test_a_socket_that_is_not_there() -> None:
    assert passing_condition(await raised(asyncpg.connect(host="/nonexistent", user="u", database="d"))) == "unreachable"


async def test_an_answer_that_does_not_come(urls: DatabaseUrls) -> None:
    connection = await asyncpg.connect(urls.app_url, command_timeout=0.05)
    assert passing_condition(await raised(connection.fetch("SELECT pg_sleep(5)"))) == "unreachable"
    connection.terminate()


async def test_no_connection_becomes_free(urls: DatabaseUrls) -> None:
    engine = create_async_engine(with_driver(urls.app_url), pool_size=1, max_overflow=0, pool_timeout=0.05)
    async with engine.connect():
        assert passing_condition(await raised(engine.connect().__aenter__())) == "connections_exhausted"
    await engine.dispose()


async def test_a_pool_that_was_closed(urls: DatabaseUrls) -> None:
    pool = await asyncpg.create_pool(plain(urls.app_url), min_size=1, max_size=1)
    await pool.close()
    assert passing_condition(await raised(pool.fetch("SELECT 1"))) == "connection_lost"


async def test_wrong_uses_of_the_driver_are_bugs(urls: DatabaseUrls) -> None:
    """A 503 that asks for a retry would hide them for ever."""
    connection = await asyncpg.connect(urls.app_url)
    try:
        assert passing_condition(await raised(connection.fetch("SELECT $1::int", 1, 2))) is None
        assert passing_condition(await raised(connection.fetch("SELECT $1::int", "one"))) is None
        both = await asyncio.gather(connection.fetch("SELECT pg_sleep(0.05)"), connection.fetch("SELECT 1"), return_exceptions=True)
        assert [passing_condition(error) for error in both if isinstance(error, Exception)] == [None]
    finally:
        connection.terminate()


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        KeyError("no"),
        PermissionError(13, "no", "file"),
        FileNotFoundError(2, "no", "file"),
        OSError(28, "disk"),
        asyncio.CancelledError(),
    ],
)
def test_other_errors_are_bugs(error: BaseException) -> None:
    assert passing_condition(error) is None


# --- the tenant scope ---

OPT_OUT = text("INSERT INTO opt_outs (tenant_id, recipient, source) VALUES (:tenant, :recipient, 'api')")


@pytest.fixture
async def small(urls: DatabaseUrls) -> AsyncIterator[Database]:
    """As opened in production: eight connections on each lane, two of each for one tenant."""
    opened = await open_database(urls.app_url, connections=16)
    yield opened
    await opened.close()


async def test_a_scope_commits_or_leaves_nothing(
    database: Database, make_tenant: MakeTenant, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    tenant = await make_tenant()
    async with database.tenant_scope(tenant) as connection:
        await connection.execute(OPT_OUT, {"tenant": tenant, "recipient": "kept"})

    async def twice() -> None:
        async with database.tenant_scope(tenant) as connection:
            await connection.execute(OPT_OUT, {"tenant": tenant, "recipient": "undone"})
            await connection.execute(OPT_OUT, {"tenant": tenant, "recipient": "kept"})

    with pytest.raises(IntegrityError):
        await twice()
    assert [row["recipient"] for row in await owner.fetch("SELECT recipient FROM opt_outs WHERE tenant_id = $1", tenant)] == ["kept"]


async def test_one_commit_may_change_control_and_a_tenant(database: Database, make_tenant: MakeTenant) -> None:
    tenant = await make_tenant()

    async def change_both() -> None:
        async with database.unscoped() as connection:
            await connection.execute(text("UPDATE control.tenants SET name = 'changed' WHERE id = :id"), {"id": tenant})
            await database.enter(connection, tenant)
            await connection.execute(OPT_OUT, {"tenant": tenant, "recipient": "undone"})
            raise LookupError

    with pytest.raises(LookupError):
        await change_both()
    async with database.unscoped() as connection:
        name = (await connection.execute(text("SELECT name FROM control.tenants WHERE id = :id"), {"id": tenant})).scalar_one()
    assert name != "changed"


@pytest.mark.parametrize("lane", ["ordinary", "fast"])
async def test_one_tenant_uses_a_quarter_of_the_connections(small: Database, lane: str) -> None:
    greedy, modest = TenantId(uuid4()), TenantId(uuid4())
    leave = asyncio.Event()
    inside = 0

    async def works(tenant: TenantId) -> None:
        nonlocal inside
        if lane == "fast":
            async with small.shares.of(tenant), small.pool.acquire():
                inside += 1
                await leave.wait()
        else:
            async with small.tenant_scope(tenant):
                inside += 1
                await leave.wait()

    waiting = [asyncio.create_task(works(greedy)) for _ in range(12)]
    async with asyncio.timeout(5):
        await asyncio.sleep(0.2)
        assert inside == 2
        async with small.tenant_scope(modest) as connection:  # nobody else waits for the greedy one
            await connection.execute(text("SELECT 1"))
        await small.call(modest, "SELECT 1")
        leave.set()
        await asyncio.gather(*waiting)
    assert inside == 12


async def test_a_call_of_a_tenant_keeps_to_its_share(small: Database) -> None:
    tenant, mark = TenantId(uuid4()), f"mark-{uuid4()}"
    calls = [asyncio.create_task(small.call(tenant, f"SELECT pg_sleep(0.05) /* {mark} */")) for _ in range(6)]
    most = 0
    while not all(call.done() for call in calls):
        active = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND usename = 'trunkline_app'"
        most = max(most, sum(not call.done() for call in calls) and await busy(small, active, mark))
        await asyncio.sleep(0.005)
    await asyncio.gather(*calls)
    assert most == 2


async def busy(database: Database, query: str, mark: str) -> int:
    """How many statements with a mark run now, as the role that runs them sees it."""
    async with database.unscoped() as connection:
        return int((await connection.execute(text(f"{query} AND query LIKE :mark"), {"mark": f"%{mark}%"})).scalar_one())


def test_addresses_for_either_driver() -> None:
    assert with_driver("postgres://u:p%40w@h:1/d") == "postgresql+asyncpg://u:p%40w@h:1/d"
    assert plain("postgresql+asyncpg://u:p%40w@h:1/d") == "postgresql://u:p%40w@h:1/d"

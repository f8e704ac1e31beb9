"""The schema from zero and back, by whom and against what; each test in a database of its own."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

import billing.tables
import messaging.tables
import tenants.tables
import webhooks.tables
from migrations.refusal import MigrationRefused
from migrations.run import downgrade, newest, upgrade
from migrations.tables import metadata
from runtime.database import with_driver
from tests.conftest import APPLICATION, OWNER, Servers, migrated
from tests.data.rows import TABLES, digest, seed
from trunkline.dev.databases import DatabaseUrls

HOUSE = Path(__file__).parents[2]
ROOMS = (tenants.tables, webhooks.tables, messaging.tables, billing.tables)
numbers = count()


@dataclass(frozen=True)
class Ended:
    """How a program ended."""

    code: int
    error: str


@pytest.fixture
async def empty(servers: Servers) -> DatabaseUrls:
    return await servers.new_database(f"migrations{next(numbers)}")


async def run(*argv: str | Path, **environment: str) -> Ended:
    """A program of its own, as an operator starts it."""
    child = await asyncio.create_subprocess_exec(
        *argv, env=os.environ | environment, cwd=HOUSE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, error = await child.communicate()
    assert child.returncode is not None
    return Ended(child.returncode, error.decode())


async def migrate(urls: DatabaseUrls) -> Ended:
    return await run(
        sys.executable,
        "-m",
        "trunkline.cli",
        "migrate",
        TRUNKLINE_DATABASE_OWNER_URL=urls.owner_url,
        TRUNKLINE_DATABASE_URL=urls.app_url,
        TRUNKLINE_ENVIRONMENT="test",
        PYTHONPATH=str(HOUSE),
    )


@asynccontextmanager
async def session(url: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def shape(url: str) -> list[str]:
    """All tables, columns, indexes, constraints, functions, policies and rights of a database, as text."""
    async with session(url) as connection:
        found = await connection.fetch("""
            SELECT c.oid::regclass || ' ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull AS line
            FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            JOIN pg_namespace AS n ON n.oid = c.relnamespace
              WHERE n.nspname IN ('public', 'control', 'app') AND c.relkind IN ('r', 'p', 'S')
            UNION ALL SELECT c.oid::regclass || ' ' || coalesce(c.relacl::text, '')
              FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
              WHERE n.nspname IN ('public', 'control') AND c.relkind IN ('r', 'p')
            UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname IN ('public', 'control')
            UNION ALL SELECT conname || pg_get_constraintdef(oid) FROM pg_constraint
              WHERE connamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'control'))
            UNION ALL SELECT pg_get_functiondef(oid) || coalesce(proacl::text, '') FROM pg_proc
              WHERE pronamespace IN (SELECT oid FROM pg_namespace WHERE nspname = 'app')
            UNION ALL SELECT tablename || policyname || permissive || roles::text || qual FROM pg_policies ORDER BY 1""")
    return [row["line"] for row in found]


async def test_up_down_to_nothing_and_up_again(empty: DatabaseUrls) -> None:
    await migrated(empty)
    first = await shape(empty.owner_url)
    await migrated(empty)  # again changes nothing
    assert await shape(empty.owner_url) == first
    await asyncio.to_thread(downgrade, empty.owner_url, APPLICATION, "base")
    async with session(empty.owner_url) as owner:
        left = await owner.fetch("SELECT tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')")
        schemas = await owner.fetch("SELECT nspname FROM pg_namespace WHERE nspname IN ('app', 'control')")
        assert ([row["tablename"] for row in left], schemas) == (["alembic_version"], [])
        assert await owner.fetchval("SELECT count(*) FROM alembic_version") == 0
    await migrated(empty)
    assert await shape(empty.owner_url) == first
    async with session(empty.app_url) as application:  # readiness asks which schema this is
        assert await application.fetchval("SELECT version_num FROM alembic_version") == newest()


async def test_the_rooms_declare_what_the_database_has(urls: DatabaseUrls) -> None:
    """Tables, columns, types, nullability; indexes, constraints, defaults and comments stand in the SQL alone."""
    assert len(ROOMS) == 4
    engine = create_async_engine(with_driver(urls.owner_url))
    async with engine.connect() as connection:
        found = await connection.run_sync(differences)
    await engine.dispose()
    assert found == []
    declared = {table.fullname for table in metadata.tables.values()}
    assert declared >= set(TABLES)


def differences(connection: Connection) -> list[str]:
    """What Alembic would change about tables and columns."""
    options = {"include_schemas": True, "compare_type": True, "compare_server_default": False, "include_name": in_our_schemas}
    unlisted = {"remove_table control.folds", "remove_table control.call_watch"}  # only SQL functions use them
    found = []
    for change in flat(compare_metadata(MigrationContext.configure(connection, opts=options), metadata)):
        kind = str(change[0])
        if kind.endswith(("_table", "_column", "_type", "_nullable")):
            subject = change[1] if kind.endswith("_table") else ".".join(map(str, change[1:4]))
            found.append(f"{kind} {getattr(subject, 'fullname', subject)}")
    return sorted(set(found) - unlisted)


def flat(changes: list[Any]) -> list[tuple[Any, ...]]:
    """Alembic gives the changes of one column as a list inside the list."""
    return [each for change in changes for each in (change if isinstance(change, list) else [change])]


def in_our_schemas(name: str | None, kind: str, _parents: object) -> bool:
    if kind == "schema":
        return name in (None, "public", "control")
    return name != "alembic_version" and not (kind == "table" and str(name).startswith("webhook_bodies_"))  # days of one table


async def test_two_migrators_at_once_both_succeed(empty: DatabaseUrls) -> None:
    ended = await asyncio.gather(migrate(empty), migrate(empty))
    assert [one.code for one in ended] == [0, 0], [one.error for one in ended]
    async with session(empty.owner_url) as owner:
        assert await owner.fetchval("SELECT count(*) FROM alembic_version") == 1
        assert await owner.fetchval("SELECT count(*) FROM control.plans") == 1
        held = "SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database"
        assert await owner.fetchval(f"{held} WHERE l.locktype = 'advisory' AND d.datname = current_database()") == 0


async def test_a_long_lock_stops_the_migrator_soon_and_in_words(empty: DatabaseUrls) -> None:
    async with session(empty.owner_url) as holder:
        await holder.execute("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
        async with holder.transaction():
            await holder.execute("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
            ended = await asyncio.wait_for(migrate(empty), 15)
        assert ended.code != 0
        assert "A table that the migration needs was locked" in ended.error.strip().splitlines()[-1]
        assert await holder.fetch("SELECT FROM pg_namespace WHERE nspname IN ('app', 'control')") == []
        assert await holder.fetch("SELECT FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'") == []
    assert (await migrate(empty)).code == 0  # and once the lock is gone, it goes through


async def test_a_downgrade_that_meets_a_lock_leaves_the_schema_whole(empty: DatabaseUrls) -> None:
    await migrated(empty)
    first = await shape(empty.owner_url)
    async with session(empty.app_url) as reader, reader.transaction():
        await reader.execute("LOCK TABLE learned_rates IN ACCESS SHARE MODE")  # a table of the newest revision
        with pytest.raises(MigrationRefused, match="Nothing was changed"):
            await asyncio.to_thread(downgrade, empty.owner_url, APPLICATION, "base")
    assert await shape(empty.owner_url) == first
    async with session(empty.owner_url) as owner:
        assert await owner.fetchval("SELECT version_num FROM alembic_version") == newest()


async def test_a_migration_is_impatient_and_alone(empty: DatabaseUrls, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the migrating session set for itself, read from inside a migration."""
    seen: dict[str, str] = {}
    names = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")

    def look(_folder: str, _role: str) -> None:
        from alembic import op  # noqa: PLC0415  it has a connection only inside a migration

        for name in names:
            seen[name] = op.get_bind().exec_driver_sql(f"SHOW {name}").scalar_one()
        seen["locks"] = str(
            op.get_bind()
            .exec_driver_sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
            .scalar_one()
        )
        raise LookupError("seen enough")

    monkeypatch.setattr("migrations.scripts.run_folder", look)
    with pytest.raises(LookupError):
        await migrated(empty)
    assert seen == {"lock_timeout": "3s", "statement_timeout": "15min", "idle_in_transaction_session_timeout": "5min", "locks": "1"}


async def test_an_owner_who_is_no_superuser_backfills_all_tenants(urls: DatabaseUrls, owner: "asyncpg.Connection[asyncpg.Record]") -> None:
    strong = await owner.fetchval("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")
    assert (strong, await owner.fetchval("SELECT current_user")) == (False, OWNER)
    one, two = await seed(owner), await seed(owner)
    both = [one.tenant, two.tenant]
    tag = await owner.execute("UPDATE messages SET encoding = 'ucs2' WHERE tenant_id = ANY ($1)", both)
    assert tag == "UPDATE 2"
    async with session(urls.app_url) as application:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="no tenant scope"):
            await application.execute("UPDATE messages SET encoding = 'gsm7'")
    assert await owner.fetchval("SELECT count(*) FROM messages WHERE tenant_id = ANY ($1) AND encoding = 'ucs2'", both) == 2


async def test_a_dump_by_the_owner_holds_every_tenant(
    servers: Servers, urls: DatabaseUrls, owner: "asyncpg.Connection[asyncpg.Record]", empty: DatabaseUrls, tmp_path: Path
) -> None:
    """And what was dumped can be read back: the rows of both tenants, in every table."""
    one, two = await seed(owner), await seed(owner)
    programs, file = servers.postgres.bin_dir, tmp_path / "dump"
    flags = ("--enable-row-security", "--no-owner", "--format=custom")
    dumped = await run(programs / "pg_dump", *flags, "--file", file, urls.owner_url)
    assert (dumped.code, dumped.error) == (0, "")
    restored = await run(programs / "pg_restore", "--no-owner", "--exit-on-error", "--dbname", empty.owner_url, file)
    assert (restored.code, restored.error) == (0, "")
    async with session(empty.owner_url) as copy:
        for table in TABLES:
            for ids in (one, two):
                assert await digest(copy, table, ids.tenant) == await digest(owner, table, ids.tenant), table


@pytest.mark.parametrize(
    ("strength", "words"),
    [
        ("CREATE ROLE {role} LOGIN SUPERUSER", "a superuser"),
        ("CREATE ROLE {role} LOGIN BYPASSRLS", "bypasses row security"),
        ("CREATE ROLE {role} LOGIN REPLICATION", "reads all changes"),
        ("CREATE ROLE {role} LOGIN CREATEROLE", "makes roles"),
        ("CREATE ROLE {role} LOGIN; GRANT trunkline_owner TO {role}", "the owner of the tables"),
        ("CREATE ROLE {role} LOGIN; CREATE ROLE {role}_group BYPASSRLS; GRANT {role}_group TO {role}", "bypasses row security"),
        (
            "CREATE ROLE {role} LOGIN; ALTER DATABASE {database} OWNER TO {role}; GRANT ALL ON SCHEMA public TO trunkline_owner",
            "owner of the database",
        ),
    ],
)
async def test_a_role_that_row_security_does_not_bind_is_refused(servers: Servers, empty: DatabaseUrls, strength: str, words: str) -> None:
    role, database = f"strong{next(numbers)}", empty.owner_url.rpartition("/")[2]
    async with session(servers.postgres.superuser_url(database)) as superuser:
        await superuser.execute(strength.format(role=role, database=database))
        await superuser.execute(f"GRANT ALL ON DATABASE {database} TO trunkline_owner")
    with pytest.raises(MigrationRefused, match=words):
        await asyncio.to_thread(upgrade, empty.owner_url, role)
    async with session(empty.owner_url) as owner:
        assert await owner.fetch("SELECT FROM pg_namespace WHERE nspname IN ('app', 'control')") == []


async def test_the_owner_cannot_serve_as_the_application(empty: DatabaseUrls) -> None:
    with pytest.raises(MigrationRefused, match="name the same role"):
        await asyncio.to_thread(upgrade, empty.owner_url, OWNER)


async def test_a_missing_role_is_made_weak(servers: Servers, empty: DatabaseUrls) -> None:
    role = f"Fresh'{next(numbers)}"
    await asyncio.to_thread(upgrade, empty.owner_url, role, "it's a password")
    async with session(servers.postgres.superuser_url()) as superuser:
        found = await superuser.fetchrow(
            "SELECT rolcanlogin, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = $1", role
        )
    assert found is not None
    assert tuple(found) == (True, False, False, False, False)
    parts = empty.owner_url.rpartition("@")[2].partition("/")
    connection = await asyncpg.connect(
        host="127.0.0.1", port=int(parts[0].rpartition(":")[2]), database=parts[2], user=role, password="it's a password"
    )
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="no tenant scope"):
            await connection.fetch("SELECT FROM messages")
    finally:
        await connection.close()

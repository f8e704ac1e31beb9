from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from runtime.database import Database
from runtime.ids import TenantId
from runtime.refusals import Conflict, NotFound
from tenants import audit, registry
from tests.tenants.conftest import Trail


@pytest.mark.parametrize(
    "rewrite",
    [
        "UPDATE control.audit SET actor = 'somebody else'",
        "DELETE FROM control.audit",
        "TRUNCATE control.audit",
        "INSERT INTO control.audit (id, actor, action) VALUES (gen_random_uuid(), 'x', 'y') ON CONFLICT (id) DO UPDATE SET actor = 'x'",
        "DROP TABLE control.audit",
        "ALTER TABLE control.audit DISABLE TRIGGER ALL",
    ],
)
async def test_the_application_can_only_add(
    database: Database, tenant: TenantId, owner: "asyncpg.Connection[asyncpg.Record]", rewrite: str
) -> None:
    async with database.unscoped() as connection:
        await audit.record(connection, "admin", "tested", tenant, "here", why="to see")
    before = await owner.fetch("SELECT a::text FROM control.audit AS a ORDER BY id")
    with pytest.raises(DBAPIError, match=r"permission denied|must be owner"):
        async with database.unscoped() as connection:
            await connection.execute(text(rewrite))
    assert await owner.fetch("SELECT a::text FROM control.audit AS a ORDER BY id") == before


async def test_an_entry_says_who_what_whose_and_when(database: Database, tenant: TenantId, trail: Trail) -> None:
    async with database.unscoped() as connection:
        await audit.record(connection, "key:1", "tested", tenant, "target", number=3, deep={"a": ["b"]})
        now = (await connection.execute(text("SELECT app.now()"))).scalar_one()
    (entry,) = await trail(tenant)
    assert (entry["actor"], entry["action"], entry["tenant_id"], entry["target"]) == ("key:1", "tested", tenant, "target")
    assert entry["detail"] == {"number": 3, "deep": {"a": ["b"]}}
    assert 0 <= (now - audit.at(entry)).total_seconds() < 5


async def test_entries_come_in_pages_of_one_tenant_or_of_all(database: Database, tenant: TenantId, other: TenantId) -> None:
    async with database.unscoped() as connection:
        for number in range(5):
            await audit.record(connection, "admin", f"step {number}", tenant)
            await audit.record(connection, "admin", "elsewhere", other)
        first = await audit.entries(connection, tenant, None, 3)
        rest = await audit.entries(connection, tenant, first[-1]["id"], 3)
        everybody = await audit.entries(connection, None, None, 10)
    assert sorted(entry["action"] for entry in first + rest) == [f"step {number}" for number in range(5)]
    assert {entry["tenant_id"] for entry in everybody} == {tenant, other}


async def test_a_change_that_fails_is_not_in_the_trail(database: Database, tenant: TenantId, trail: Trail) -> None:
    async def change() -> None:
        async with database.unscoped() as connection:
            await registry.change_tenant(connection, tenant, "admin", name="Changed")
            raise LookupError

    with pytest.raises(LookupError):
        await change()
    assert await trail(tenant) == []


async def test_the_life_of_a_tenant_is_in_the_trail(database: Database, trail: Trail) -> None:
    slug = f"t-{uuid4().hex[:12]}"
    async with database.unscoped() as connection:
        tenant = await registry.create_tenant(connection, slug, "Smile", "UTC", "standard", None, "admin")
        await registry.change_tenant(connection, tenant, "admin", name="Smile Dental", max_tier="short_code")
        await registry.suspend(connection, tenant, "unpaid", "admin")
        await registry.resume(connection, tenant, "duty:billing")
        row = await registry.tenant_row(connection, tenant)
    assert (row["slug"], row["name"], row["max_tier"], row["status"], row["status_reason"]) == (
        slug,
        "Smile Dental",
        "short_code",
        "active",
        None,
    )
    assert [(entry["action"], entry["actor"]) for entry in reversed(await trail(tenant))] == [
        ("tenant.created", "admin"),
        ("tenant.changed", "admin"),
        ("tenant.suspended", "admin"),
        ("tenant.resumed", "duty:billing"),
    ]


async def test_a_slug_is_never_reused(database: Database, owner: "asyncpg.Connection[asyncpg.Record]") -> None:
    slug = f"t-{uuid4().hex[:12]}"
    async with database.unscoped() as connection:
        tenant = await registry.create_tenant(connection, slug, "Smile", "UTC", "standard", None, "admin")
    await owner.execute("UPDATE control.tenants SET status = 'closed' WHERE id = $1", tenant)
    with pytest.raises(Conflict, match="never reused"):
        async with database.unscoped() as connection:
            await registry.create_tenant(connection, slug, "Another", "UTC", "standard", None, "admin")
    async with database.unscoped() as connection:
        for attempt in (registry.suspend(connection, tenant, "x", "admin"), registry.resume(connection, tenant, "admin")):
            with pytest.raises(NotFound):  # closed is closed
                await attempt
    with pytest.raises(DBAPIError, match="permission denied"):
        async with database.unscoped() as connection:
            await connection.execute(text("DELETE FROM control.tenants WHERE id = :id"), {"id": tenant})

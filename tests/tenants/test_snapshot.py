"""What a request knows of its tenant: whole, its own, and never older than two seconds."""

import asyncio
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import text

from runtime import clock
from runtime.crypto import Keyring
from runtime.database import Database
from runtime.ids import TenantId
from tenants import assistants, registry, switches
from tenants.senders import SenderRequest, put_sender
from tenants.snapshot import Snapshot, TenantBook
from tests.tenants.conftest import slug_of


async def furnished(database: Database, keyring: Keyring, tenant: TenantId, vapi_assistant_id: str) -> str:
    """A tenant with an assistant, a sender and a switch; gives its webhook secret."""
    sender = SenderRequest(f"AC{uuid4().hex}", "short_code", "tenant", from_number="55100", auth_token="token")
    async with database.tenant_scope(tenant) as connection:
        made = await assistants.register(connection, keyring, tenant, vapi_assistant_id, "Front desk", "key:1")
        await put_sender(connection, keyring, tenant, sender, "key:1", default=True)
        await switches.turn(connection, "sending", "hold", tenant, "admin")
    return made.secret


async def read(database: Database, tenant: TenantId) -> Snapshot:
    found = await TenantBook(database).by_slug(await slug_of(database, tenant))
    assert found is not None
    return found


async def test_it_holds_what_is_the_tenants(database: Database, keyring: Keyring, tenant: TenantId, other: TenantId) -> None:
    secret = await furnished(database, keyring, tenant, "assistant-1")
    await furnished(database, keyring, other, "assistant-2")
    found = await read(database, tenant)
    assert (found.id, found.slug, found.plan, found.status) == (tenant, await slug_of(database, tenant), "standard", "active")
    assert (found.zone.key, found.max_tier, found.operator_tier) == ("America/Los_Angeles", None, None)
    assert found.assistants == {"assistant-1"}
    assert found.credentials == {keyring.digest(secret): float("inf")}
    (sender,) = found.senders
    assert (sender.from_number, sender.tier, sender.segments_per_minute, sender.is_default) == ("55100", "short_code", 6000, True)
    assert (sender.queued_segments, sender.hold_reason, sender.paced_for) == (0, None, 0)
    assert found.tags.by_name() == {"tenant.id": str(tenant), "tenant.slug": found.slug, "tenant.tier": "short_code"}
    assert found.switch("sending", "on") == "hold"
    assert (await read(database, other)).assistants == {"assistant-2"}


async def test_a_bare_tenant_has_nothing(database: Database, tenant: TenantId) -> None:
    found = await read(database, tenant)
    assert (found.assistants, found.credentials, found.senders, found.tags.tier) == (frozenset(), {}, (), "none")
    assert found.switch("sending", "on") == "on"


async def test_everybodys_hold_stops_everybody(
    database: Database, tenant: TenantId, other: TenantId, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    async with database.unscoped() as connection:
        await switches.turn(connection, "sending", "hold", tenant, "admin")
        await switches.turn(connection, "sending", "on", tenant, "admin")
        await switches.turn(connection, "sending", "hold", None, "admin")
    try:
        assert (await read(database, tenant)).switch("sending", "on") == "hold"
        assert (await read(database, other)).switch("sending", "on") == "hold"
    finally:
        await owner.execute("DELETE FROM control.switches WHERE tenant_id IS NULL")


async def test_how_busy_a_sender_is(
    database: Database, keyring: Keyring, tenant: TenantId, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await furnished(database, keyring, tenant, "assistant-3")
    await owner.execute(
        "INSERT INTO control.schedule (tenant_id, registration_id, next_at, paced_until, hold_reason, queued_segments)"
        " SELECT tenant_id, id, app.now(), app.now() + interval '30 seconds', 'sending held', 12 FROM registrations WHERE tenant_id = $1",
        tenant,
    )
    (sender,) = (await read(database, tenant)).senders
    assert (sender.queued_segments, sender.hold_reason) == (12, "sending held")
    assert 25 < sender.paced_for <= 30
    await owner.execute("UPDATE control.schedule SET paced_until = app.now() - interval '1 hour' WHERE tenant_id = $1", tenant)
    (sender,) = (await read(database, tenant)).senders
    assert sender.paced_for == 0
    await owner.execute("DELETE FROM control.schedule WHERE tenant_id = $1", tenant)


async def test_a_rotated_secret_ends_with_its_grace(database: Database, keyring: Keyring, tenant: TenantId) -> None:
    old = await furnished(database, keyring, tenant, "assistant-4")
    async with database.tenant_scope(tenant) as connection:
        (row,) = await assistants.list_assistants(connection, tenant, None, 1)
        new = await assistants.rotate_secret(connection, keyring, tenant, row["id"], 60, "key:1")
    found = await read(database, tenant)
    assert found.credentials[keyring.digest(new.secret)] == float("inf")
    assert 55 < found.credentials[keyring.digest(old)] - clock.monotonic() <= 60
    async with database.tenant_scope(tenant) as connection:
        await assistants.rotate_secret(connection, keyring, tenant, row["id"], 0, "key:1")
    assert len((await read(database, tenant)).credentials) == 1


@pytest.mark.parametrize("slug", ["nobody", "", "NOBODY", "a\x00b", "'; DROP TABLE messages; --", "x" * 10_000, "ü"])
async def test_an_unknown_slug_gives_nothing(database: Database, slug: str) -> None:
    assert await TenantBook(database).by_slug(slug) is None


async def test_a_closed_tenant_is_unknown_and_a_suspended_one_is_not(
    database: Database, tenant: TenantId, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    async with database.unscoped() as connection:
        await registry.suspend(connection, tenant, "unpaid", "admin")
    assert (await read(database, tenant)).status == "suspended"
    slug = await slug_of(database, tenant)
    await owner.execute("UPDATE control.tenants SET status = 'closed' WHERE id = $1", tenant)
    book = TenantBook(database)
    assert (await book.by_slug(slug), await book.by_id(tenant)) == (None, None)
    assert await book.by_id(TenantId(uuid4())) is None


async def test_a_change_is_followed_within_two_seconds(database: Database, tenant: TenantId, monkeypatch: pytest.MonkeyPatch) -> None:
    at = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: at)
    here, elsewhere = TenantBook(database), TenantBook(database)
    slug = await slug_of(database, tenant)
    for book in (here, elsewhere):
        await book.by_id(tenant)
    async with database.unscoped() as connection:
        await switches.turn(connection, "sending", "hold", tenant, "admin")
    here.forget(slug)
    assert [await sending(book, tenant) for book in (here, elsewhere)] == ["hold", "on"]
    monkeypatch.setattr(clock, "monotonic", lambda: at + 2.0)
    assert await sending(elsewhere, tenant) == "hold"


async def sending(book: TenantBook, tenant: TenantId) -> str:
    found = await book.by_id(tenant)
    assert found is not None
    return found.switch("sending", "on")


async def test_many_who_ask_at_once_cost_one_question(database: Database, tenant: TenantId, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    ask = Database.call_for_many

    async def counted(self: Database, statement: str, *values: object) -> "list[asyncpg.Record]":
        nonlocal asked
        asked += 1
        return await ask(self, statement, *values)

    monkeypatch.setattr(Database, "call_for_many", counted)
    book, slug = TenantBook(database), await slug_of(database, tenant)
    found = await asyncio.gather(*(book.by_slug(slug) for _ in range(100)))
    assert (len(set(map(id, found))), asked) == (1, 1)


async def test_the_document_is_read_as_the_application_role(database: Database, tenant: TenantId) -> None:
    """The function runs with its caller's rights, in a scope that ends with it."""
    await read(database, tenant)
    async with database.unscoped() as connection:
        assert (await connection.execute(text("SELECT current_setting('app.tenant_id', true)"))).scalar() in (None, "")

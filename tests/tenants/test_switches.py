from collections.abc import AsyncIterator
from typing import NamedTuple
from uuid import UUID, uuid4

import asyncpg
import pytest

from runtime.database import Database
from runtime.ids import TenantId
from runtime.refusals import Invalid
from tenants import registry, switches
from tests.tenants.conftest import Trail

HELD = "sending held"


class Row(NamedTuple):
    """A row of the schedule."""

    hold_reason: str | None
    due: bool


@pytest.fixture(autouse=True)
async def as_before(owner: "asyncpg.Connection[asyncpg.Record]") -> AsyncIterator[None]:
    """A switch for everybody would reach other tests."""
    yield
    await owner.execute("DELETE FROM control.switches WHERE tenant_id IS NULL")
    await owner.execute("DELETE FROM control.schedule")


async def scheduled(owner: "asyncpg.Connection[asyncpg.Record]", tenant: TenantId, hold: str | None = None) -> UUID:
    registration = uuid4()
    await owner.execute(
        "INSERT INTO control.schedule (tenant_id, registration_id, next_at, hold_reason) VALUES ($1, $2, app.now() + '1 hour', $3)",
        tenant,
        registration,
        hold,
    )
    return registration


async def row(owner: "asyncpg.Connection[asyncpg.Record]", registration: UUID) -> Row:
    found = await owner.fetchrow("SELECT hold_reason, next_at <= app.now() FROM control.schedule WHERE registration_id = $1", registration)
    assert found is not None
    return Row(*found)


async def turn(database: Database, mode: str, tenant: TenantId | None) -> None:
    async with database.unscoped() as connection:
        await switches.turn(connection, "sending", mode, tenant, "admin")


async def test_holding_one_tenant_holds_it_alone(
    database: Database, tenant: TenantId, other: TenantId, owner: "asyncpg.Connection[asyncpg.Record]", trail: Trail
) -> None:
    mine, theirs = await scheduled(owner, tenant), await scheduled(owner, other)
    await turn(database, "hold", tenant)
    assert (await row(owner, mine), await row(owner, theirs)) == (Row(HELD, due=False), Row(None, due=False))
    await turn(database, "on", tenant)
    assert (await row(owner, mine), await row(owner, theirs)) == (Row(None, due=True), Row(None, due=False))
    entries = await trail(tenant)
    assert [(entry["action"], entry["target"], entry["detail"]) for entry in entries] == [
        ("switch.turned", "sending", {"mode": "on"}),
        ("switch.turned", "sending", {"mode": "hold"}),
    ]


async def test_holding_everybody_holds_all(
    database: Database, tenant: TenantId, other: TenantId, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    rows = [await scheduled(owner, tenant), await scheduled(owner, other)]
    await turn(database, "hold", None)
    assert [(await row(owner, each)).hold_reason for each in rows] == [HELD, HELD]
    await turn(database, "on", None)
    assert [await row(owner, each) for each in rows] == [Row(None, due=True)] * 2


@pytest.mark.parametrize("reason", ["suspended", "credentials refused"])
async def test_a_hold_for_another_reason_stays(
    database: Database, tenant: TenantId, owner: "asyncpg.Connection[asyncpg.Record]", reason: str
) -> None:
    registration = await scheduled(owner, tenant, reason)
    await turn(database, "hold", tenant)
    assert (await row(owner, registration)).hold_reason == reason
    await turn(database, "on", tenant)
    assert (await row(owner, registration)).hold_reason == reason


async def test_suspending_and_resuming_holds_and_releases(
    database: Database, tenant: TenantId, other: TenantId, owner: "asyncpg.Connection[asyncpg.Record]", trail: Trail
) -> None:
    mine, theirs, held = await scheduled(owner, tenant), await scheduled(owner, other), await scheduled(owner, tenant, HELD)
    async with database.unscoped() as connection:
        await registry.suspend(connection, tenant, "unpaid", "admin")
    assert [(await row(owner, each)).hold_reason for each in (mine, theirs, held)] == ["suspended", None, HELD]
    async with database.unscoped() as connection:
        await registry.resume(connection, tenant, "admin")
    assert await row(owner, mine) == Row(None, due=True)
    assert (await row(owner, held)).hold_reason == HELD
    assert [(entry["action"], entry["detail"]) for entry in await trail(tenant)] == [
        ("tenant.resumed", {}),
        ("tenant.suspended", {"reason": "unpaid"}),
    ]


async def test_all_switches_shows_defaults_until_somebody_turns_them(database: Database, tenant: TenantId) -> None:
    async def listed() -> set[tuple[str, UUID | None, str]]:
        async with database.unscoped() as connection:
            found = await switches.all_switches(connection)
        return {(each["name"], each["tenant_id"], each["mode"]) for each in found if each["tenant_id"] in (None, tenant)}

    everybody = {(name, None, mode) for name, mode in switches.DEFAULTS.items()}
    assert await listed() == everybody
    await turn(database, "hold", tenant)
    await turn(database, "hold", tenant)  # again, and it stays one
    assert await listed() == everybody | {("sending", tenant, "hold")}
    await turn(database, "hold", None)
    assert await listed() == everybody - {("sending", None, "on")} | {("sending", None, "hold"), ("sending", tenant, "hold")}


@pytest.mark.parametrize(("name", "mode", "pointer"), [("sendign", "on", "/name"), ("sending", "off", "/mode")])
async def test_what_is_no_switch_or_mode_is_refused_and_changes_nothing(
    database: Database, tenant: TenantId, trail: Trail, name: str, mode: str, pointer: str
) -> None:
    with pytest.raises(Invalid) as refused:
        async with database.unscoped() as connection:
            await switches.turn(connection, name, mode, tenant, "admin")
    assert refused.value.errors[0][0] == pointer
    assert await trail(tenant) == []


async def test_a_turn_that_is_rolled_back_leaves_no_trace(
    database: Database, tenant: TenantId, owner: "asyncpg.Connection[asyncpg.Record]", trail: Trail
) -> None:
    registration = await scheduled(owner, tenant)

    async def hold() -> None:
        async with database.unscoped() as connection:
            await switches.turn(connection, "sending", "hold", tenant, "admin")
            raise LookupError

    with pytest.raises(LookupError):
        await hold()
    assert await row(owner, registration) == Row(None, due=False)
    assert await trail(tenant) == []

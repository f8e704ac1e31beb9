import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4
from zoneinfo import ZoneInfoNotFoundError

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from billing.periods import Period
from billing.plans import Plan, UnknownPlan, create_plan, latest_plan
from billing.subscriptions import NoSubscription, Subscription, change_plan, current_period, start_subscription, subscription_in_force
from runtime.database import Database
from runtime.ids import TenantId

MakeTenant = Callable[..., Awaitable[TenantId]]
LOS_ANGELES = "America/Los_Angeles"
STARTED = datetime(2026, 2, 1, 3, 0, tzinfo=UTC)  # 31 January there
FIRST_END = datetime(2026, 2, 28, 8, 0, tzinfo=UTC)
SECOND_END = datetime(2026, 3, 31, 7, 0, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)


@pytest.fixture
async def tenant(database: Database, make_tenant: MakeTenant) -> TenantId:
    tenant = await make_tenant(timezone=LOS_ANGELES)
    async with database.tenant_scope(tenant) as connection:
        await start_subscription(connection, tenant, "standard", LOS_ANGELES, STARTED)
    return tenant


async def in_force(database: Database, tenant: TenantId, at: datetime) -> Subscription:
    async with database.tenant_scope(tenant) as connection:
        return await subscription_in_force(connection, tenant, at)


async def change(database: Database, tenant: TenantId, plan_name: str, at: datetime) -> Subscription:
    async with database.tenant_scope(tenant) as connection:
        return await change_plan(connection, tenant, plan_name, at)


async def a_plan(database: Database, name: str | None = None) -> Plan:
    async with database.unscoped() as connection:
        return await create_plan(connection, name or f"plan-{uuid4().hex}", "USD", Decimal(1), [])


async def how_many(database: Database, tenant: TenantId) -> int:
    async with database.tenant_scope(tenant) as connection:
        count: int = (await connection.execute(text("SELECT count(*) FROM subscriptions"))).scalar_one()
        return count


async def test_it_begins_on_the_day_it_is_for_the_tenant(database: Database, tenant: TenantId) -> None:
    subscription = await in_force(database, tenant, STARTED)
    assert (subscription.anchor_day, subscription.timezone, subscription.started_at) == (31, LOS_ANGELES, STARTED)
    async with database.unscoped() as connection:
        assert subscription.plan_id == (await latest_plan(connection, "standard")).id


async def test_the_current_period_is_reckoned_in_the_zone_of_the_subscription(database: Database, tenant: TenantId) -> None:
    async with database.tenant_scope(tenant) as connection:
        assert await current_period(connection, tenant, STARTED) == Period(datetime(2026, 1, 31, 8, 0, tzinfo=UTC), FIRST_END)
        assert (await current_period(connection, tenant, FIRST_END - MOMENT)).ends_at == FIRST_END
        assert await current_period(connection, tenant, FIRST_END) == Period(FIRST_END, SECOND_END)


async def test_a_clock_that_is_behind_finds_the_first_subscription(database: Database, tenant: TenantId) -> None:
    assert (await in_force(database, tenant, STARTED - timedelta(seconds=2))).started_at == STARTED


async def test_a_tenant_has_one_subscription_at_a_time(database: Database, tenant: TenantId) -> None:
    with pytest.raises(IntegrityError):
        async with database.tenant_scope(tenant) as connection:
            await start_subscription(connection, tenant, "standard", "UTC", STARTED)
    assert await how_many(database, tenant) == 1


@pytest.mark.parametrize(
    ("plan", "timezone", "error"), [("no-such-plan", "UTC", UnknownPlan), ("standard", "Europe/Atlantis", ZoneInfoNotFoundError)]
)
async def test_it_needs_a_plan_and_a_zone(
    database: Database, make_tenant: MakeTenant, plan: str, timezone: str, error: type[Exception]
) -> None:
    tenant = await make_tenant()
    with pytest.raises(error):
        async with database.tenant_scope(tenant) as connection:
            await start_subscription(connection, tenant, plan, timezone, STARTED)
    assert await how_many(database, tenant) == 0


async def test_the_subscription_of_another_tenant_is_not_to_be_seen(database: Database, tenant: TenantId, make_tenant: MakeTenant) -> None:
    other = await make_tenant()
    async with database.tenant_scope(other) as connection:
        for asked in (tenant, other):
            with pytest.raises(NoSubscription):
                await current_period(connection, asked, STARTED)
        with pytest.raises(NoSubscription):
            await change_plan(connection, tenant, "standard", STARTED)
    async with database.tenant_scope(tenant) as connection:
        with pytest.raises(NoSubscription):
            await current_period(connection, other, STARTED)
        with pytest.raises(NoSubscription):
            await change_plan(connection, other, "standard", STARTED)


async def test_a_new_plan_takes_effect_with_the_next_period(database: Database, tenant: TenantId) -> None:
    before = await in_force(database, tenant, STARTED)
    plan = await a_plan(database)
    changed = await change(database, tenant, plan.name, STARTED + timedelta(days=3))
    assert (changed.started_at, changed.anchor_day, changed.timezone, changed.plan_id) == (FIRST_END, 31, LOS_ANGELES, plan.id)
    assert (await in_force(database, tenant, FIRST_END - MOMENT)).plan_id == before.plan_id
    assert await in_force(database, tenant, FIRST_END) == changed
    async with database.tenant_scope(tenant) as connection:
        assert await current_period(connection, tenant, FIRST_END) == Period(FIRST_END, SECOND_END)


async def test_a_second_change_in_a_period_supersedes_the_first(database: Database, tenant: TenantId) -> None:
    first, second = await a_plan(database), await a_plan(database)
    await change(database, tenant, first.name, STARTED)
    await change(database, tenant, second.name, STARTED + timedelta(days=1))
    assert (await in_force(database, tenant, FIRST_END - MOMENT)).plan_id not in {first.id, second.id}
    assert (await in_force(database, tenant, FIRST_END)).plan_id == second.id


async def test_a_clock_that_is_behind_does_not_break_the_chain(database: Database, tenant: TenantId) -> None:
    first, second = await a_plan(database), await a_plan(database)
    await change(database, tenant, first.name, FIRST_END)
    assert (await change(database, tenant, second.name, STARTED)).started_at == SECOND_END
    assert (await in_force(database, tenant, SECOND_END)).plan_id == second.id


async def test_a_change_can_be_taken_back_before_it_takes_effect(database: Database, tenant: TenantId) -> None:
    before = await in_force(database, tenant, STARTED)
    await change(database, tenant, (await a_plan(database)).name, STARTED)
    await change(database, tenant, "standard", STARTED)
    assert (await in_force(database, tenant, FIRST_END)).plan_id == before.plan_id


async def test_a_change_to_the_same_version_changes_nothing(database: Database, tenant: TenantId) -> None:
    plan = await a_plan(database)
    changed = await change(database, tenant, plan.name, STARTED)
    assert await change(database, tenant, plan.name, STARTED) == changed
    assert await how_many(database, tenant) == 2


async def test_a_new_version_of_a_plan_does_not_reach_who_subscribed_before(database: Database, tenant: TenantId) -> None:
    plan = await a_plan(database)
    await change(database, tenant, plan.name, STARTED)
    newer = await a_plan(database, plan.name)
    assert (await in_force(database, tenant, SECOND_END)).plan_id == plan.id
    await change(database, tenant, plan.name, FIRST_END)
    assert (await in_force(database, tenant, SECOND_END)).plan_id == newer.id


async def test_changes_at_once_leave_a_chain_without_gap_or_overlap(database: Database, tenant: TenantId) -> None:
    plans = [await a_plan(database) for _ in range(5)]
    await asyncio.gather(*(change(database, tenant, plan.name, STARTED) for plan in plans))
    async with database.tenant_scope(tenant) as connection:
        rows = await connection.execute(text("SELECT started_at, ended_at FROM subscriptions ORDER BY started_at, ended_at NULLS LAST"))
        chain = [tuple(row) for row in rows]
    assert chain == [(STARTED, FIRST_END), *[(FIRST_END, FIRST_END)] * 4, (FIRST_END, None)]

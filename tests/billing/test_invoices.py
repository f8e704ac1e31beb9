from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid4

import msgspec
import pytest

from billing.invoices import current_invoice
from billing.ledger import UsageEvent, record
from billing.plan_terms import Price
from billing.plans import create_plan
from billing.subscriptions import NoSubscription, change_plan, start_subscription
from billing.usage import UsageItem, usage_by_meter
from runtime.database import Database
from runtime.ids import TenantId

MakeTenant = Callable[..., Awaitable[TenantId]]
ZONE = "America/New_York"
STARTED = datetime(2026, 3, 1, 15, 0, tzinfo=UTC)
FROM = datetime(2026, 3, 1, 5, 0, tzinfo=UTC)
TO = datetime(2026, 4, 1, 4, 0, tzinfo=UTC)
NOW = datetime(2026, 3, 20, 12, 0, tzinfo=UTC)


@pytest.fixture
async def plan_name(database: Database) -> str:
    name = f"plan-{uuid4().hex}"
    prices = [
        Price("call_seconds", Decimal(600), Decimal("0.15"), Decimal(60)),
        Price("sms_segments_out", Decimal(1), Decimal("0.0079")),
        Price("vapi_cost_usd", Decimal(0), Decimal("1.10")),
    ]
    async with database.unscoped() as connection:
        await create_plan(connection, name, "USD", Decimal("19.90"), prices)
    return name


@pytest.fixture
async def tenant(database: Database, make_tenant: MakeTenant, plan_name: str) -> TenantId:
    return await a_subscriber(database, make_tenant, plan_name)


async def a_subscriber(database: Database, make_tenant: MakeTenant, plan_name: str) -> TenantId:
    tenant = await make_tenant(timezone=ZONE)
    async with database.tenant_scope(tenant) as connection:
        await start_subscription(connection, tenant, plan_name, ZONE, STARTED)
    return tenant


async def use(database: Database, tenant: TenantId, meter: str, quantity: str, at: datetime = NOW) -> None:
    async with database.tenant_scope(tenant) as connection:
        assert await record(connection, tenant, UsageEvent(meter, f"source:{uuid4()}", Decimal(quantity), at))


async def invoice(database: Database, tenant: TenantId, now: datetime = NOW) -> dict[str, object]:
    """The current invoice as a client reads it."""
    async with database.tenant_scope(tenant) as connection:
        shown: dict[str, object] = msgspec.json.decode(msgspec.json.encode(await current_invoice(connection, tenant, now)))
        return shown


async def total(database: Database, tenant: TenantId, now: datetime = NOW) -> object:
    return (await invoice(database, tenant, now))["total"]


def usd(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": "USD"}


async def test_the_current_invoice_is_what_would_be_due_now(database: Database, tenant: TenantId, plan_name: str) -> None:
    await use(database, tenant, "call_seconds", "641.28")
    await use(database, tenant, "call_seconds", "58.72")
    await use(database, tenant, "sms_segments_out", "2")
    await use(database, tenant, "vapi_cost_usd", "0.0712345678901234567")
    await use(database, tenant, "tool_calls", "3")  # the plan does not price them
    assert await invoice(database, tenant) == {
        "id": "current",
        "period": {"from": "2026-03-01T05:00:00.000Z", "to": "2026-04-01T04:00:00.000Z"},
        "timezone": ZONE,
        "plan": {"name": plan_name, "version": 1},
        "currency": "USD",
        "lines": [
            {
                "kind": "base_fee", "quantity": "1", "unit": "periods", "included": "0", "billable": "1",
                "unit_price": usd("19.90"), "per": "1", "amount": usd("19.90"),
            },
            {
                "kind": "usage", "meter": "call_seconds", "quantity": "700", "unit": "s", "included": "600", "billable": "100",
                "unit_price": usd("0.15"), "per": "60", "amount": usd("0.25"),
            },
            {
                "kind": "usage", "meter": "sms_segments_out", "quantity": "2", "unit": "segments", "included": "1", "billable": "1",
                "unit_price": usd("0.0079"), "per": "1", "amount": usd("0.01"),
            },
            {
                "kind": "usage", "meter": "vapi_cost_usd", "quantity": "0.0712345678901234567", "unit": "USD", "included": "0",
                "billable": "0.0712345678901234567", "unit_price": usd("1.10"), "per": "1", "amount": usd("0.08"),
            },
        ],
        "subtotal": usd("20.24"),
        "total": usd("20.24"),
        "as_of": "2026-03-20T12:00:00.000Z",
    }  # fmt: skip


async def test_a_tenant_without_usage_owes_the_base_fee(database: Database, tenant: TenantId) -> None:
    assert await total(database, tenant) == usd("19.90")


async def test_usage_is_billed_in_the_period_of_the_tenants_zone_it_happened_in(database: Database, tenant: TenantId) -> None:
    await use(database, tenant, "vapi_cost_usd", "10", datetime(2026, 4, 1, 3, 59, 59, tzinfo=UTC))  # 31 March there
    await use(database, tenant, "vapi_cost_usd", "100", TO)
    assert await total(database, tenant) == usd("30.90")
    assert await total(database, tenant, TO) == usd("129.90")


async def test_the_usage_of_another_tenant_is_not_on_the_invoice(
    database: Database, tenant: TenantId, make_tenant: MakeTenant, plan_name: str
) -> None:
    other = await a_subscriber(database, make_tenant, plan_name)
    await use(database, other, "vapi_cost_usd", "10")
    assert await total(database, tenant) == usd("19.90")
    assert await total(database, other) == usd("30.90")


async def test_a_change_of_plan_reaches_the_invoice_with_the_next_period(database: Database, tenant: TenantId) -> None:
    async with database.tenant_scope(tenant) as connection:
        free = await create_plan(connection, f"plan-{uuid4().hex}", "JPY", Decimal(0), [Price("calls", Decimal(0), Decimal("150.5"))])
        await change_plan(connection, tenant, free.name, NOW)
    assert await total(database, tenant) == usd("19.90")
    await use(database, tenant, "calls", "1", TO)
    assert await total(database, tenant, TO) == {"amount": "151", "currency": "JPY"}


async def test_who_is_on_no_plan_has_no_invoice(database: Database, make_tenant: MakeTenant) -> None:
    tenant = await make_tenant()
    with pytest.raises(NoSubscription):
        await total(database, tenant)


async def test_usage_has_one_item_per_meter(database: Database, tenant: TenantId) -> None:
    for meter, quantity in (("tool_calls", "1"), ("call_seconds", "58.70"), ("call_seconds", "0.02"), ("calls", "30000")):
        await use(database, tenant, meter, quantity)
    await use(database, tenant, "sms_segments_out", "5", TO)
    async with database.tenant_scope(tenant) as connection:
        items = await usage_by_meter(connection, tenant, FROM, TO)
    assert msgspec.to_builtins(items) == [
        {"meter": "calls", "quantity": "30000", "unit": "calls"},
        {"meter": "call_seconds", "quantity": "58.72", "unit": "s"},
        {"meter": "tool_calls", "quantity": "1", "unit": "calls"},
    ]


async def test_usage_by_day_follows_the_tenants_midnight(database: Database, tenant: TenantId) -> None:
    for meter, quantity, at in (
        ("calls", "1", datetime(2026, 3, 8, 4, 59, tzinfo=UTC)),  # 7 March, winter time
        ("calls", "2", datetime(2026, 3, 8, 5, 0, tzinfo=UTC)),
        ("call_seconds", "30", datetime(2026, 3, 8, 5, 0, tzinfo=UTC)),
        ("calls", "4", datetime(2026, 3, 9, 3, 59, tzinfo=UTC)),  # 8 March, summer time
        ("calls", "8", datetime(2026, 3, 9, 4, 0, tzinfo=UTC)),
    ):
        await use(database, tenant, meter, quantity, at)
    async with database.tenant_scope(tenant) as connection:
        items = await usage_by_meter(connection, tenant, FROM, TO, group_by="day")
    assert items == [
        UsageItem("calls", "1", "calls", "2026-03-07"),
        UsageItem("calls", "6", "calls", "2026-03-08"),
        UsageItem("call_seconds", "30", "s", "2026-03-08"),
        UsageItem("calls", "8", "calls", "2026-03-09"),
    ]


async def test_a_meter_of_a_newer_release_is_shown_and_not_priced(database: Database, tenant: TenantId) -> None:
    async with database.tenant_scope(tenant) as connection:
        insert = f"INSERT INTO usage_events VALUES ('{tenant}', 'video_seconds', 'call:1', 7, '{NOW.isoformat()}')"
        await connection.exec_driver_sql(insert)
        assert await usage_by_meter(connection, tenant, FROM, TO) == [UsageItem("video_seconds", "7", "units")]
    assert await total(database, tenant) == usd("19.90")

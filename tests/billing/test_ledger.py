import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from billing.ledger import UnknownUsage, UsageEvent, record, reverse, totals_by_meter
from runtime.database import Database
from runtime.ids import TenantId

MakeTenant = Callable[..., Awaitable[TenantId]]
MARCH, APRIL, MAY = (datetime(2026, month, 1, tzinfo=UTC) for month in (3, 4, 5))


def segments(source_id: str, quantity: str = "1", occurred_at: datetime = MARCH) -> UsageEvent:
    return UsageEvent("sms_segments_out", source_id, Decimal(quantity), occurred_at)


async def write(database: Database, tenant: TenantId, event: UsageEvent) -> bool:
    async with database.tenant_scope(tenant) as connection:
        return await record(connection, tenant, event)


async def count_and_fail(database: Database, tenant: TenantId, event: UsageEvent) -> None:
    async with database.tenant_scope(tenant) as connection:
        assert await record(connection, tenant, event)
        raise ZeroDivisionError


async def totals(database: Database, tenant: TenantId, since: datetime = MARCH, until: datetime = APRIL) -> dict[str, Decimal]:
    async with database.tenant_scope(tenant) as connection:
        return await totals_by_meter(connection, tenant, since, until)


async def test_a_source_counts_once_on_a_meter(database: Database, make_tenant: MakeTenant) -> None:
    tenant = await make_tenant()
    assert await write(database, tenant, segments("message:1", "2"))
    assert not await write(database, tenant, segments("message:1", "2"))
    assert not await write(database, tenant, segments("message:1", "5"))
    assert await write(database, tenant, UsageEvent("calls", "message:1", Decimal(1), MARCH))
    assert await totals(database, tenant) == {"sms_segments_out": 2, "calls": 1}


async def test_a_source_repeated_decades_later_is_ignored(database: Database, make_tenant: MakeTenant) -> None:
    tenant = await make_tenant()
    long_ago = MARCH - timedelta(days=40 * 365)
    async with database.tenant_scope(tenant) as connection:
        await connection.execute(
            text("INSERT INTO usage_events VALUES (:tenant, 'sms_segments_out', 'message:1', 2, :at, :at)"),
            {"tenant": tenant, "at": long_ago},
        )
    assert not await write(database, tenant, segments("message:1", "2"))
    assert await totals(database, tenant, long_ago, APRIL) == {"sms_segments_out": 2}


async def test_twenty_deliveries_at_once_count_once(database: Database, make_tenant: MakeTenant) -> None:
    tenant = await make_tenant()
    answers = await asyncio.gather(*(write(database, tenant, segments("message:1")) for _ in range(20)))
    assert sorted(answers) == [False] * 19 + [True]
    assert await totals(database, tenant) == {"sms_segments_out": 1}


async def test_two_tenants_with_the_same_source_have_an_event_each(database: Database, make_tenant: MakeTenant) -> None:
    one, other = await make_tenant(), await make_tenant()
    assert await write(database, one, segments("message:1", "2"))
    assert await write(database, other, segments("message:1", "3"))
    assert await totals(database, one) == {"sms_segments_out": 2}
    assert await totals(database, other) == {"sms_segments_out": 3}


async def test_a_tenant_cannot_write_into_the_ledger_of_another(database: Database, make_tenant: MakeTenant) -> None:
    one, other = await make_tenant(), await make_tenant()
    with pytest.raises(DBAPIError, match="row-level security"):
        async with database.tenant_scope(one) as connection:
            await record(connection, other, segments("message:1"))
    assert await totals(database, other) == {}


async def test_a_tenant_cannot_read_the_ledger_of_another(database: Database, make_tenant: MakeTenant) -> None:
    one, other = await make_tenant(), await make_tenant()
    await write(database, one, segments("message:1"))
    async with database.tenant_scope(other) as connection:
        assert await totals_by_meter(connection, one, MARCH, APRIL) == {}
        assert (await connection.execute(text("SELECT count(*) FROM usage_events"))).scalar_one() == 0


@pytest.mark.parametrize("change", ["UPDATE usage_events SET quantity = 0", "DELETE FROM usage_events", "TRUNCATE usage_events"])
async def test_the_application_cannot_change_the_ledger(database: Database, make_tenant: MakeTenant, change: str) -> None:
    tenant = await make_tenant()
    await write(database, tenant, segments("message:1"))
    with pytest.raises(DBAPIError, match="permission denied"):
        async with database.tenant_scope(tenant) as connection:
            await connection.execute(text(change))
    assert await totals(database, tenant) == {"sms_segments_out": 1}


async def test_an_event_shares_the_fate_of_its_effect(database: Database, make_tenant: MakeTenant) -> None:
    tenant = await make_tenant()
    with pytest.raises(ZeroDivisionError):
        await count_and_fail(database, tenant, segments("message:1"))
    assert await totals(database, tenant) == {}
    assert await write(database, tenant, segments("message:1"))


async def test_a_sum_takes_what_happened_from_the_first_instant_up_to_the_last(database: Database, make_tenant: MakeTenant) -> None:
    tenant = await make_tenant()
    moment = timedelta(microseconds=1)
    for place, at in enumerate((MARCH - moment, MARCH, APRIL - moment, APRIL)):
        await write(database, tenant, segments(f"message:{place}", str(10**place), at))
    assert await totals(database, tenant) == {"sms_segments_out": 110}
    assert await totals(database, tenant, APRIL, MAY) == {"sms_segments_out": 1000}


async def test_a_sum_keeps_every_digit(database: Database, make_tenant: MakeTenant) -> None:
    tenant = await make_tenant()
    for source, cost in (("call:1", "0.0712345678901234567"), ("call:2", "0.1"), ("call:3", "0.2")):
        await write(database, tenant, UsageEvent("vapi_cost_usd", source, Decimal(cost), MARCH))
    assert await totals(database, tenant) == {"vapi_cost_usd": Decimal("0.3712345678901234567")}


async def test_a_reversal_takes_an_event_back_once_where_it_happened(database: Database, make_tenant: MakeTenant) -> None:
    tenant = await make_tenant()
    await write(database, tenant, segments("message:1", "2"))
    await write(database, tenant, segments("message:2", "3"))
    async with database.tenant_scope(tenant) as connection:
        assert await reverse(connection, tenant, "sms_segments_out", "message:1")
    async with database.tenant_scope(tenant) as connection:
        assert not await reverse(connection, tenant, "sms_segments_out", "message:1")
        kept = await connection.execute(text("SELECT source_id, quantity FROM usage_events ORDER BY source_id"))
        assert [tuple(row) for row in kept] == [("message:1", 2), ("message:1:reversal", -2), ("message:2", 3)]
    assert await totals(database, tenant) == {"sms_segments_out": 3}


async def test_what_was_never_counted_cannot_be_reversed(database: Database, make_tenant: MakeTenant) -> None:
    one, other = await make_tenant(), await make_tenant()
    await write(database, one, segments("message:1"))
    for scope in (one, other):
        async with database.tenant_scope(scope) as connection:
            with pytest.raises(UnknownUsage):
                await reverse(connection, other, "sms_segments_out", "message:1")


@pytest.mark.parametrize(("meter", "quantity"), [("miles", "1"), ("calls", "NaN"), ("calls", "Infinity")])
async def test_what_cannot_be_billed_is_not_recorded(database: Database, make_tenant: MakeTenant, meter: str, quantity: str) -> None:
    tenant = await make_tenant()
    with pytest.raises(ValueError, match=r"unknown meter|cannot be billed"):
        await write(database, tenant, UsageEvent(meter, "call:1", Decimal(quantity), MARCH))
    assert await totals(database, tenant) == {}


async def test_one_report_under_two_webhooks_and_two_keys_is_billed_once(database: Database, make_tenant: MakeTenant) -> None:
    tenant = await make_tenant()
    for key in (uuid4(), uuid4()):
        await report_a_call(database, tenant, key)
    assert await totals(database, tenant) == {"calls": 1, "call_seconds": Decimal("58.72"), "vapi_cost_usd": Decimal("0.0712")}


async def report_a_call(database: Database, tenant: TenantId, key: UUID) -> None:
    """What ingest does with an end-of-call report."""
    await database.call(
        tenant,
        "SELECT * FROM app.record_call_v1(p_tenant => $1, p_webhook => $2, p_type => 'end-of-call-report', p_call => 'c-1', "
        "p_assistant => NULL, p_key => $3, p_fingerprint => $3, p_state => 'ended', p_state_rank => 9::smallint, p_started_at => $4, "
        "p_ended_at => $4, p_seconds => 58.72, p_estimated_seconds => NULL, p_cost_usd => 0.0712, p_ended_reason => NULL, p_final => true)",
        tenant,
        uuid4(),
        key.bytes,
        MARCH,
    )

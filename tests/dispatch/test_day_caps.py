"""A used-up day at T-Mobile, taught by the sandbox's callback: who shares the brand waits for midnight, nobody else does."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from messaging.acceptance import accept_text
from messaging.day_counts import PACIFIC, day_count
from messaging.pacer import DayCap
from messaging.repairs import release_holds
from runtime.database import Database
from sandbox.twilio import TwilioSandbox
from sandbox.twilio.faults import Undelivered
from tenants.snapshot import TenantBook
from tests.dispatch.desk import Desk, MakeDispatcher, until
from tests.dispatch.test_receipts import form, receive

Owner = "asyncpg.Connection[asyncpg.Record]"


async def held_until(desk: Desk) -> datetime | None:
    sql = "SELECT held_until FROM registration_holds WHERE tenant_id = $1 AND registration_id = $2"
    found: datetime | None = await desk.owner.fetchval(sql, desk.tenant, desk.registration)
    return found


@pytest.mark.parametrize("code", [30023, 30027])
async def test_what_waits_leaves_after_midnight_and_the_neighbour_is_not_delayed(
    code: int,
    desk: Desk,
    neighbour: Desk,
    database: Database,
    make_dispatcher: MakeDispatcher,
    twilio: TwilioSandbox,
    callbacks: str,
) -> None:
    twilio.faults.arm(Undelivered(error_code=code, times=1))
    dispatcher = await make_dispatcher(public=callbacks)
    taught = await desk.text()
    await dispatcher.dispatch_once()

    async def failed() -> bool:
        return (await desk.message(taught))["status"] == "undelivered"

    await until(failed)
    midnight = day_count(desk.registration).resets_at
    assert await held_until(desk) == midnight
    waiting, theirs = await desk.text(), await neighbour.text()
    await dispatcher.dispatch_once()
    assert (await desk.message(waiting))["status"] == "queued"
    assert (await neighbour.message(theirs))["status"] in ("sent", "delivered")
    row = await desk.schedule()
    assert (row["hold_reason"], row["held_until"]) == ("the brand's day at T-Mobile is used up", midnight)
    assert await release_holds(database) == 0
    await desk.owner.execute("UPDATE registration_holds SET held_until = app.now() WHERE tenant_id = $1", desk.tenant)
    await desk.owner.execute("UPDATE control.schedule SET held_until = app.now() WHERE tenant_id = $1", desk.tenant)
    assert await release_holds(database) == 1
    await dispatcher.dispatch_once()
    assert (await desk.message(waiting))["status"] in ("sent", "delivered")


async def test_a_text_accepted_meanwhile_is_told_to_leave_after_midnight(desk: Desk, neighbour: Desk, database: Database) -> None:
    await receive(database, desk, await desk.text(), form("failed", ErrorCode="30023"))
    book = TenantBook(database)
    mine, theirs = await book.by_slug(desk.slug), await book.by_slug(neighbour.slug)
    assert mine is not None
    assert theirs is not None
    midnight = day_count(desk.registration).resets_at
    waits, leaves = accept_text(mine, "+12025550101", "Hello"), accept_text(theirs, "+12025550101", "Hello")
    assert (waits.held, leaves.held) == (True, False)
    assert waits.expected_at >= midnight
    assert leaves.expected_at < midnight or leaves.wait < 1


async def test_a_callback_that_comes_after_the_midnight_holds_nothing(desk: Desk, database: Database) -> None:
    message = await desk.text()
    await desk.owner.execute("UPDATE messages SET status = 'sent', sent_at = app.now() - interval '26 hours' WHERE id = $1", message)
    assert await receive(database, desk, message, form("failed", ErrorCode="30023")) == ["moved"]
    assert await held_until(desk) is None


async def test_other_errors_hold_nothing(desk: Desk, database: Database) -> None:
    await receive(database, desk, await desk.text(), form("failed", ErrorCode="30003"))
    assert await held_until(desk) is None


async def test_what_shares_the_brand_is_held_within_the_tenant_only(desk: Desk, neighbour: Desk, database: Database) -> None:
    second, third = uuid4(), uuid4()
    for registration, brand in [(second, "BN1"), (third, "BN2")]:
        await desk.owner.execute(
            "INSERT INTO registrations (tenant_id, id, tier, tier_source, segments_per_minute, brand_sid)"
            " VALUES ($1, $2, 'sole_proprietor', 'tenant', 60, $3)",
            desk.tenant, registration, brand,
        )  # fmt: skip
    await desk.owner.execute("UPDATE registrations SET brand_sid = 'BN1' WHERE id = ANY ($1)", [desk.registration, neighbour.registration])
    await receive(database, desk, await desk.text(), form("failed", ErrorCode="30027"))
    held = await desk.owner.fetch(
        "SELECT registration_id FROM registration_holds WHERE tenant_id = ANY ($1)", [desk.tenant, neighbour.tenant]
    )
    assert {row[0] for row in held} == {desk.registration, second}


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moment=st.datetimes(min_value=datetime(2026, 1, 1), max_value=datetime(2036, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
async def test_the_database_and_the_pacer_agree_when_a_day_ends(moment: datetime, owner: Owner) -> None:
    end: datetime = await owner.fetchval("SELECT app.carriers_day_end_v1($1)", moment)
    assert end == DayCap.on("d", 1, PACIFIC, moment).resets_at
    assert timedelta(0) < end - moment <= timedelta(hours=25)


@pytest.mark.parametrize(("opens", "hours"), [("2026-03-08T08:00:00+00:00", 23), ("2026-11-01T07:00:00+00:00", 25)])
async def test_a_day_has_23_or_25_hours_where_the_clocks_change(opens: str, hours: int, owner: Owner) -> None:
    start = datetime.fromisoformat(opens)
    assert await owner.fetchval("SELECT app.carriers_day_end_v1($1)", start) - start == timedelta(hours=hours)

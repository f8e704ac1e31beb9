"""Rates and concurrency that halve when Twilio says so and rise again: once for each overload, and of nobody else."""

import asyncpg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from runtime.database import Database
from sandbox.twilio import TwilioSandbox
from sandbox.twilio.faults import Match, RepeatCallback, Undelivered
from tenants.snapshot import TenantBook
from tests.dispatch.desk import Desk, MakeDesk, MakeDispatcher, until
from tests.dispatch.school import GRANTED, HOUR, School
from tests.dispatch.test_receipts import form, receive

Owner = asyncpg.Connection


async def rate_after(owner: Owner, granted: int, per_minute: int, seconds: float) -> int:
    found: int = await owner.fetchval("SELECT app.rate_after_v1($1, $2, make_interval(secs => $3))", granted, per_minute, seconds)
    return found


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    granted=st.integers(1, 2**31 - 1),
    share=st.floats(0, 2),
    first=st.floats(-1e6, 1e10),
    later=st.floats(0, 1e10),
)
@example(granted=1, share=1, first=0, later=0)
@example(granted=2**31 - 1, share=1, first=1e10, later=0)
async def test_a_lowered_rate_never_falls_with_time_never_leaves_its_bounds_and_comes_back(
    granted: int, share: float, first: float, later: float, owner: Owner
) -> None:
    lowered = min(2**31 - 1, max(1, int(granted * share)))
    now, then = await rate_after(owner, granted, lowered, first), await rate_after(owner, granted, lowered, first + later)
    assert 1 <= min(lowered, granted) <= now <= then <= granted
    assert await rate_after(owner, granted, lowered, 119) == min(lowered, granted)  # nothing in the minute after it, nor before one is full
    assert await rate_after(owner, granted, lowered, 21 * 60) == granted


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lowered=st.integers(1, 49), first=st.floats(-1e6, 1e8), later=st.floats(0, 1e8))
async def test_lowered_concurrency_rises_one_by_one_until_it_is_forgotten(lowered: int, first: float, later: float, owner: Owner) -> None:
    async def after(seconds: float) -> int | None:
        found: int | None = await owner.fetchval("SELECT app.at_once_after_v1($1, make_interval(secs => $2))", lowered, seconds)
        return found

    now, then = await after(first), await after(first + later)
    assert (now or 50) <= (then or 50) <= 50
    assert lowered <= (now or 50)
    assert (await after(4.9), await after(5)) == (lowered, lowered + 1 if lowered < 49 else None)
    assert await after(250) is None


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    granted=st.sampled_from([1, 15, 60, 225, 4_500, 13_500]),
    signals=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 3000)), max_size=8),
)
@pytest.mark.usefixtures("still")
async def test_any_sequence_of_signals_lowers_as_the_model_does(
    granted: int, signals: list[tuple[int, int]], database: Database, make_desk: MakeDesk
) -> None:
    """`signals`: how many seconds after the one before, and how long its text had been gone by then."""
    school = School(database, await make_desk(granted))
    base, since = granted, 10.0 * HOUR

    def model() -> int:
        return min(granted, base + -(-granted // 20) * max(0, int(since // 60) - 1))

    for gap, ago in signals:
        await school.pass_time(gap)
        since += gap
        taught, _ = await school.teach(30022, ago=ago)
        assert taught == ("slower" if since - ago > 3 else None)
        if taught:
            base, since = max(1, model() // 2), 0.0
        assert 1 <= await school.rate(granted) == model() <= granted


async def test_a_signal_halves_what_is_in_use_and_a_tier_that_changes_applies_at_once(school: School, next_door: School) -> None:
    assert await school.rate() == GRANTED
    assert await school.teach(30022) == ("slower", None)
    assert await school.rate() == 6_750
    await school.pass_time(3 * 60)
    assert await school.rate() == 6_750 + 2 * 675
    assert await school.teach(63018) == ("slower", None)
    assert await school.rate() == 4_050
    assert (await school.rate(60), await school.rate(100_000)) == (60, 4_050)  # the grant is asked for, not remembered
    await school.pass_time(HOUR)
    assert await school.rate() == GRANTED
    assert await school.teach(63017) == ("slower", None)
    assert await school.rate() == 6_750  # it was back: this signal begins anew
    assert (await next_door.rate(), await next_door.learned()) == (GRANTED, 0)


async def test_the_floor_is_one_a_minute_and_nothing_is_taught_of_a_rate_of_none(database: Database, make_desk: MakeDesk) -> None:
    slow, none = School(database, await make_desk(3)), School(database, await make_desk(0))
    for _ in range(4):
        assert await slow.teach(30022) == ("slower", None)
        await slow.pass_time(10)
    assert await slow.rate(3) == 1
    assert await none.teach(30022) == (None, None)
    assert await none.rate(0) == 0


async def test_callbacks_of_one_overload_count_once(desk: Desk, neighbour: Desk, database: Database, owner: Owner, school: School) -> None:
    texts = [await desk.text() for _ in range(20)]
    await owner.execute("UPDATE messages SET status = 'sent', sending_at = app.now() WHERE tenant_id = $1", desk.tenant)
    for message in texts:
        sid = f"SM{message.hex}"
        reports = [form(status, sid, ErrorCode="30022") for status in ("sending", "sent", "undelivered", "undelivered", "failed")]
        await receive(database, desk, message, *reports)
    assert await school.rate() == 6_750
    await school.pass_time(3_000)  # a callback of a text that left before comes late, when the rate has long been back
    late = await desk.text()
    await owner.execute("UPDATE messages SET sending_at = app.now() - interval '1 hour' WHERE id = $1", late)
    assert await receive(database, desk, late, form("undelivered", "SM0", ErrorCode="30022")) == ["moved"]
    assert await school.rate() == GRANTED
    assert await School(database, neighbour).learned() == 0


async def test_a_callback_of_the_sandbox_slows_its_registration_alone(
    desk: Desk, neighbour: Desk, database: Database, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox, callbacks: str
) -> None:
    twilio.faults.arm(Undelivered(error_code=30022, match=Match(account=desk.account)))
    twilio.faults.arm(RepeatCallback(copies=3))
    dispatcher = await make_dispatcher(public=callbacks)
    messages, theirs = [await desk.text() for _ in range(3)], await neighbour.text()
    await dispatcher.dispatch_once()

    async def ended() -> bool:
        return await desk.statuses() == {"undelivered": len(messages)} and await neighbour.statuses() == {"delivered": 1}

    await until(ended)
    assert (await School(database, desk).rate(), await School(database, neighbour).learned()) == (6_750, 0)
    assert (await neighbour.message(theirs))["error_code"] is None


@pytest.mark.usefixtures("still")
async def test_too_many_requests_at_once_halve_the_concurrency_of_the_account(school: School, next_door: School) -> None:
    assert await school.at_once() is None
    assert await school.teach(20429) == ("fewer", None)
    assert await school.teach(20429) == (None, None)  # it left before the first was known to every worker
    assert await school.at_once() == 25
    await school.pass_time(12)
    assert await school.at_once() == 27
    assert await school.teach(20429, ago=12) == (None, None)
    for expected in (13, 6, 3, 1, 1):
        assert await school.teach(20429) == ("fewer", None)
        assert await school.at_once() == expected
        await school.pass_time(4)
    await school.pass_time(250)
    assert await school.at_once() is None
    assert await school.rate() == GRANTED  # the rate has nothing to do with it
    assert (await next_door.at_once(), await next_door.learned()) == (None, 0)


async def test_the_snapshot_knows_lowered_rates_and_holds(school: School, next_door: School) -> None:
    await school.teach(30022)
    await school.teach(60728)
    book = TenantBook(school.database)
    mine, theirs = await book.by_slug(school.desk.slug), await book.by_slug(next_door.desk.slug)
    assert mine is not None
    assert theirs is not None
    registration = school.desk.registration
    assert mine.learned_rates == {registration: 6_750}
    assert (mine.holds[registration].code, mine.holds[registration].until) == (60728, mine.day_holds[registration])
    assert (theirs.learned_rates, theirs.holds, theirs.day_holds) == ({}, {}, {})
    await school.pass_time(HOUR)
    later = await TenantBook(school.database).by_slug(school.desk.slug)
    assert later is not None
    assert (later.learned_rates, later.holds) == ({}, {})

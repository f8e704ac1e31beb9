import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limits import RateLimitItemPerHour, RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.errors import ConfigurationError
from redis.asyncio import Redis

from messaging.pacer import DayCap, Grant, Pacer, PacerUnavailable, Slot
from tests.messaging.conftest import Valkey

MINUTE = 60_000_000
FAR = 10_000_000.0  # seconds: a horizon that refuses nothing
NUMBERS = count()


@pytest.fixture(scope="session")
async def pacer(valkey: Valkey) -> AsyncIterator[Pacer]:
    pacer = Pacer.at(valkey.url, quarantine=0)
    yield pacer
    await pacer.close()


@pytest.fixture
def registration() -> str:
    return f"registration-{next(NUMBERS)}"


def at(slot: Slot) -> int:
    """The slot on the server's clock, in microseconds."""
    _, whole, part, *_ = slot.reservation.split(":")
    return int(whole) + (int(part) > 0)


def exceeds(granted: Iterable[tuple[int, int]], per_minute: int) -> int:
    """How far the fullest window of (slot, segments) lies over rate * w + one message, in segment-minutes; at most 0 is right.

    The last message of a window is the "one message"; the segments before it must be paid for by the window's length.
    """
    worst, lowest, before = -(10**18), 10**18, 0
    for slot, segments in sorted(granted):
        balance = before * MINUTE - per_minute * slot
        lowest = min(lowest, balance)
        worst = max(worst, balance - lowest - per_minute)  # a window of whole microseconds holds both ends: one more
        before += segments
    return worst


def test_the_measure_itself_notices_a_burst() -> None:
    assert exceeds([(0, 1), (1_000_000, 1), (2_000_000, 1)], 60) <= 0
    assert exceeds([(0, 1), (999_998, 1)], 60) > 0
    assert exceeds([(0, 3), (2_000_000, 1)], 60) > 0


@pytest.mark.parametrize("per_minute", [6, 15, 60, 180, 225, 720, 6000, 7200, 13500])
async def test_every_rate_is_exact_to_the_microsecond(pacer: Pacer, registration: str, per_minute: int) -> None:
    grants = [await pacer.reserve("t1", registration, per_minute, [1] * 300, horizon=FAR) for _ in range(4)]
    slots = [at(slot) for grant in grants for slot in grant.slots]
    assert slots == [slots[0] - (-index * MINUTE // per_minute) for index in range(1200)]
    for grant in grants:
        waits = [round((slot.wait - grant.slots[0].wait) * 1_000_000) for slot in grant.slots]
        assert waits == [at(slot) - at(grant.slots[0]) for slot in grant.slots]


async def test_a_rate_that_divides_badly_loses_nothing_in_two_hours(pacer: Pacer, registration: str) -> None:
    slots = [slot for _ in range(10) for slot in (await pacer.reserve("t1", registration, 225, [9] * 300, horizon=FAR)).slots]
    last = (await pacer.reserve("t1", registration, 225, [1], horizon=FAR)).slots[0]
    assert at(last) - at(slots[0]) == 27_000 * MINUTE // 225 == 7_200_000_000


async def test_an_idle_registration_may_send_one_message_at_once_and_no_more(pacer: Pacer, registration: str) -> None:
    await pacer.reserve("t1", registration, 6000, [1], horizon=0)
    await asyncio.sleep(0.1)  # ten slots' worth of idleness is not saved up
    first, second = (await pacer.reserve("t1", registration, 6000, [1, 1], horizon=FAR)).slots
    assert first.wait == 0
    assert at(second) - at(first) == 10_000


async def test_a_long_message_is_paid_off_before_the_next(pacer: Pacer, registration: str) -> None:
    long, following = (await pacer.reserve("t1", registration, 60, [10, 1], horizon=FAR)).slots
    assert at(following) - at(long) == 10_000_000


async def test_beyond_the_horizon_nothing_is_reserved(pacer: Pacer, registration: str) -> None:
    grant = await pacer.reserve("t1", registration, 60, [1, 1, 1, 1], horizon=1.5)
    assert [round(slot.wait) for slot in grant.slots] == [0, 1]
    assert grant.refused is None
    assert grant.retry_in == pytest.approx(0.5, abs=0.001)
    for _ in range(3):
        refused = await pacer.reserve("t1", registration, 60, [5], horizon=0)
        assert not refused.slots
    assert (await pacer.peek("t1", registration, 60)).next_in == pytest.approx(2, abs=0.2)


async def test_asking_again_when_told_to_gets_the_slot_on_time(pacer: Pacer, registration: str) -> None:
    first = (await pacer.reserve("t1", registration, 600, [1], horizon=0.02)).slots[0]
    refused = await pacer.reserve("t1", registration, 600, [1], horizon=0.02)
    assert refused.retry_in is not None
    await asyncio.sleep(refused.retry_in)
    second = (await pacer.reserve("t1", registration, 600, [1], horizon=0.02)).slots[0]
    assert at(second) - at(first) == 100_000


async def test_many_clients_share_one_rate_without_gap_or_overlap(valkey: Valkey, registration: str) -> None:
    pacers = [Pacer.at(valkey.url, quarantine=0) for _ in range(4)]

    async def reserve(pacer: Pacer, segments: int) -> list[tuple[int, int]]:
        grants = [await pacer.reserve("t1", registration, 225, [segments, 1], horizon=FAR) for _ in range(10)]
        return [(at(slot), units) for grant in grants for slot, units in zip(grant.slots, (segments, 1), strict=True)]

    results = await asyncio.gather(*(reserve(pacer, segments) for pacer in pacers for segments in range(1, 8)))
    granted = sorted(pair for result in results for pair in result)
    assert len(granted) == 4 * 7 * 20
    assert exceeds(granted, 225) <= 0
    paid = sum(units for _, units in granted[:-1])
    assert granted[-1][0] - granted[0][0] == -(-paid * MINUTE // 225)
    await asyncio.gather(*(pacer.close() for pacer in pacers))


@given(
    st.sampled_from([6, 225, 720, 6000, 13500, 119_999]),
    st.lists(st.tuples(st.integers(0, 4), st.lists(st.integers(1, 12), min_size=1, max_size=4)), min_size=1, max_size=10),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_window_holds_more_than_its_share(pacer: Pacer, per_minute: int, asked: list[tuple[int, list[int]]]) -> None:
    registration = f"registration-{next(NUMBERS)}"
    granted: list[tuple[int, int]] = []
    for pause, segments in asked:
        await asyncio.sleep(pause / 1000)
        grant = await pacer.reserve("t1", registration, per_minute, segments, horizon=FAR)
        granted += [(at(slot), units) for slot, units in zip(grant.slots, segments, strict=True)]
    assert exceeds(granted, per_minute) <= 0


async def test_a_new_tier_applies_at_once_to_what_is_owed(pacer: Pacer, registration: str) -> None:
    await pacer.reserve("t1", registration, 6, [24], horizon=0)
    assert (await pacer.peek("t1", registration, 6)).next_in == pytest.approx(240, abs=0.5)
    assert (await pacer.peek("t1", registration, 6000)).next_in == pytest.approx(0.24, abs=0.1)
    slower = (await pacer.reserve("t1", registration, 60, [1, 1], horizon=FAR)).slots
    assert slower[0].wait == pytest.approx(24, abs=0.5)
    assert at(slower[1]) - at(slower[0]) == 1_000_000


async def test_registrations_and_tenants_do_not_wait_for_each_other(pacer: Pacer) -> None:
    for tenant, registration in (("t1", "a"), ("t1", "b"), ("t2", "a")):
        await pacer.clear(RateLimitItemPerMinute(6), tenant, registration)
        assert (await pacer.reserve(tenant, registration, 6, [3], horizon=0)).slots[0].wait == 0


async def test_the_newest_slots_given_back_are_granted_again(pacer: Pacer, registration: str) -> None:
    first, second, third = (await pacer.reserve("t1", registration, 225, [1, 9, 2], horizon=FAR)).slots
    assert await pacer.refund("t1", registration, third.reservation)
    assert await pacer.refund("t1", registration, second.reservation)
    again = (await pacer.reserve("t1", registration, 225, [1, 1], horizon=FAR)).slots
    assert at(again[0]) == at(second)
    assert at(again[1]) - at(first) == -(-2 * MINUTE // 225)


async def test_a_refund_counts_once(pacer: Pacer, registration: str) -> None:
    slot = (await pacer.reserve("t1", registration, 60, [10], horizon=0)).slots[0]
    assert await pacer.refund("t1", registration, slot.reservation)
    assert not await pacer.refund("t1", registration, slot.reservation)
    first, second = (await pacer.reserve("t1", registration, 60, [1, 1], horizon=FAR)).slots
    assert first.wait == 0  # what never left is not paid off
    assert not await pacer.refund("t1", registration, slot.reservation)
    assert at(second) - at(first) == 1_000_000


async def test_an_older_slot_that_lies_ahead_is_used_by_the_next_that_fits(pacer: Pacer, registration: str) -> None:
    slots = (await pacer.reserve("t1", registration, 60, [1, 3, 1], horizon=FAR)).slots
    assert await pacer.refund("t1", registration, slots[1].reservation)
    too_long, fits, rest, behind = (await pacer.reserve("t1", registration, 60, [4, 2, 1, 1], horizon=FAR)).slots
    assert at(fits) == at(slots[1])
    assert at(rest) == at(slots[1]) + 2_000_000
    assert at(too_long) == at(slots[2]) + 1_000_000
    assert at(behind) == at(too_long) + 4_000_000


async def test_a_slot_that_has_passed_is_lost(pacer: Pacer, registration: str) -> None:
    slots = (await pacer.reserve("t1", registration, 6000, [1, 1, 1], horizon=FAR)).slots
    await asyncio.sleep(0.05)
    assert await pacer.refund("t1", registration, slots[0].reservation)
    first, second = (await pacer.reserve("t1", registration, 6000, [1, 1], horizon=FAR)).slots
    assert at(first) > at(slots[2])
    assert at(second) - at(first) == 10_000


async def test_a_slot_of_a_forgotten_state_is_not_given_to_others(pacer: Pacer, registration: str) -> None:
    before = (await pacer.reserve("t1", registration, 60, [1, 1, 1], horizon=FAR)).slots
    await pacer.clear(RateLimitItemPerMinute(60), "t1", registration)
    after = (await pacer.reserve("t1", registration, 60, [1, 1, 1], horizon=FAR)).slots
    await pacer.refund("t1", registration, before[1].reservation)
    assert at((await pacer.reserve("t1", registration, 60, [1], horizon=FAR)).slots[0]) == at(after[2]) + 1_000_000


def this_day(segments: int, *, name: str = "brand", ends_in: timedelta = timedelta(hours=5)) -> DayCap:
    now = datetime.now(UTC)
    return DayCap(name, segments, now.date(), now - timedelta(hours=19), now + ends_in)


async def test_a_day_cap_stops_a_message_without_using_the_rate(pacer: Pacer, registration: str) -> None:
    tenant, cap = str(uuid4()), this_day(5)
    grant = await pacer.reserve(tenant, registration, 60, [2, 2, 2, 1], horizon=FAR, day_caps=[cap])
    assert len(grant.slots) == 2
    assert grant.refused == "day_cap:brand"
    assert grant.retry_in == pytest.approx(5 * 3600, abs=2)
    reading = await pacer.peek(tenant, registration, 60, [cap])
    assert reading.days == {"brand": 4}
    assert reading.next_in == pytest.approx(4, abs=0.2)


async def test_registrations_share_the_day_of_their_brand_and_every_cap_must_allow(pacer: Pacer) -> None:
    tenant, brand, campaign = str(uuid4()), this_day(5), this_day(100, name="campaign")
    assert len((await pacer.reserve(tenant, "a", 60, [4], horizon=FAR, day_caps=[campaign, brand])).slots) == 1
    refused = await pacer.reserve(tenant, "b", 60, [2], horizon=FAR, day_caps=[campaign, brand])
    assert (refused.slots, refused.refused) == ((), "day_cap:brand")
    assert (await pacer.peek(tenant, "b", 60, [campaign, brand])).days == {"campaign": 4, "brand": 4}
    assert (await pacer.reserve(tenant, "b", 60, [1], horizon=0, day_caps=[campaign, brand])).slots[0].wait == 0


async def test_a_refund_gives_the_day_its_segments_back_once(pacer: Pacer, registration: str) -> None:
    tenant, cap = str(uuid4()), this_day(10)
    slots = (await pacer.reserve(tenant, registration, 60, [3, 4], horizon=FAR, day_caps=[cap])).slots
    for _ in range(2):
        await pacer.refund(tenant, registration, slots[0].reservation)
    assert (await pacer.peek(tenant, registration, 60, [cap])).days == {"brand": 4}


async def test_a_slot_after_midnight_belongs_to_the_next_day(pacer: Pacer, registration: str) -> None:
    tenant, now = str(uuid4()), datetime.now(UTC)
    midnight = now.replace(microsecond=0) + timedelta(seconds=2)
    today = DayCap("brand", 100, now.date(), now - timedelta(hours=1), midnight)
    tomorrow = DayCap("brand", 100, now.date() + timedelta(days=1), midnight, midnight + timedelta(days=1))
    early = await pacer.reserve(tenant, registration, 60, [1] * 5, horizon=FAR, day_caps=[today])
    assert all(at(slot) < midnight.timestamp() * 1_000_000 for slot in early.slots)
    assert early.refused == "day_changed"
    too_soon = await pacer.reserve(tenant, registration, 60, [1], horizon=FAR, day_caps=[tomorrow])
    assert (too_soon.slots, too_soon.refused) == ((), "day_changed")  # a worker whose clock runs ahead
    assert too_soon.retry_in is not None
    await asyncio.sleep(too_soon.retry_in + 0.001)
    late = await pacer.reserve(tenant, registration, 60, [1], horizon=FAR, day_caps=[tomorrow])
    assert at(late.slots[0]) >= midnight.timestamp() * 1_000_000
    await pacer.refund(tenant, registration, early.slots[0].reservation)
    assert (await pacer.peek(tenant, registration, 60, [tomorrow])).days == {"brand": 1}
    assert (await pacer.reserve(tenant, registration, 60, [1], horizon=FAR, day_caps=[today])).refused == "day_changed"


@pytest.mark.parametrize(
    ("moment", "hours"), [("2026-03-08T12:00", 23), ("2026-11-01T12:00", 25), ("2026-07-01T00:00", 24), ("2026-06-30T23:59", 24)]
)
def test_a_local_day_ends_at_local_midnight(moment: str, hours: int) -> None:
    pacific = ZoneInfo("America/Los_Angeles")
    local = datetime.fromisoformat(moment).replace(tzinfo=pacific)
    cap = DayCap.on("brand", 1000, pacific, local.astimezone(UTC))
    assert cap.day == local.date()
    assert (cap.opens_at.hour, cap.resets_at.hour) == (0, 0)
    assert cap.resets_at.timestamp() - cap.opens_at.timestamp() == hours * 3600


async def test_what_the_last_second_used(pacer: Pacer, registration: str) -> None:
    grant = await pacer.reserve("t1", registration, 13500, [2, 3, 1], horizon=FAR)
    await asyncio.sleep(0.05)
    assert (await pacer.peek("t1", registration, 13500)).used_last_second == 6
    await pacer.refund("t1", registration, grant.slots[2].reservation)
    assert (await pacer.peek("t1", registration, 13500)).used_last_second == 5
    await asyncio.sleep(1.01)
    assert (await pacer.peek("t1", registration, 13500)).used_last_second == 0


async def test_it_is_a_strategy_of_limits(pacer: Pacer, registration: str) -> None:
    item = RateLimitItemPerMinute(60)
    assert await pacer.test(item, "t1", registration)
    assert await pacer.hit(item, "t1", registration, cost=3)
    assert not await pacer.test(item, "t1", registration)
    assert not await pacer.hit(item, "t1", registration)
    stats = await pacer.get_window_stats(item, "t1", registration)
    assert stats.remaining == 0
    assert stats.reset_time == pytest.approx(time.time() + 3, abs=0.5)
    await pacer.clear(item, "t1", registration)
    assert await pacer.hit(RateLimitItemPerHour(3600), "t1", registration)
    with pytest.raises(ValueError, match="whole number"):
        await pacer.hit(RateLimitItemPerHour(100), "t1", registration)


@pytest.mark.parametrize(
    ("per_minute", "segments", "horizon"), [(0, [1], 0.0), (60, [1, 0], 0.0), (60, [1] * 1001, 0.0), (60, [1], -1.0), (60, [1], 2.5)]
)
async def test_what_makes_no_sense_is_refused(valkey: Valkey, per_minute: int, segments: list[int], horizon: float) -> None:
    pacer = Pacer.at(valkey.url)
    with pytest.raises(ValueError, match=r"\."):
        await pacer.reserve("t1", "r", per_minute, segments, horizon=horizon)
    await pacer.close()


async def test_another_client_library_is_refused(valkey: Valkey) -> None:
    storage = RedisStorage("async+valkey+unix" + valkey.url.removeprefix("unix"), implementation="valkey")
    with pytest.raises(ConfigurationError):
        Pacer(storage)


async def test_asking_for_nothing_needs_no_server(tmp_path: object) -> None:
    assert await Pacer.at(f"unix://{tmp_path}/nobody").reserve("t1", "r", 60, [], horizon=0) == Grant((), None, None)


async def test_keys_live_on_one_cluster_slot_outlive_the_debt_and_then_vanish(pacer: Pacer, valkey: Valkey) -> None:
    tenant = str(uuid4())
    slots = (await pacer.reserve(tenant, "r", 6, [10, 10, 24], horizon=FAR, day_caps=[this_day(1000)])).slots
    await pacer.refund(tenant, "r", slots[1].reservation)
    async with Redis.from_url(valkey.url) as redis:
        left = {key.decode(): await redis.pttl(key) async for key in redis.scan_iter(f"*{tenant}*")}
    assert len(left) == 5
    assert all(f"{{{tenant}}}" in key for key in left)
    assert all(ttl > 0 for ttl in left.values())
    assert next(ttl for key, ttl in left.items() if key.endswith(":state")) > 440_000
    assert next(ttl for key, ttl in left.items() if key.endswith(":free")) > 99_000
    assert next(ttl for key, ttl in left.items() if ":day:" in key) > 5 * 3_600_000


async def test_without_redis_nothing_is_granted(another_valkey: Callable[..., Valkey]) -> None:
    server = another_valkey()
    pacer = Pacer.at(server.url, quarantine=0, patience=0.3)
    assert (await pacer.reserve("t1", "r", 60, [1], horizon=0)).slots
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(PacerUnavailable):
        await pacer.reserve("t1", "r", 60, [1], horizon=0)
    assert time.monotonic() - began < 1
    server.process.send_signal(signal.SIGCONT)
    server.stop()
    for ask in (
        pacer.peek("t1", "r", 60),
        pacer.refund("t1", "r", "1.1:1:0:60:1"),
        pacer.clear(RateLimitItemPerMinute(60), "t1", "r"),
    ):
        with pytest.raises(PacerUnavailable):
            await ask
    await pacer.close()


async def test_after_a_restart_nothing_is_granted_for_one_horizon(another_valkey: Callable[..., Valkey]) -> None:
    server = another_valkey("--appendonly", "yes", "--appendfsync", "always")
    free, careful = Pacer.at(server.url, quarantine=0), Pacer.at(server.url, quarantine=1)
    fresh = await careful.reserve("t1", "new", 6000, [1], horizon=1)
    assert (fresh.slots, fresh.refused) == ((), "restarted")  # a server this young may have lost anything
    assert fresh.retry_in is not None
    await asyncio.sleep(fresh.retry_in + 0.01)
    before = (await careful.reserve("t1", "known", 6000, [1] * 90, horizon=1)).slots
    assert len(before) == 90
    server.stop()
    server.start()
    refused = await careful.reserve("t1", "known", 6000, [1], horizon=1)
    assert (refused.slots, refused.refused) == ((), "restarted")
    assert (await careful.peek("t1", "known", 6000)).next_in == pytest.approx(1, abs=0.1)
    assert refused.retry_in is not None
    await asyncio.sleep(refused.retry_in + 0.01)
    after = (await careful.reserve("t1", "known", 6000, [1], horizon=1)).slots[0]
    assert at(after) > at(before[-1])
    await asyncio.gather(free.close(), careful.close())


@pytest.mark.parametrize("how", ["FLUSHALL", "FLUSHDB"])
async def test_after_the_server_was_emptied_nothing_is_granted_for_one_horizon(how: str, another_valkey: Callable[..., Valkey]) -> None:
    server = another_valkey()
    pacer, redis = Pacer.at(server.url, quarantine=1), Redis.from_url(server.url)
    await asyncio.sleep(2.2)  # the server tells its age in whole seconds
    before = (await pacer.reserve("t1", "known", 6000, [1] * 90, horizon=1)).slots
    assert len(before) == 90
    await redis.execute_command(how)
    for known in ("known", "never seen"):  # which of them it knew is forgotten too
        refused = await pacer.reserve("t1", known, 6000, [1], horizon=1)
        assert (refused.slots, refused.refused) == ((), "restarted")
    assert refused.retry_in is not None
    await asyncio.sleep(refused.retry_in + 0.01)
    after = (await pacer.reserve("t1", "known", 6000, [1], horizon=1)).slots[0]
    assert at(after) > at(before[-1])
    assert (await pacer.reserve("t1", "never seen", 6000, [1], horizon=0)).slots[0].wait == 0
    kept = await redis.pttl("LIMITS:pacer:{t1}:never seen:state")
    assert kept > 29 * 86_400_000, "it does not wait again after its next idle hour"
    await asyncio.gather(pacer.close(), redis.aclose())


async def test_an_idle_registration_does_not_wait_for_a_horizon(another_valkey: Callable[..., Valkey]) -> None:
    pacer = Pacer.at(another_valkey().url, quarantine=0.1)
    await asyncio.sleep(2.2)  # the server tells its age in whole seconds
    assert (await pacer.reserve("t1", "never seen", 60, [1], horizon=0)).slots[0].wait == 0
    await pacer.close()

"""Budgets, pauses and deadlines: pure decisions, for every code and every class."""

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging import retrying
from messaging.day_counts import PACIFIC
from messaging.faults import ErrorClass, fault
from messaging.outcomes import Deferred
from messaging.pacer import DayCap
from messaging.sending import pause

NOW = datetime(2027, 1, 5, 15, tzinfo=UTC)
DAY = timedelta(days=1)
CODES = [*range(400, 600), *range(11_000, 36_000), *range(60_000, 64_000)]
KNOWN = [code for code in CODES if fault(code).error_class != "unknown"]
classes = st.sampled_from(sorted(retrying.LIFETIME_SECONDS))
fractions = st.floats(0, 1)


def drawn(fraction: float) -> retrying.Draw:
    return lambda low, high: low + fraction * (high - low)


def deferred(code: int | None, error_class: ErrorClass = "not_sent", retry_after: float | None = None) -> Deferred:
    return Deferred(code, error_class, fault(code).action if code else "retry_backoff", retry_after, "")


@given(code=st.sampled_from(KNOWN), kind=classes, retries=st.integers(0, 40), fraction=fractions, left=st.integers(-60, 200_000))
def test_a_text_is_sent_again_only_within_its_life_and_its_budget(code: int, kind: str, retries: int, fraction: float, left: int) -> None:
    expires = NOW + timedelta(seconds=left)
    due = retrying.again(code, kind, retries, NOW, expires, drawn(fraction))
    if due is not None:
        assert NOW <= due < expires
        assert retries < 3
        assert due.utcoffset() == timedelta(0)
    assert retrying.again(code, kind, retries, NOW, None, drawn(fraction)) is None  # nobody knows how long it is good for


@pytest.mark.parametrize(("kind", "codes"), [
    ("otp", {30001, 30022, 63017, 63018}),
    ("marketing", {30001, 30022, 63017, 63018, 30023, 30027}),
    ("transactional", {30001, 30022, 63017, 63018, 30023, 30027, 30003, 30008, 30017, 30021, 30024, 30035, 30410, 30450, 30610}),
])  # fmt: skip
def test_which_failures_pass_for_which_class(kind: str, codes: set[int]) -> None:
    again = {code for code in KNOWN if retrying.again(code, kind, 0, NOW, NOW + DAY, drawn(0)) is not None}
    assert again - {35125} == codes  # 35125 is an answer, never a callback


@pytest.mark.parametrize(("code", "tries"), [(30001, 3), (30022, 3), (30003, 1), (30008, 1), (30023, 2), (30035, 3)])
def test_how_often(code: int, tries: int) -> None:
    again = [retrying.again(code, "transactional", retries, NOW, NOW + DAY, drawn(1)) is not None for retries in range(5)]
    assert again == [retries < tries for retries in range(5)]


@given(retries=st.integers(0, 2), fraction=fractions)
def test_the_pause_grows_and_is_spread(retries: int, fraction: float) -> None:
    due = retrying.again(30022, "otp", retries, NOW, NOW + DAY, drawn(fraction))
    assert due is not None
    assert 5.0 <= (due - NOW).total_seconds() <= 30.0 * 4**retries + 1e-3
    assert retrying.again(30022, "otp", 1, NOW, NOW + DAY, drawn(1)) == NOW + timedelta(seconds=120)


@given(moment=st.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)), fraction=fractions)  # noqa: DTZ001
def test_a_used_up_day_is_over_at_the_carriers_midnight(moment: datetime, fraction: float) -> None:
    midnight = DayCap.on("", 1, PACIFIC, moment).resets_at
    due = retrying.again(30023, "marketing", 0, moment, moment + 2 * DAY, drawn(fraction))
    assert due is not None
    assert midnight <= due <= midnight + timedelta(minutes=5)


@given(
    error_class=st.sampled_from(get_args(ErrorClass)),
    attempt=st.integers(1, 200),
    seconds=st.floats(0, 90_000),
    left=st.integers(0, 90_000),
)
def test_a_budget_ends_a_text_and_so_does_its_deadline(error_class: ErrorClass, attempt: int, seconds: float, left: int) -> None:
    outcome = Deferred(None, error_class, "retry_backoff", None, "")
    ended = retrying.over(outcome, attempt, seconds, NOW, NOW + timedelta(seconds=left))
    most = retrying.TRIES.get(error_class, retrying.OTHER_TRIES)
    assert ended == ("expired" if timedelta(seconds=seconds) >= timedelta(seconds=left) else "exhausted" if attempt >= most else None)
    assert retrying.over(outcome, attempt, seconds, NOW, None) == ("exhausted" if attempt >= most else None)


@pytest.mark.parametrize("outcome", [
    deferred(20429), deferred(21611, "backpressure"), deferred(60728, "account_cap"), deferred(63038, "account_cap"),
    deferred(None, "rate_signal", 0.0), Deferred(20003, "config", "open_circuit", None, ""),
], ids=str)  # fmt: skip
def test_a_hold_uses_up_no_budget_and_ends_with_the_text(outcome: Deferred) -> None:
    assert retrying.over(outcome, 30_000, 60.0, NOW, NOW + DAY) is None
    assert retrying.over(outcome, 1, 60.0, NOW, NOW + timedelta(seconds=60)) == "expired"


@pytest.mark.parametrize("outcome", [deferred(20429), deferred(20003, "unknown")])
@given(fractions=st.lists(fractions, min_size=3, max_size=3))
def test_a_429_has_four_attempts_within_a_minute(outcome: Deferred, fractions: list[float]) -> None:
    passed = 0.0
    for attempt, fraction in enumerate(fractions, start=1):
        seconds = pause(outcome, attempt, drawn(fraction))
        assert retrying.over(outcome, attempt, seconds, NOW + timedelta(seconds=passed), NOW + timedelta(seconds=600)) is None
        passed += seconds
    assert passed <= 60.0


def test_a_code_lives_ten_minutes_and_the_rest_a_day() -> None:
    assert retrying.LIFETIME_SECONDS == {"otp": 600, "transactional": 172_800, "marketing": 172_800}
    assert [retrying.is_past(at, NOW) for at in (None, NOW, NOW + timedelta(seconds=1))] == [False, True, False]

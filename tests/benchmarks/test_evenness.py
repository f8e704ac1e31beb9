"""The measure of the pacer's benchmark, against counting by hand in every window."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.evenness import pace_of

TIMES = st.lists(st.integers(0, 400), min_size=3, max_size=12, unique=True).map(lambda quarters: [each / 4 for each in quarters])


@given(TIMES, st.integers(1, 600))
def test_the_worst_window_is_found(times: list[float], per_minute: int) -> None:
    windows = [
        sum(first <= each <= last for each in times) - 1 - per_minute / 60 * (last - first)
        for first in times
        for last in times
        if first < last
    ]
    assert pace_of(times, per_minute).most_over == pytest.approx(max(windows))


def test_a_clock_is_within_its_rate_uses_all_of_it_and_is_even() -> None:
    pace = pace_of([number * 0.25 for number in range(100)], 240)
    assert (pace.count, pace.most_over, pace.used, pace.unevenness) == (100, pytest.approx(0), pytest.approx(1), pytest.approx(0))


def test_a_burst_at_a_boundary_is_over() -> None:
    times = [0.99, 0.991, 0.992, 1.0, 1.001, 1.002]
    assert pace_of(times, 180).most_over == pytest.approx(5 - 3 * 0.012)


def test_two_messages_show_no_pace() -> None:
    with pytest.raises(ValueError, match="2 messages"):
        pace_of([0.0, 1.0], 60)

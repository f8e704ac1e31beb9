from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import clock
from runtime.clock import rfc3339
from runtime.ids import uuid7

START = datetime(2026, 3, 1, tzinfo=UTC)


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001  the strategy adds the zone
def test_a_uuid7_tells_its_version_its_variant_and_its_time(moment: datetime) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "now", lambda: moment)
        made = uuid7()
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert made.int >> 80 == int(moment.timestamp() * 1000)


def test_later_ones_sort_after_earlier_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """As PostgreSQL sorts them too, by their bytes."""
    made = []
    for milliseconds in range(200):
        monkeypatch.setattr(clock, "now", lambda at=START + timedelta(milliseconds=milliseconds): at)
        made.append(uuid7())
    assert made == sorted(made)
    assert [each.bytes for each in made] == sorted(each.bytes for each in made)


def test_those_of_one_millisecond_are_distinct_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """The audit trail is read in their order."""
    monkeypatch.setattr(clock, "now", lambda: START)
    made = [uuid7() for _ in range(20_000)]
    assert made == sorted(set(made))
    assert {each.int >> 80 for each in made} == {int(START.timestamp() * 1000)}
    steps = [later.int - earlier.int for earlier, later in pairwise(made)]
    assert len(set(steps)) > 19_000  # whoever knows one does not know the next


def test_a_clock_that_is_set_back_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    for moment in (START, START - timedelta(days=1)):
        monkeypatch.setattr(clock, "now", lambda at=moment: at)
        assert uuid7().int >> 80 == int(moment.timestamp() * 1000)


def test_an_instant_as_the_contract_writes_it() -> None:
    assert rfc3339(START.replace(microsecond=123_999)) == "2026-03-01T00:00:00.123Z"
    assert clock.now().tzinfo is UTC

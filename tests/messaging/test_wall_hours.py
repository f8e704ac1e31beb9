from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messaging.quiet_hours import allowed, next_allowed, own_windows
from messaging.wall_hours import MINUTE, first_allowed
from tenants.hours import DAYS, Hours, Span
from tenants.quiet_hours import QuietHours
from tests.webhooks.snapshots import snapshot

NEW_YORK = "America/New_York"
DAILY = "01:30", "02:15"

# opens, closes, zone, the instant, and the first allowed one after it
CHANGES = [
    (*DAILY, NEW_YORK, "2026-03-08T01:59-05:00", "2026-03-08T01:59-05:00"),
    (*DAILY, NEW_YORK, "2026-03-08T03:00-04:00", "2026-03-09T01:30-04:00"),  # the clock goes from 1:59 to 3:00
    ("02:15", "05:00", NEW_YORK, "2026-03-08T01:00-05:00", "2026-03-08T03:00-04:00"),  # it opens in the gap: at its end
    ("02:15", "02:45", NEW_YORK, "2026-03-08T01:00-05:00", "2026-03-09T02:15-04:00"),  # it is all in the gap
    ("01:30", "01:45", NEW_YORK, "2026-11-01T01:44-04:00", "2026-11-01T01:44-04:00"),
    ("01:30", "01:45", NEW_YORK, "2026-11-01T01:45-04:00", "2026-11-01T01:30-05:00"),  # the second time
    ("01:30", "01:45", NEW_YORK, "2026-11-01T01:45-05:00", "2026-11-02T01:30-05:00"),
    ("00:00", "01:30", NEW_YORK, "2026-11-01T01:30-04:00", "2026-11-01T01:00-05:00"),  # what was over is open again
    ("00:00", "01:30", NEW_YORK, "2026-11-01T01:30-05:00", "2026-11-02T00:00-05:00"),
    ("22:00", "02:30", NEW_YORK, "2026-03-08T01:59-05:00", "2026-03-08T01:59-05:00"),
    ("22:00", "02:30", NEW_YORK, "2026-03-08T03:00-04:00", "2026-03-08T22:00-04:00"),
    ("00:15", "00:45", "America/Havana", "2026-03-07T23:00-05:00", "2026-03-09T00:15-04:00"),  # there the gap begins at midnight
    ("00:30", "06:00", "America/Havana", "2026-03-07T23:00-05:00", "2026-03-08T01:00-04:00"),
    ("01:45", "02:00", "Australia/Lord_Howe", "2026-04-05T02:00+11:00", "2026-04-05T01:45+10:30"),  # half an hour, by a fold
]


@pytest.mark.parametrize(("opens", "closes", "zone", "at", "later"), CHANGES)
def test_gaps_and_folds(opens: str, closes: str, zone: str, at: str, later: str) -> None:
    hours = Hours(dict.fromkeys(DAYS, (Span(opens, closes),)))
    found = first_allowed([(partial(own_windows, hours), ZoneInfo(zone))], datetime.fromisoformat(at))
    assert found == datetime.fromisoformat(later)


def test_rules_that_never_agree_have_no_instant() -> None:
    mornings, evenings = (Hours({"monday": (Span(*span),)}) for span in (("08:00", "09:00"), ("18:00", "19:00")))
    utc = ZoneInfo("UTC")
    assert first_allowed([(partial(own_windows, each), utc) for each in (mornings, evenings)], datetime(2026, 6, 3, tzinfo=UTC)) is None


NUMBERS = st.sampled_from([
    "+12125550101", "+13235550101", "+18505550101", "+12705550101", "+19075550101", "+15125550101", "+14015550101", "+15045550101",
    "+12155550101", "+16025550101", "+17875550101", "+18335550101", "+442079460101", "+61255501010",
])  # fmt: skip
CHANGING = [datetime(2026, 3, 8, 7, tzinfo=UTC), datetime(2026, 11, 1, 6, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)]
INSTANTS = st.one_of(
    st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001  Hypothesis adds the zone
    st.tuples(st.sampled_from(CHANGING), st.timedeltas(timedelta(hours=-40), timedelta(hours=40))).map(lambda pair: pair[0] + pair[1]),
)


@st.composite
def own_hours(draw: st.DrawFn) -> QuietHours | None:
    """A tenant's own, or none; from Monday to Friday always around noon, so that every state's rule has a minute in common."""
    if draw(st.booleans()):
        return None
    opens, closes = draw(st.integers(0, 11)), draw(st.integers(16, 23))
    week = dict.fromkeys(DAYS[:5], (Span(f"{opens:02}:{draw(st.integers(0, 59)):02}", f"{closes:02}:30"),))
    night = {"saturday": (Span("23:00", "03:00"),)} if draw(st.booleans()) else {}
    return QuietHours(Hours({**week, **night}), ("transactional", "marketing"))


def minutes_between(first: datetime, last: datetime) -> Iterator[datetime]:
    while first < last:
        yield first
        first += MINUTE


@settings(max_examples=150)
@given(NUMBERS, INSTANTS, st.sampled_from(["transactional", "marketing"]), own_hours())
def test_the_next_allowed_instant_is_the_first_one(to: str, at: datetime, message_class: str, own: QuietHours | None) -> None:
    tenant = snapshot(quiet_hours=own)
    found = next_allowed(tenant, to, message_class, at)
    assert found >= at
    assert allowed(tenant, to, message_class, found)
    assert not any(allowed(tenant, to, message_class, minute) for minute in minutes_between(at, found))

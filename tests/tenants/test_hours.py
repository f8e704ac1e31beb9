"""Opening hours as decisions: over midnight, through the changes of the clocks, and what cannot be."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.refusals import Invalid
from tenants.hours import CLOSES_WITHIN, DAYS, Hours, Span, next_opening, open_at, open_until, spans
from tenants.opening_hours import check, minutes

ZONES = ["America/Los_Angeles", "America/New_York", "Australia/Sydney", "Asia/Kathmandu", "UTC"]
NEW_YORK = ZoneInfo("America/New_York")
LOS_ANGELES = ZoneInfo("America/Los_Angeles")


def hours(week: dict[str, Any] | None = None, days: dict[str, Any] | None = None) -> Hours:
    """`{"monday": ["09:00-17:00"]}` as opening hours."""

    def read(listed: dict[str, Any]) -> dict[str, tuple[Span, ...]]:
        return {name: tuple(Span(*each.split("-")) for each in given_spans) for name, given_spans in listed.items()}

    return Hours(read(week or {}), read(days or {}))


def at(text: str, zone: ZoneInfo = LOS_ANGELES, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold)


SHOP = hours({"thursday": ["09:00-12:00", "13:00-17:00"], "friday": ["22:00-02:00"], "sunday": ["01:00-03:30"]}, {"2026-12-24": []})


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-11-26T08:59", False),
        ("2026-11-26T09:00", True),
        ("2026-11-26T11:59", True),
        ("2026-11-26T12:00", False),
        ("2026-11-26T17:00", False),
        ("2026-11-27T21:59", False),
        ("2026-11-27T22:00", True),
        ("2026-11-28T01:59", True),
        ("2026-11-28T02:00", False),
        ("2026-11-25T12:00", False),
        ("2026-12-24T10:00", False),
        ("2026-12-31T10:00", True),
    ],
)
def test_it_is_open_within_its_spans_also_after_midnight_and_not_on_days_off(moment: str, is_open: bool) -> None:
    assert open_at(SHOP, LOS_ANGELES, at(moment)) is is_open


def test_the_next_opening_leaves_out_days_off_and_is_none_where_it_never_opens() -> None:
    assert next_opening(SHOP, LOS_ANGELES, at("2026-11-26T10:00")) == at("2026-11-26T13:00")
    assert next_opening(SHOP, LOS_ANGELES, at("2026-12-21T10:00")) == at("2026-12-25T22:00")
    assert next_opening(Hours(), LOS_ANGELES, at("2026-12-23T10:00")) is None
    only_one = hours({}, {"2027-07-04": ["10:00-11:00"]})
    assert next_opening(only_one, LOS_ANGELES, at("2026-12-23T10:00")) == at("2027-07-04T10:00")


def test_when_the_clocks_change_it_is_open_by_the_wall() -> None:
    """New York, November 1, 2026: 1:00 to 2:00 comes twice. March 14, 2027: 2:00 to 3:00 does not come."""
    ((opens, closes),) = spans(SHOP, NEW_YORK, date(2026, 11, 1))
    assert closes - opens == timedelta(hours=3, minutes=30)
    assert open_at(SHOP, NEW_YORK, at("2026-11-01T01:30", NEW_YORK))
    assert open_at(SHOP, NEW_YORK, at("2026-11-01T01:30", NEW_YORK, fold=1))
    ((opens, closes),) = spans(SHOP, NEW_YORK, date(2027, 3, 14))
    assert closes - opens == timedelta(hours=1, minutes=30)
    assert not open_at(SHOP, NEW_YORK, at("2027-03-14T03:30", NEW_YORK))


TIMES = st.integers(0, 24 * 60 - 1).map(lambda count: f"{count // 60:02}:{count % 60:02}")
SPANS = st.lists(st.builds(Span, TIMES, TIMES | st.just("24:00")), max_size=2).map(tuple)
HOURS = st.builds(
    Hours,
    st.dictionaries(st.sampled_from(DAYS), SPANS),
    st.dictionaries(st.dates(date(2026, 10, 1), date(2027, 4, 30)).map(date.isoformat), SPANS, max_size=5),
)
MOMENTS = st.datetimes(datetime(2026, 10, 1), datetime(2027, 4, 30)).map(lambda each: each.replace(tzinfo=UTC))  # noqa: DTZ001  made aware


@given(HOURS, st.sampled_from(ZONES).map(ZoneInfo), MOMENTS)
def test_it_is_open_exactly_within_a_span_of_today_or_yesterday(known: Hours, zone: ZoneInfo, moment: datetime) -> None:
    day = moment.astimezone(zone).date()
    around = [each for ahead in (-2, -1, 0, 1) for each in spans(known, zone, day + timedelta(days=ahead))]
    assert open_at(known, zone, moment) == any(opens <= moment < closes for opens, closes in around)


@given(HOURS, st.sampled_from(ZONES).map(ZoneInfo), MOMENTS)
def test_the_next_opening_is_ahead_and_nothing_opens_before_it(known: Hours, zone: ZoneInfo, moment: datetime) -> None:
    found = next_opening(known, zone, moment)
    if found is None:
        first = moment.astimezone(zone).date()
        assert [opens for ahead in range(1, 369) for opens, _ in spans(known, zone, first + timedelta(days=ahead))] == []
        return
    assert found.astimezone(UTC) > moment
    first, last = moment.astimezone(zone).date(), found.date()
    openings = [opens for ahead in range((last - first).days + 1) for opens, _ in spans(known, zone, first + timedelta(days=ahead))]
    assert min(opens for opens in openings if opens > moment) == found.astimezone(UTC)


@given(HOURS, st.sampled_from(ZONES).map(ZoneInfo), MOMENTS)
def test_it_stays_open_until_it_closes(known: Hours, zone: ZoneInfo, moment: datetime) -> None:
    if not open_at(known, zone, moment):
        return
    closes = open_until(known, zone, moment)
    last = moment + timedelta(days=CLOSES_WITHIN - 2) if closes is None else closes
    assert closes is None or not open_at(known, zone, closes)
    day = moment.astimezone(zone).date()
    edges = {each for ahead in range(-1, CLOSES_WITHIN) for span in spans(known, zone, day + timedelta(days=ahead)) for each in span}
    assert all(open_at(known, zone, each) for each in edges if moment <= each < last)


@given(HOURS, st.sampled_from(ZONES).map(ZoneInfo))
def test_hours_that_were_accepted_never_overlap(known: Hours, zone: ZoneInfo) -> None:
    try:
        check(known)
    except Invalid:
        return
    days = {date(2026, 12, 1) + timedelta(days=ahead) for ahead in range(15)} | {date.fromisoformat(each) for each in known.days}
    for day in days:
        placed = sorted((begin + 1440 * ahead, end + 1440 * ahead) for ahead in (0, 1) for begin, end in by_wall(known, day, ahead))
        assert all(earlier[1] <= later[0] for earlier, later in pairwise(placed)), (day, zone)


def by_wall(known: Hours, day: date, ahead: int) -> list[tuple[int, int]]:
    return [minutes(span) for span in known.of(day + timedelta(days=ahead))]


@given(HOURS)
def test_hours_survive_being_stored(known: Hours) -> None:
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(known)), Hours) == known


WRONG: dict[str, tuple[Hours, list[str]]] = {
    "no such day": (hours({"mon": []}), ["/week/mon"]),
    "no date": (hours({}, {"2026-02-30": [], "20261224": [], "a/b": []}), ["/days/2026-02-30", "/days/20261224", "/days/a~1b"]),
    "no time": (hours({"monday": ["9:00-25:00"]}), ["/week/monday/0/opens", "/week/monday/0/closes"]),
    "no opening at 24:00": (hours({"monday": ["24:00-01:00"]}), ["/week/monday/0/opens"]),
    "nothing between": (hours({"monday": ["09:00-09:00"]}), ["/week/monday/0/closes"]),
    "two at once": (hours({"monday": ["09:00-12:00", "11:59-13:00"]}), ["/week/monday/1"]),
    "two at once, listed backwards": (hours({"monday": ["11:59-13:00", "09:00-12:00"]}), ["/week/monday/0"]),
    "into the next day": (hours({"sunday": ["20:00-03:00"], "monday": ["02:00-04:00"]}), ["/week/monday/0"]),
    "out of a day of its own": (hours({"saturday": ["09:00-17:00"]}, {"2026-11-27": ["20:00-10:00"]}), ["/days/2026-11-27"]),
    "into a day of its own": (hours({"friday": ["20:00-02:00"]}, {"2026-11-28": ["01:00-03:00"]}), ["/days/2026-11-28/0"]),
    "more spans than a day has": (hours({"monday": [f"{hour:02}:00-{hour:02}:30" for hour in range(9)]}), ["/week/monday"]),
}


@pytest.mark.parametrize(("wanted", "pointers"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_is_told_where_it_stands(wanted: Hours, pointers: list[str]) -> None:
    with pytest.raises(Invalid) as refused:
        check(wanted)
    assert [pointer for pointer, _ in refused.value.errors] == pointers


def test_hours_may_touch_fill_a_day_and_stand_in_the_first_and_last_year() -> None:
    check(hours({"monday": ["00:00-24:00"], "tuesday": ["00:00-12:00", "12:00-24:00"], "sunday": ["22:00-24:00"]}))
    check(hours({}, {"0001-01-01": ["09:00-17:00"], "9999-12-31": ["20:00-24:00"]}))

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from billing.periods import Period, first_instant, period_containing

ZONES = sorted(available_timezones())
MOMENT = timedelta(microseconds=1)


def utc(written: str) -> datetime:
    return datetime.fromisoformat(written).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "anchor_day", "timezone", "starts_at", "ends_at"),
    [
        ("2026-03-15T12:00", 1, "America/New_York", "2026-03-01T05:00", "2026-04-01T04:00"),  # clocks forward on 8 March
        ("2026-11-15T12:00", 1, "America/New_York", "2026-11-01T04:00", "2026-12-01T05:00"),  # clocks back on 1 November
        ("2026-03-01T04:59", 1, "America/New_York", "2026-02-01T05:00", "2026-03-01T05:00"),  # still February there
        ("2026-01-01T11:59", 1, "Pacific/Auckland", "2025-12-31T11:00", "2026-01-31T11:00"),  # already January there
        ("2026-02-28T08:00", 31, "America/Los_Angeles", "2026-02-28T08:00", "2026-03-31T07:00"),  # the first instant is inside
        ("2026-02-28T07:59", 31, "America/Los_Angeles", "2026-01-31T08:00", "2026-02-28T08:00"),  # the end is outside
        ("2028-02-29T12:00", 31, "UTC", "2028-02-29T00:00", "2028-03-31T00:00"),  # a leap year
        ("2028-02-29T12:00", 30, "UTC", "2028-02-29T00:00", "2028-03-30T00:00"),
        ("2028-02-28T12:00", 29, "UTC", "2028-01-29T00:00", "2028-02-29T00:00"),
        ("2026-12-31T23:59", 15, "Asia/Kathmandu", "2026-12-14T18:15", "2027-01-14T18:15"),
        ("2018-11-10T00:00", 4, "America/Sao_Paulo", "2018-11-04T03:00", "2018-12-04T02:00"),  # 4 November began at 01:00
        ("2011-12-30T10:00", 30, "Pacific/Apia", "2011-12-30T10:00", "2012-01-29T10:00"),  # 30 December did not happen
    ],
)
def test_the_period_of_an_instant(moment: str, anchor_day: int, timezone: str, starts_at: str, ends_at: str) -> None:
    assert period_containing(utc(moment), anchor_day, timezone) == Period(utc(starts_at), utc(ends_at))


@pytest.mark.parametrize(
    ("day", "timezone", "begins"),
    [
        ("2026-07-01", "Europe/Berlin", "2026-06-30T22:00"),
        ("2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00"),  # 00:00 became 01:00
        ("1919-03-31", "America/Toronto", "1919-03-31T04:30"),  # 23:30 became 00:30
        ("2026-11-01", "America/Havana", "2026-11-01T04:00"),  # midnight came twice
        ("2010-11-07", "America/St_Johns", "2010-11-07T02:30"),  # a minute of that day, then an hour of the day before again
    ],
)
def test_a_day_begins_with_its_first_instant(day: str, timezone: str, begins: str) -> None:
    assert first_instant(date.fromisoformat(day), ZoneInfo(timezone)) == utc(begins)


def test_a_march_in_new_york_lasts_an_hour_less_than_its_days() -> None:
    march = period_containing(utc("2026-03-15T12:00"), 1, "America/New_York")
    assert march.ends_at - march.starts_at == timedelta(days=31, hours=-1)


def test_a_zone_that_is_not_in_the_database_is_refused() -> None:
    with pytest.raises(ZoneInfoNotFoundError):
        period_containing(utc("2026-01-01T00:00"), 1, "Europe/Atlantis")


@settings(deadline=None)  # a zone is read from disk when it is first met
@given(timezone=st.sampled_from(ZONES), anchor_day=st.integers(1, 31), year=st.integers(1900, 2100))
@example(timezone="America/Sao_Paulo", anchor_day=4, year=2018)
@example(timezone="Pacific/Apia", anchor_day=30, year=2011)
@example(timezone="Pacific/Kiritimati", anchor_day=31, year=1994)
@example(timezone="America/St_Johns", anchor_day=7, year=2010)
@example(timezone="America/Toronto", anchor_day=31, year=1919)
@example(timezone="Africa/Monrovia", anchor_day=7, year=1972)
def test_periods_tile_the_year_without_gap_or_overlap(timezone: str, anchor_day: int, year: int) -> None:
    period = period_containing(datetime(year, 1, 1, tzinfo=UTC), anchor_day, timezone)
    for _ in range(13):
        assert period.starts_at < period.ends_at
        assert period_containing(period.starts_at, anchor_day, timezone) == period
        assert period_containing(period.ends_at - MOMENT, anchor_day, timezone) == period
        assert begins_on_the_anchor(period.starts_at, anchor_day, ZoneInfo(timezone))
        following = period_containing(period.ends_at, anchor_day, timezone)
        assert following.starts_at == period.ends_at
        period = following
    assert period.ends_at > datetime(year + 1, 1, 1, tzinfo=UTC)


def begins_on_the_anchor(start: datetime, anchor_day: int, zone: ZoneInfo) -> bool:
    """Whether the wall clock first reaches the anchor day at this instant, or passes it where that day did not happen."""
    before, after = ((start - step).astimezone(zone).date() for step in (MOMENT, timedelta(0)))
    months = {(day.year, day.month) for day in (before, after)}
    anchors = {date(year, month, min(anchor_day, monthrange(year, month)[1])) for year, month in months}
    return any(before < anchor <= after for anchor in anchors)


@settings(deadline=None)
@given(timezone=st.sampled_from(ZONES), anchor_day=st.integers(1, 31), second=st.integers(-(10**9), 4 * 10**9))
def test_an_instant_is_in_its_period(timezone: str, anchor_day: int, second: int) -> None:
    instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
    period = period_containing(instant, anchor_day, timezone)
    assert period.starts_at <= instant < period.ends_at


@settings(deadline=None)
@given(timezone=st.sampled_from(ZONES), day=st.dates(date(1900, 1, 1), date(2100, 1, 1)))
@example(timezone="America/Toronto", day=date(1919, 3, 31))
def test_the_instant_before_a_day_is_not_of_that_day(timezone: str, day: date) -> None:
    zone = ZoneInfo(timezone)
    begins = first_instant(day, zone)
    assert begins.astimezone(zone).date() >= day
    assert (begins - MOMENT).astimezone(zone).date() < day

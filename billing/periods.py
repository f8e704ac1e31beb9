"""Billing periods: half-open months `[starts_at, ends_at)` that begin on the anchor day in the tenant's zone.

Boundaries are days of the calendar turned into instants, never sums of time deltas: a March in New York lasts 31 days less
an hour. In a month that is too short the anchor is its last day.
"""

from bisect import bisect_left, bisect_right
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Period:
    """From `starts_at` up to and without `ends_at`, both in UTC."""

    starts_at: datetime
    ends_at: datetime


def period_containing(moment: datetime, anchor_day: int, timezone: str) -> Period:
    """The period that an instant falls in; the periods of one anchor and zone tile all time.

    Raises:
        ZoneInfoNotFoundError: the zone is not in the time zone database.
    """
    zone = ZoneInfo(timezone)
    local = moment.astimezone(zone)
    month = local.year * 12 + local.month - 1
    # instants are compared, not local dates: where clocks fall back over midnight, a date comes twice
    boundaries = [_boundary(month + step, anchor_day, zone) for step in (-1, 0, 1, 2)]
    place = bisect_right(boundaries, moment)
    return Period(boundaries[place - 1], boundaries[place])


def first_instant(day: date, zone: ZoneInfo) -> datetime:
    """When a day begins somewhere, in UTC: its midnight, the first of two, or where clocks jump over it the end of the jump."""
    midnight = datetime.combine(day, time.min, zone)
    latest = midnight.astimezone(UTC)
    earliest = midnight.replace(fold=1).astimezone(UTC)
    if earliest >= latest:
        return latest
    # PEP 495: in a gap the two folds enclose the jump, and between them local time only rises
    wall = datetime.combine(day, time.min)
    seconds = range(int((latest - earliest).total_seconds()))
    jump = bisect_left(seconds, wall, key=lambda second: (earliest + timedelta(seconds=second)).astimezone(zone).replace(tzinfo=None))
    return earliest + timedelta(seconds=jump)


def _boundary(month: int, anchor_day: int, zone: ZoneInfo) -> datetime:
    """Where the period of a month begins; months are counted from the year 0."""
    year, index = divmod(month, 12)
    last_day = monthrange(year, index + 1)[1]
    return first_instant(date(year, index + 1, min(anchor_day, last_day)), zone)

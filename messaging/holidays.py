"""Public holidays of a date, from rules as data: a date, an nth weekday of a month, or days counted from Easter."""

from collections.abc import Sequence
from datetime import date, timedelta
from functools import lru_cache

import msgspec

from tenants.hours import DAYS

SATURDAY, SUNDAY = 5, 6


class Holiday(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`month` and `day`; or `month`, `weekday` and `nth` (-1 is the last); or `easter`, in days after Easter Sunday."""

    name: str
    month: int = 1
    day: int | None = None
    weekday: str | None = None
    nth: int = 1
    easter: int | None = None

    def on(self, year: int) -> date:
        """Its day in a year."""
        if self.easter is not None:
            return easter(year) + timedelta(days=self.easter)
        if self.weekday is None:
            return date(year, self.month, self.day or 1)
        return nth_weekday(year, self.month, DAYS.index(self.weekday), self.nth)


@lru_cache(maxsize=64)
def holidays_of(rules: Sequence[Holiday], year: int) -> frozenset[date]:
    """Every day of a year that is a holiday, or kept for one that falls on a weekend; New Year's Day of the next year included."""
    named = [rule.on(each) for each in (year, year + 1) for rule in rules]
    return frozenset(day for each in named for day in (each, kept_on(each)) if day.year == year)


def kept_on(day: date) -> date:
    """When offices are closed for a holiday: the Friday before a Saturday, the Monday after a Sunday (5 U.S.C. 6103(b))."""
    return day + timedelta(days={SATURDAY: -1, SUNDAY: 1}.get(day.weekday(), 0))


def nth_weekday(year: int, month: int, weekday: int, nth: int) -> date:
    """The nth such weekday of a month, or the last one for -1."""
    if nth > 0:
        first = date(year, month, 1)
        return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (nth - 1))
    last = date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
    return last - timedelta(days=(last.weekday() - weekday) % 7)


def easter(year: int) -> date:
    """Easter Sunday of the Gregorian calendar (the computus of Meeus, Jones and Butcher)."""
    golden, century, rest = year % 19, year // 100, year % 100
    correction = (century - century // 4 - (century - (century + 8) // 25 + 1) // 3 + 19 * golden + 15) % 30
    to_sunday = (32 + 2 * (century % 4) + 2 * (rest // 4) - correction - rest % 4) % 7
    late = (golden + 11 * correction + 22 * to_sunday) // 451
    month, day = divmod(correction + to_sunday - 7 * late + 114, 31)
    return date(year, month, day + 1)

"""Days that follow from other days: months ahead, the nth weekday of a month, holidays."""

import calendar
from collections.abc import Iterator
from datetime import date, timedelta

from webhooks.dates.unclear import BadPhrase
from webhooks.dates.words import MONTH_NAMES

LAST = -1
YEARS_TO_LOOK = 9  # from one 29th of February to the next there are at most eight years
JUST_PAST = timedelta(days=60)  # a day of a month that was this long ago is more likely a mistake than next year's


def made(year: int, month: int, day: int) -> date:
    """A date.

    Raises:
        BadPhrase: there is no such day.
    """
    if not 1 <= month <= 12:  # noqa: PLR2004  months of a year
        raise BadPhrase(f"There is no month {month}. Ask for the month by its name.")
    if not exists(year, month, day):
        raise BadPhrase(f"There is no {MONTH_NAMES[month - 1].title()} {day} in {year}. Ask for the day again.")
    return date(year, month, day)


def exists(year: int, month: int, day: int) -> bool:
    """Whether the calendar has such a day."""
    return 1 <= day <= calendar.monthrange(year, month)[1]


def month_day(today: date, month: int, day: int) -> date:
    """The next day of that name.

    Raises:
        BadPhrase: there is none, or it has just been, so that it is not sure that next year's is meant.
    """
    if not 1 <= day <= 31 or not any(exists(year, month, day) for year in range(today.year, today.year + YEARS_TO_LOOK)):  # noqa: PLR2004
        raise BadPhrase(f"There is no {MONTH_NAMES[month - 1].title()} {day}. Ask for the day again.")
    return next(  # a past one is refused as such, with today's date
        date(year, month, day)
        for year in range(today.year - 1, today.year + YEARS_TO_LOOK)
        if exists(year, month, day) and date(year, month, day) >= today - JUST_PAST
    )


def day_of_month(today: date, day: int, months: int | None) -> date:
    """The next day of that number; with `months` the one in the month so many ahead."""
    if months is not None:
        first = months_later(today.replace(day=1), months)
        return made(first.year, first.month, day)
    if not 1 <= day <= 31:  # noqa: PLR2004  days of a month
        raise BadPhrase(f"No month has a day {day}. Ask for the day again.")
    for ahead in range(3):
        first = months_later(today.replace(day=1), ahead)
        if exists(first.year, first.month, day) and first.replace(day=day) >= today:
            return first.replace(day=day)
    raise AssertionError("of any three months in a row one has the day, ahead of today")


def months_later(day: date, months: int) -> date:
    """The same day so many months later, or the last of that month where it is shorter."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def nth_weekday(year: int, month: int, which: int, weekday: int) -> date:
    """The nth (1 to 5, or the last) such weekday of a month.

    Raises:
        BadPhrase: the month has fewer.
    """
    days = [each for each in days_of(year, month) if each.weekday() == weekday]
    if which > len(days):
        raise BadPhrase(f"{MONTH_NAMES[month - 1].title()} {year} has only {len(days)} such days. Ask for the date.")
    return days[which if which == LAST else which - 1]


def days_of(year: int, month: int) -> Iterator[date]:
    """Every day of a month."""
    return (date(year, month, day) for day in range(1, calendar.monthrange(year, month)[1] + 1))


FIXED = {
    "new years eve": (12, 31),
    "new years day": (1, 1),
    "new years": (1, 1),
    "valentines day": (2, 14),
    "saint patricks day": (3, 17),
    "st patricks day": (3, 17),
    "4th of july": (7, 4),
    "independence day": (7, 4),
    "halloween": (10, 31),
    "veterans day": (11, 11),
    "christmas eve": (12, 24),
    "christmas day": (12, 25),
    "christmas": (12, 25),
}
MOVING = {  # month, which, weekday (5 U.S.C. 6103; the second Sunday of May by custom)
    "mothers day": (5, 2, 6),
    "memorial day": (5, LAST, 0),
    "fathers day": (6, 3, 6),
    "labor day": (9, 1, 0),
    "columbus day": (10, 2, 0),
    "thanksgiving day": (11, 4, 3),
    "thanksgiving": (11, 4, 3),
}
HOLIDAY = rf"(?P<holiday>{'|'.join(sorted([*FIXED, *MOVING], key=len, reverse=True))})"


def holiday(today: date, name: str) -> date:
    """The next holiday of that name."""
    this, following = (in_year(name, year) for year in (today.year, today.year + 1))
    return this if this >= today else following


def in_year(name: str, year: int) -> date:
    """A year's holiday."""
    if name in FIXED:
        return date(year, *FIXED[name])
    month, which, weekday = MOVING[name]
    return nth_weekday(year, month, which, weekday)

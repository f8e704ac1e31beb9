"""The day in a phrase."""

import re
from collections.abc import Callable
from datetime import date, timedelta

import msgspec

from webhooks.dates import calendar, spoken
from webhooks.dates.calendar import HOLIDAY, LAST
from webhooks.dates.times import without
from webhooks.dates.unclear import BadPhrase, not_understood
from webhooks.dates.words import DAY_NAMES, MONTH, MONTHS, WEEKDAY, WEEKDAYS, is_silent

Match = re.Match[str]
COUNT = r"(?:(?P<count>\d{1,4})|an?|the)"
UNIT = r"(?P<unit>day|week|fortnight|month|year)s?"
YEAR = r"(?P<year>2\d{3})"
NTH = r"(?P<day>\d{1,2})(?:th|st|nd|rd)"
OF = r"(?: of| in)?(?: the)?"


class Day(msgspec.Struct, frozen=True):
    """A day. `or_today`: a weekday's bare name, said on that weekday; `nearer`: the day that somebody else might mean."""

    value: date
    or_today: bool = False
    nearer: date | None = None


def take_day(text: str, today: date) -> tuple[Day | None, str]:
    """The day in a phrase, and what is left of the phrase.

    Raises:
        BadPhrase: there is no such day, or the weekday said beside it is another.
    """
    for pattern, reader in READERS:
        found = pattern.search(text)
        if found is not None:
            day, rest = reader(found, today), without(text, found)
            return (day if isinstance(day, Day) else Day(day)), agreeing(day if isinstance(day, date) else day.value, rest)
    return None, text


def agreeing(day: date, rest: str) -> str:
    """What is left when the weekday that was said beside a date is taken away.

    Raises:
        BadPhrase: the date is another weekday.
    """
    beside = re.search(rf"\b{WEEKDAY}\b", rest)
    if beside is None:
        return rest
    if WEEKDAYS[beside["weekday"]] != day.weekday():
        said = DAY_NAMES[WEEKDAYS[beside["weekday"]]].title()
        raise BadPhrase(f"{spoken.day(day)} is not a {said}. Ask which of the two is meant.")
    return without(rest, beside)


def numeric(found: Match, _today: date) -> date:
    """`2027-03-14`, `3/14/2027`, `3/14/27`."""
    year = int(found["year"])
    return calendar.made(year + 2000 if year < 100 else year, int(found["number"]), int(found["day"]))  # noqa: PLR2004  two digits


def numeric_without_year(found: Match, today: date) -> date:
    """`3/14`: the month first, as in the United States."""
    month = int(found["number"])
    if not 1 <= month <= 12:  # noqa: PLR2004  months of a year
        raise BadPhrase(f"There is no month {month}. Ask for the month by its name.")
    return calendar.month_day(today, month, int(found["day"]))


def of_month(found: Match, today: date) -> date:
    """`march 3`, `3 march 2027`, `3th of march`."""
    month, day, year = MONTHS[found["month"]], int(found["day"]), found["year"]
    return calendar.month_day(today, month, day) if year is None else calendar.made(int(year), month, day)


def nth_weekday(found: Match, today: date) -> date:
    """`1th monday of march`, `last friday of the month`; without its year the next one."""
    which = LAST if found["which"] == "last" else int(found["which"][0])
    weekday = WEEKDAYS[found["weekday"]]
    if found["month"] is None:
        first = calendar.months_later(today.replace(day=1), 1 if found["around"] == "next" else 0)
        return calendar.nth_weekday(first.year, first.month, which, weekday)
    month = MONTHS[found["month"]]
    if found["year"] is not None:
        return calendar.nth_weekday(int(found["year"]), month, which, weekday)
    this = calendar.nth_weekday(today.year, month, which, weekday)
    return this if this >= today else calendar.nth_weekday(today.year + 1, month, which, weekday)


def last_day(found: Match, today: date) -> date:
    """`last day of march`, `last day of the month`."""
    if found["month"] is None:
        first = calendar.months_later(today.replace(day=1), 1 if found["around"] == "next" else 0)
    else:
        month = MONTHS[found["month"]]
        year = int(found["year"]) if found["year"] else today.year + (month < today.month)
        first = date(year, month, 1)
    return calendar.months_later(first, 1) - timedelta(days=1)


def numbered(found: Match, today: date) -> date:
    """`the 3th`, `the 3th of next month`."""
    around = found["before"] or found["around"]
    return calendar.day_of_month(today, int(found["day"]), {"next": 1, "this": 0, None: None}[around])


def later(day: date, found: Match, sign: int = 1) -> date:
    """So many days, weeks, months or years from a day."""
    count = sign * int(found["count"] or 1)
    match found["unit"]:
        case "day":
            return day + timedelta(days=count)
        case "week":
            return day + timedelta(weeks=count)
        case "fortnight":
            return day + timedelta(weeks=2 * count)
        case "month":
            return calendar.months_later(day, count)
        case _:
            return calendar.months_later(day, 12 * count)


def from_anchor(found: Match, today: date) -> date:
    """`2 weeks from friday`, `the day after tomorrow`, `the day before christmas`."""
    anchor = anchored(found, today)
    start = anchor.value + timedelta(weeks=1) if anchor.or_today and found["way"] == "after" else anchor.value
    return later(start, found, -1 if found["way"] == "before" else 1)


def of_week(found: Match, today: date) -> date:
    """`friday next week`, `this week on friday`: weeks begin on Monday (ISO 8601)."""
    return week_of(found, today, {"next": 1, "this": 0}[found["which"]])


def week_of(found: Match, today: date, weeks: int) -> date:
    """The weekday in the week so many weeks ahead."""
    return today + timedelta(weeks=weeks, days=WEEKDAYS[found["weekday"]] - today.weekday())


def weeks_ahead(found: Match, today: date) -> date:
    """`friday in 2 weeks`, `in 2 weeks on friday`.

    Raises:
        BadPhrase: counted from the next such weekday it is another day than in the week so far ahead.
    """
    count = int(found["count"] or 1)
    one, other = week_of(found, today, count), coming(found, today) + timedelta(weeks=count)
    if one != other:
        raise BadPhrase(f"That may be {spoken.day(one)} or {spoken.day(other)}. Ask which is meant.")
    return one


def beside_anchor(found: Match, today: date) -> date:
    """`the friday before christmas`, `the monday after thanksgiving`."""
    wanted, anchor = WEEKDAYS[found["weekday"]], anchored(found, today).value
    if found["way"] == "after":
        return anchor + timedelta(days=(wanted - anchor.weekday() - 1) % 7 + 1)
    return anchor - timedelta(days=(anchor.weekday() - wanted - 1) % 7 + 1)


def anchored(found: Match, today: date) -> Day:
    """The day that another one is counted from.

    Raises:
        BadPhrase: it is none.
    """
    rest = found["anchor"]
    anchor, left = (Day(today), "") if rest in ("now", "today") else take_day(rest, today)
    if anchor is None or not is_silent(left):
        raise not_understood()
    return anchor


def weekday(found: Match, today: date) -> Day | date:
    """`friday`, `this friday`: the next one; `next friday`: the one of next week; `last friday`: the one before today."""
    wanted = WEEKDAYS[found["weekday"]]
    coming = today + timedelta(days=(wanted - today.weekday()) % 7)
    match found["which"]:
        case "next":
            chosen = today - timedelta(days=today.weekday()) + timedelta(weeks=1, days=wanted)
            return Day(chosen, nearer=coming if today < coming < chosen else None)
        case "last" | "past":
            return today - timedelta(days=(today.weekday() - wanted - 1) % 7 + 1)
        case None:
            return Day(coming, or_today=coming == today)
        case _:
            return coming


Reader = Callable[[Match, date], "Day | date"]
READERS: tuple[tuple["re.Pattern[str]", Reader], ...] = tuple(
    (re.compile(pattern), reader)
    for pattern, reader in (
        (r"\b(?P<year>\d{4})[-/](?P<number>\d{1,2})[-/](?P<day>\d{1,2})\b(?![-/:])", numeric),
        (r"\b(?P<number>\d{1,2})[-/](?P<day>\d{1,2})[-/](?P<year>\d{4}|\d\d)\b(?![-/:])", numeric),
        (r"\b(?P<number>\d{1,2})/(?P<day>\d{1,2})\b(?![-/:])", numeric_without_year),
        (rf"\b(?:{COUNT} )?{UNIT} (?P<way>from|after|before) (?P<anchor>.+)$", from_anchor),
        (rf"\b{WEEKDAY} (?P<way>after|before) (?P<anchor>.+)$", beside_anchor),
        (rf"\b(?P<which>[1-5]th|last) {WEEKDAY}{OF} (?:{MONTH}(?: {YEAR})?|(?:(?P<around>this|next) )?month)\b", nth_weekday),
        (rf"\blast day{OF} (?:{MONTH}(?: {YEAR})?|(?:(?P<around>this|next) )?month)\b", last_day),
        (rf"\b{HOLIDAY}\b", lambda m, today: calendar.holiday(today, m["holiday"])),
        (rf"\b{MONTH} (?:the )?(?P<day>\d{{1,2}})(?:th|st|nd|rd)?(?: {YEAR})?\b(?![:/-])", of_month),
        (rf"\b(?P<day>\d{{1,2}})(?:th|st|nd|rd)?(?: day)?(?: of)? {MONTH}(?: {YEAR})?\b", of_month),
        (
            rf"\b(?:(?P<before>this|next) month (?:on )?(?:the )?)?{NTH}(?: day)?(?:{OF} (?:(?P<around>this|next) )?month)?\b",
            numbered,
        ),
        (rf"\b{WEEKDAY} in {COUNT} weeks?\b", weeks_ahead),
        (rf"\bin {COUNT} weeks?(?: time)? on (?:a )?{WEEKDAY}\b", weeks_ahead),
        (rf"\b{WEEKDAY}(?: of)? (?P<which>next|this) week\b", of_week),
        (rf"\b(?P<which>next|this) week(?: on)? {WEEKDAY}\b", of_week),
        (rf"\b{WEEKDAY} week\b", lambda m, today: coming(m, today) + timedelta(weeks=1)),
        (rf"\b(?:in|within) {COUNT} {UNIT}(?: time)?\b", lambda m, today: later(today, m)),
        (rf"\b{COUNT} {UNIT} ago\b", lambda m, today: later(today, m, -1)),
        (r"\bday before yesterday\b", lambda _, today: today - timedelta(days=2)),
        (r"\byesterday\b", lambda _, today: today - timedelta(days=1)),
        (r"\b(?:today|this day)\b", lambda _, today: today),
        (r"\btomorrow\b", lambda _, today: today + timedelta(days=1)),
        (rf"\b(?:(?P<which>next|last|past|this coming|this|coming) )?{WEEKDAY}\b", weekday),
    )
)


def coming(found: Match, today: date) -> date:
    """The next such weekday after today."""
    return today + timedelta(days=(WEEKDAYS[found["weekday"]] - today.weekday() - 1) % 7 + 1)

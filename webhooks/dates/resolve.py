"""A phrase and the moment it was said become a date or an instant of the tenant's own time; never a past one."""

import re
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec
from whenever import RepeatedTime, SkippedTime, ZonedDateTime

from webhooks.dates import spoken
from webhooks.dates.days import Day, take_day
from webhooks.dates.spans import span
from webhooks.dates.times import MIDNIGHT, Wall, take_part, take_time, within
from webhooks.dates.unclear import BadPhrase, not_understood
from webhooks.dates.words import LONGEST, is_silent, plain

FARTHEST_YEARS = 10
NOW = frozenset({"now", "right now", "immediately", "right away"})
ISO = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:[Zz]|[+-]\d{2}:?\d{2})", re.ASCII)
ISO_LOCAL = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2})(?::\d{2}(?:\.\d{1,9})?)?", re.ASCII)
ELSEWHERE = re.compile(r"\b(?:[ecmp][sd]t|utc|gmt|eastern|central|mountain|pacific)\b")
TOO_FAR = f"That is more than {FARTHEST_YEARS} years ahead. Ask for the date again."


class Resolved(msgspec.Struct, frozen=True):
    """A day, the instant in the tenant's zone where a time was said, else the part of the day if one was; and how it is said."""

    day: date
    at: datetime | None
    part: str | None
    said: str


class Asked(msgspec.Struct, frozen=True):
    """The moment (UTC) at which a phrase was said, and where. `today_counts`: "Friday" said on a Friday is today.

    Instants are compared in UTC: of two in one zone Python compares what the clocks show, which is the same twice when they go back.
    """

    moment: datetime
    zone: ZoneInfo
    today_counts: bool

    @property
    def today(self) -> date:
        """The day it was said on."""
        return self.local.date()

    @property
    def local(self) -> datetime:
        """What the clocks showed."""
        return self.moment.astimezone(self.zone)


def resolve(phrase: str, zone: ZoneInfo, moment: datetime, *, today_counts: bool = False) -> Resolved:
    """What a phrase means when it is said at `moment`.

    Raises:
        BadPhrase: it is past, ambiguous, or not understood.
    """
    if len(phrase) > LONGEST:
        raise BadPhrase(f"That is too long for a date. Ask for one day and one time in at most {LONGEST} characters.")
    asked = Asked(moment.astimezone(UTC), zone, today_counts)
    try:
        return checked(asked, read(phrase.strip(), asked))
    except (OverflowError, ValueError) as error:
        if isinstance(error, BadPhrase):
            raise
        raise not_understood() from error  # a year or a number that no calendar holds


def read(phrase: str, asked: Asked) -> Resolved:
    """The reading of a phrase, past or not."""
    if ISO.fullmatch(phrase):
        return instant(asked, datetime.fromisoformat(phrase.upper()))
    local = ISO_LOCAL.fullmatch(phrase)
    text = plain(f"{local[1]} {local[2]}" if local else phrase)
    if text in NOW:
        return instant(asked, asked.moment)
    ahead = span(text)
    if ahead is not None:
        return instant(asked, asked.moment + ahead)
    if ELSEWHERE.search(text):
        raise BadPhrase(f"Times are taken in the zone {asked.zone.key}. Ask for the time there.")
    wall, rest = take_time(text)
    part, is_today, rest = take_part(rest)
    day, rest = take_day(rest, asked.today)
    if is_today:
        if day is not None and day.value != asked.today:
            raise not_understood()
        day = Day(asked.today)
    if not is_silent(rest):
        raise not_understood()
    return of_parts(asked, day, wall, part)


def of_parts(asked: Asked, day: Day | None, wall: Wall | None, part: str | None) -> Resolved:
    """What day, time and part of the day mean together."""
    if wall is not None and wall.hour == MIDNIGHT:
        return midnight(asked, day, part)
    if wall is not None and part is not None:
        wall = within(wall, part)
    if day is None:
        if wall is None:
            raise BadPhrase("The day is missing. Ask for the day, and the time if it matters.") if part else not_understood()
        return next_time(asked, wall)
    if day.or_today and not asked.today_counts:
        day = Day(day.value + timedelta(weeks=1)) if wall is not None and all_past(asked, day.value, wall) else ambiguous(day.value)
    if wall is None:
        return whole_day(asked, day, part)
    return at_time(asked, day, likelier(asked, day.value, wall))


def ambiguous(today: date) -> Day:
    """A weekday's name, said on that weekday.

    Raises:
        BadPhrase: always.
    """
    later = today + timedelta(weeks=1)
    raise BadPhrase(f"Today is {spoken.day(today)}. Ask whether today or {spoken.day(later)} is meant.")


def midnight(asked: Asked, day: Day | None, part: str | None) -> Resolved:
    """The midnight that ends today; of another day it is not sure which of its two is meant.

    Raises:
        BadPhrase: another day was named.
    """
    if (day is not None and day.value != asked.today) or part not in (None, "night"):
        raise BadPhrase("A day has two midnights. Ask for 12:01 AM or 11:59 PM of the day that is meant.")
    return at_time(asked, Day(asked.today + timedelta(days=1)), time(0))


def next_time(asked: Asked, wall: Wall) -> Resolved:
    """The next such time, today or tomorrow.

    Raises:
        BadPhrase: the likelier reading is past today, and the other is not.
    """
    first, *others = wall.readings
    tomorrow = Day(asked.today + timedelta(days=1))
    if not is_past(asked, asked.today, first):
        return at_time(asked, Day(asked.today), first)
    for other in others:
        if not is_past(asked, asked.today, other):
            raise BadPhrase(f"That may be {spoken.clock(other)} today or {spoken.clock(first)} tomorrow. Ask which is meant.")
    return at_time(asked, tomorrow, first)


def likelier(asked: Asked, day: date, wall: Wall) -> time:
    """The likelier reading of a time, or the other one where only that is still to come today."""
    return next((each for each in wall.readings if day != asked.today or not is_past(asked, day, each)), wall.readings[0])


def all_past(asked: Asked, day: date, wall: Wall) -> bool:
    """Whether a time of a day is past, however it is read."""
    return all(is_past(asked, day, each) for each in wall.readings)


def is_past(asked: Asked, day: date, at: time) -> bool:
    """Whether a time of a day is past."""
    return at_time(asked, Day(day), at).at < asked.moment  # type: ignore[operator]  # it has a time


def at_time(asked: Asked, day: Day, at: time) -> Resolved:
    """A time of a day as an instant: one that the clocks skip is after the change, of one that comes twice the first that is ahead."""
    value, note = day.value, ""
    wall = (value.year, value.month, value.day, at.hour, at.minute)
    try:
        found = ZonedDateTime(*wall, tz=asked.zone.key, disambiguation="raise")
    except SkippedTime:
        found = ZonedDateTime(*wall, tz=asked.zone.key, disambiguation="later")
        note = f" The clocks go forward then and skip {spoken.clock(at)}, so this is the time after the change."
    except RepeatedTime:
        found, note = ZonedDateTime(*wall, tz=asked.zone.key, disambiguation="earlier"), "first"
        if found.to_stdlib() < asked.moment:
            found, note = ZonedDateTime(*wall, tz=asked.zone.key, disambiguation="later"), "second"
        note = f" The clocks go back then and {spoken.clock(at)} comes twice; this is the {note}."
    return instant(asked, found.to_stdlib(), note + nearer(day))


def instant(asked: Asked, at: datetime, note: str = "") -> Resolved:
    """An instant, to the minute: a part of one counts as a whole, so that it is never past."""
    local = at.astimezone(UTC)
    if local.second or local.microsecond:
        local = local.replace(second=0, microsecond=0) + timedelta(minutes=1)
    local = local.astimezone(asked.zone)
    said = f"{spoken.day(local)}, {spoken.clock(local)} ({local.isoformat(timespec='seconds')}, {asked.zone.key}).{note}"
    return Resolved(local.date(), local, None, said)


def whole_day(asked: Asked, day: Day, part: str | None) -> Resolved:
    """A day without a time."""
    when = "" if part is None else ", at night" if part == "night" else f", in the {part}"
    said = f"{spoken.day(day.value)}{when} ({day.value.isoformat()}, {asked.zone.key}).{nearer(day)}"
    return Resolved(day.value, None, part, said)


def nearer(day: Day) -> str:
    """The day that somebody else might mean."""
    return "" if day.nearer is None else f" The {day.nearer:%A} before it is {day.nearer:%B} {day.nearer.day}, {day.nearer.year}."


def checked(asked: Asked, found: Resolved) -> Resolved:
    """What was found, if it is not past and not out of reach.

    Raises:
        BadPhrase: it is.
    """
    today, days = spoken.day(asked.today), (asked.today - found.day).days
    if days > 0:
        ago = "yesterday" if days == 1 else f"{days} days ago"
        raise BadPhrase(f"That was {ago}; today is {today}. Ask for a day that is still to come.")
    if found.at is not None and found.at < asked.moment:
        raise BadPhrase(f"{spoken.clock(found.at)} today is past; it is now {spoken.clock(asked.local)} on {today}. Ask for a later time.")
    last = PARTS_END.get(found.part or "")
    if last is not None and days == 0 and asked.local.hour >= last:
        raise BadPhrase(f"This {found.part} is past; it is now {spoken.clock(asked.local)} on {today}. Ask for a later time.")
    if found.day.year > asked.today.year + FARTHEST_YEARS:
        raise BadPhrase(TOO_FAR)
    return found


PARTS_END = {"morning": 12, "afternoon": 19}

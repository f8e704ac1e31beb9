"""The time of day in a phrase."""

import re
from collections.abc import Callable
from datetime import time

import msgspec

from webhooks.dates import spoken
from webhooks.dates.unclear import BadPhrase
from webhooks.dates.words import MONTH

NOON, LAST_MINUTE = 12, 59
FIRST_MORNING_HOUR = 8  # of the hours that a caller names without AM or PM: 8 to 11 are in the morning, noon to 7 after it
MIDNIGHT = 24


class Wall(msgspec.Struct, frozen=True):
    """A time of day. Not `sure`: `hour` is one of the dial, 1 to 12, and may be AM or PM. Hour 24 is a midnight, at either end of a day."""

    hour: int
    minute: int = 0
    sure: bool = True

    @property
    def readings(self) -> tuple[time, ...]:
        """What it can be, the likelier first."""
        if self.sure:
            return (time(self.hour, self.minute),)
        early, late = time(self.hour % NOON, self.minute), time(self.hour % NOON + NOON, self.minute)
        return (early, late) if FIRST_MORNING_HOUR <= self.hour < NOON else (late, early)


HALF = r"(?: ?(?P<half>am|pm|a|p)\b)?"
AT = r"(?:\b(?:at|around|about) )?\b"
NOT_A_SPAN = r"(?! ?(?:minute|hour|day|week|month|year|min|hr)s?\b)(?![\d:/-])"
PARTS = re.compile(r"\b(?:(?P<this>this) |(?:in|during) the |at )?(?:early |late )?(?P<part>morning|afternoon|evening|night|tonight)\b")


def dial(hour: str, minute: int, half: str | None) -> Wall:
    """An hour as it was said."""
    value = int(hour)
    if half is not None:
        if not 1 <= value <= NOON:
            raise BadPhrase(f"There is no {value} {half[0].upper()}M. Ask for the time again.")
        return Wall(value % NOON + (NOON if half[0] == "p" else 0), minute)
    if value > MIDNIGHT or minute > LAST_MINUTE or (value == MIDNIGHT and minute):
        raise BadPhrase(f"There is no {value}:{minute:02}. Ask for the time again.")
    return Wall(value, minute, sure=value > NOON or value == 0 or (len(hour) > 1 and hour[0] == "0"))


def past_or_to(found: "re.Match[str]") -> Wall:
    """`half past 3`, `quarter to 5`, `20 past 4`; "10 to 12" alone may be two hours of a range."""
    minutes = {"half": 30, "quarter": 15}.get(found["before"]) or int(found["before"].split()[0])
    hour = dial(found["hour"], 0, found["half"])
    if found["way"] in ("past", "after"):
        return Wall(hour.hour, minutes, hour.sure)
    if found["before"].isdecimal() and minutes <= NOON and not found["at"]:
        raise BadPhrase(f"That may be {minutes} minutes before {hour.hour}, or from {minutes} to {hour.hour}. Ask for one time.")
    earlier = (hour.hour - 1) % MIDNIGHT if hour.sure else (hour.hour - 2) % NOON + 1
    return Wall(earlier, 60 - minutes, hour.sure)


def as_said(found: "re.Match[str]") -> Wall:
    """`3`, `3:30`, `3 pm`: the groups `hour`, `minute` and `half` of a pattern, as far as it has them."""
    said = found.groupdict()
    return dial(said["hour"], int(said.get("minute") or 0), said.get("half"))


def military(found: "re.Match[str]") -> Wall:
    """`1530 hours`."""
    hour = as_said(found)
    return Wall(hour.hour, hour.minute)


def of_a_part(found: "re.Match[str]") -> Wall | None:
    """`8 in the morning`; in `march 8 in the morning` it is the month's day, unless that stands before it: `3 march 8 in the morning`."""
    month = MONTH_BEFORE.search(found.string[: found.start()])
    return as_said(found) if month is None or month["day"] else None


Reader = Callable[["re.Match[str]"], Wall | None]
HOUR, MINUTE = r"(?P<hour>\d{1,2})", r"(?P<minute>\d{2})"
OF_A_PART = r"(?= (?:in the|at|this|tonight)\b ?(?:early |late )?(?:morning|afternoon|evening|night|$))"
MONTH_BEFORE = re.compile(rf"(?:\b(?P<day>\d{{1,2}})(?:th|st|nd|rd)?(?: day)?(?: of)? )?\b{MONTH} (?:the )?$")
BEFORE = r"half|quarter|[1-9]|[1-5]\d|(?:[1-9]|[1-5]\d) minutes?"
WAY = r"past|after|to|till|before|(?<=quarter )of"
READERS: tuple[tuple["re.Pattern[str]", Reader], ...] = tuple(
    (re.compile(pattern), reader)
    for pattern, reader in (
        (rf"{AT}(?:12 )?(?:noon|midday)\b", lambda _: Wall(NOON)),
        (rf"{AT}(?:12 )?midnight\b", lambda _: Wall(MIDNIGHT)),
        (
            rf"(?P<at>\b(?:at|around|about) )?\b(?:a )?(?:(?P<before>{BEFORE}) (?P<way>{WAY}) ){HOUR}\b(?: oclock)?{HALF}{NOT_A_SPAN}",
            past_or_to,
        ),
        (rf"{AT}{HOUR}(?::{MINUTE})?(?: oclock)? ?(?P<half>am|pm)\b", as_said),
        (rf"{AT}{HOUR}(?::{MINUTE})?(?P<half>[ap])\b", as_said),
        (rf"{AT}{HOUR}:{MINUTE}(?::\d{{2}})?\b(?!:)", as_said),
        (rf"{AT}(?P<hour>\d\d){MINUTE} ?(?:hours|hrs)\b", military),
        (rf"{AT}{HOUR} oclock\b", as_said),
        (rf"\b(?:at|around|about) {HOUR}\b{NOT_A_SPAN}", as_said),
        (rf"(?<![/-])\b{HOUR}{OF_A_PART}", of_a_part),
        (rf"(?:(?<=tonight )|(?<=morning )|(?<=afternoon )|(?<=evening )){HOUR}$", as_said),
    )
)


def take_time(text: str) -> tuple[Wall | None, str]:
    """The time of day in a phrase, and what is left of the phrase."""
    for pattern, reader in READERS:
        found = pattern.search(text)
        wall = reader(found) if found else None
        if found and wall:
            return wall, without(text, found)
    return None, text


def take_part(text: str) -> tuple[str | None, bool, str]:
    """The part of the day, whether it is today's ("tonight", "this morning"), and what is left of the phrase."""
    found = PARTS.search(text)
    if found is None:
        return None, False, text
    tonight = found["part"] == "tonight"
    return "night" if tonight else found["part"], tonight or found["this"] is not None, without(text, found)


def without(text: str, found: "re.Match[str]") -> str:
    """The phrase without what was understood."""
    return " ".join((text[: found.start()] + " " + text[found.end() :]).split())


HOURS_OF = {"morning": range(NOON), "afternoon": range(NOON, 19), "evening": range(16, 24), "night": range(18, 24)}


def within(wall: Wall, part: str) -> Wall:
    """The time in a part of the day.

    Raises:
        BadPhrase: there is no such time in it.
    """
    fitting = [reading for reading in wall.readings if reading.hour in HOURS_OF[part]]
    if len(fitting) != 1:
        said = " or ".join(spoken.clock(each) for each in wall.readings)
        raise BadPhrase(f"{said} does not go with the {part}. Ask for the day and the time again.")
    return Wall(fitting[0].hour, fitting[0].minute)

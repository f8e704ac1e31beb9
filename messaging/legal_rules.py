"""The format of the rules about hours: what came with this release (`quiet_hours.json`), or a file of the operator's own."""

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from messaging.holidays import SATURDAY, SUNDAY, Holiday
from messaging.wall_hours import Windows
from tenants.hours import DAYS

BUILT_IN = Path(__file__).parent / "quiet_hours.json"
LEAP_YEAR, PLAIN_YEAR = 2028, 2027
FARTHEST_FROM_EASTER = 100  # days either way: within the year
MONTHS = 12
OFTEN = (-1, 1, 2, 3, 4)  # there is a fifth Monday in some months only
WHERE = re.compile(r"^(?P<what>.*?)(?: - at `(?P<path>\$.*)`)?$", re.DOTALL)
STEP = re.compile(r"\.(\w+)|\[(\d+|\.\.\.)\]")
BYTE = re.compile(r" \(byte (\d+)\)$")

Time = Annotated[str, Meta(pattern=r"^(?:(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")]
Code = Annotated[str, Meta(pattern="^[A-Z]{2}$")]
Span = tuple[Time, Time]


class BadRules(ValueError):
    """The rules cannot be used: one sentence that says where and why."""

    def __init__(self, pointer: str, sentence: str) -> None:
        super().__init__(f"at {pointer or 'its top'}: {sentence}" if pointer or sentence else sentence)


class Hours(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row of the data: `null` is not at all, what is left out is as the entry before it (holidays: as the day they fall on)."""

    weekdays: Span | None
    saturday: Span | UnsetType | None = UNSET
    sunday: Span | UnsetType | None = UNSET
    holidays: Span | UnsetType | None = UNSET
    states: tuple[Code, ...] = ()
    since: date = msgspec.field(default=date.min, name="from")  # the first local day on which it holds
    until: date = date.max  # the last one
    note: str = ""

    def windows(self, day: date, *, holiday: bool) -> Windows:
        """What it allows on a day, whether it holds then or not."""
        if holiday and self.holidays is not UNSET:
            return minutes(self.holidays)
        span: Span | None = self.weekdays
        if day.weekday() >= SATURDAY and self.saturday is not UNSET:
            span = self.saturday
        if day.weekday() == SUNDAY and self.sunday is not UNSET:
            span = self.sunday
        return minutes(span)

    def spans(self) -> Iterator[tuple[str, Span]]:
        """Every span with its name."""
        for name in ("weekdays", "saturday", "sunday", "holidays"):
            span = getattr(self, name)
            if span is not UNSET and span is not None:
                yield name, span


class Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file. What is only for its readers may be left out."""

    as_of: date
    federal: Hours
    territories: tuple[Code, ...]
    states: tuple[Hours, ...]
    holidays: tuple[Holiday, ...]
    about: str = ""
    tables_of: str = ""
    sources: tuple[str, ...] = ()
    holidays_note: str = ""


def minutes(span: Span | None) -> Windows:
    """A span of `HH:MM` as minutes of the day; none is no time at all."""
    if span is None:
        return ()
    begin, end = (int(text[:2]) * 60 + int(text[3:]) for text in span)
    return ((begin, end),)


def parse(content: bytes) -> Data:
    """The rules in a file.

    Raises:
        BadRules: they are none, or contradict themselves.
    """
    try:
        data = msgspec.json.decode(content, type=Data)
    except msgspec.ValidationError as error:
        found = WHERE.match(str(error))
        what, path = (found["what"], found["path"] or "") if found else (str(error), "")
        raise BadRules("".join(f"/{name or number}" for name, number in STEP.findall(path)), f"{what}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        place = BYTE.search(str(error))
        line = content[: int(place[1])].count(b"\n") + 1 if place else 1
        raise BadRules(f"line {line}", f"{BYTE.sub('', str(error))}.") from error
    check(data)
    return data


def check(data: Data) -> None:
    """What the types cannot say.

    Raises:
        BadRules: at the first contradiction.
    """
    check_hours("/federal", data.federal)
    if data.federal.states or data.federal.holidays is not UNSET or (data.federal.since, data.federal.until) != (date.min, date.max):
        raise BadRules("/federal", "The federal hours hold everywhere and always: no `states`, `holidays`, `from` or `until`.")
    begun: dict[tuple[str, date], int] = {}
    for place, entry in enumerate(data.states):
        pointer = f"/states/{place}"
        check_hours(pointer, entry)
        if not entry.states:
            raise BadRules(f"{pointer}/states", "Name the states that these hours hold in.")
        if entry.until < entry.since:
            raise BadRules(f"{pointer}/until", "It ends before it begins.")
        for state in entry.states:
            other = begun.setdefault((state, entry.since), place)
            if other != place:
                raise BadRules(f"{pointer}/states", f"Entry {other} holds in {state} from the same day; which of the two is meant?")
    for place, holiday in enumerate(data.holidays):
        check_holiday(f"/holidays/{place}", holiday)


def check_hours(pointer: str, hours: Hours) -> None:
    """Each span has its end after its beginning.

    Raises:
        BadRules: one does not.
    """
    for name, (begin, end) in hours.spans():
        if begin >= end:
            raise BadRules(f"{pointer}/{name}", f"{begin} to {end} is no span of a day: the end comes after the beginning.")


def check_holiday(pointer: str, holiday: Holiday) -> None:
    """It falls on one day of every year.

    Raises:
        BadRules: it does not.
    """
    if [holiday.day, holiday.weekday, holiday.easter].count(None) != 2:  # noqa: PLR2004  of three exactly one
        raise BadRules(pointer, "Give `day`, or `weekday` with `nth`, or `easter`.")
    if not 1 <= holiday.month <= MONTHS or holiday.day == 0:
        raise BadRules(pointer, "There is no such day in every year.")
    if holiday.weekday is not None and holiday.weekday not in DAYS:
        raise BadRules(f"{pointer}/weekday", f"A weekday is one of {', '.join(DAYS)}.")
    if holiday.nth not in OFTEN:
        raise BadRules(f"{pointer}/nth", "It is 1 to 4, or -1 for the last.")
    if holiday.easter is not None and abs(holiday.easter) > FARTHEST_FROM_EASTER:
        raise BadRules(f"{pointer}/easter", f"It is at most {FARTHEST_FROM_EASTER} days from Easter Sunday.")
    try:
        for year in (PLAIN_YEAR, LEAP_YEAR):
            holiday.on(year)
    except ValueError as error:
        raise BadRules(pointer, "There is no such day in every year.") from error

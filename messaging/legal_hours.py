"""When the law lets people in the US be texted for sale, by state and day, from `quiet_hours.json`: data, and no legal advice."""

from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from pathlib import Path

import msgspec
from msgspec import UNSET, UnsetType

from messaging.holidays import SATURDAY, SUNDAY, Holiday, holidays_of
from messaging.wall_hours import DAY_MINUTES, Windows

Span = tuple[str, str]


class Hours(msgspec.Struct, frozen=True):
    """A row of the data: `null` is not at all, what is left out is as the entry before it (holidays: as the day they fall on)."""

    weekdays: Span
    saturday: Span | UnsetType | None = UNSET
    sunday: Span | UnsetType | None = UNSET
    holidays: Span | UnsetType | None = UNSET
    states: tuple[str, ...] = ()
    since: date = msgspec.field(default=date.min, name="from")
    note: str = ""

    def windows(self, day: date, *, holiday: bool) -> Windows:
        """What it allows on a day, whether it holds yet or not."""
        if holiday and self.holidays is not UNSET:
            return minutes(self.holidays)
        span: Span | None = self.weekdays
        if day.weekday() >= SATURDAY and self.saturday is not UNSET:
            span = self.saturday
        if day.weekday() == SUNDAY and self.sunday is not UNSET:
            span = self.sunday
        return minutes(span)


class Data(msgspec.Struct, frozen=True):
    """The file."""

    as_of: date
    federal: Hours
    territories: tuple[str, ...]
    states: tuple[Hours, ...]
    holidays: tuple[Holiday, ...]


DATA = msgspec.json.decode((Path(__file__).parent / "quiet_hours.json").read_bytes(), type=Data)
REGIONS = frozenset({"US", *DATA.territories})  # where the federal rule holds
BY_STATE: Mapping[str, Hours] = {state: hours for hours in DATA.states for state in hours.states}


def minutes(span: Span | None) -> Windows:
    """A span of `HH:MM` as minutes of the day; none is no time at all."""
    if span is None:
        return ()
    begin, end = (int(text[:2]) * 60 + int(text[3:]) for text in span)
    return ((begin, end),)


@lru_cache(maxsize=4_096)
def legal_windows(state: str | None, day: date) -> Windows:
    """When marketing is allowed in a state on a day: what the federal rule and the state's both allow. None: the state is not known."""
    federal, own = DATA.federal, BY_STATE.get(state or "")
    windows = federal.windows(day, holiday=False)
    if own is None or day < own.since:
        return windows
    return common(windows, own.windows(day, holiday=day in holidays_of(DATA.holidays, day.year)))


def common(one: Windows, other: Windows) -> Windows:
    """What is in both."""
    both = ((max(a, c), min(b, d)) for a, b in one for c, d in other)
    return tuple((begin, end) for begin, end in both if 0 <= begin < end <= DAY_MINUTES)

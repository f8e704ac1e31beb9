"""Opening hours: a week of spans in the tenant's own wall time, and days that are otherwise. Pure decisions, no I/O."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
FARTHEST_DAYS = 370  # how far ahead an opening is looked for
CLOSES_WITHIN = 31  # days; what stays open for longer is open around the clock


class Span(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Open from `opens` to before `closes`, wall times `HH:MM`; a `closes` that is not later is on the day after (`24:00` is midnight)."""

    opens: str
    closes: str


class Hours(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`week`: spans by the day's name; a day that is not named is closed. `days`: spans by date (`2026-12-24`), instead of the week's."""

    week: Annotated[dict[str, tuple[Span, ...]], msgspec.Meta(examples=[{"monday": [{"opens": "09:00", "closes": "17:30"}]}])] = {}
    days: Annotated[dict[str, tuple[Span, ...]], msgspec.Meta(examples=[{"2026-12-25": []}])] = {}

    def of(self, day: date) -> tuple[Span, ...]:
        """The spans that begin on a day."""
        own = self.days.get(day.isoformat())
        return self.week.get(DAYS[day.weekday()], ()) if own is None else own


def open_at(hours: Hours, zone: ZoneInfo, moment: datetime) -> bool:
    """Whether it is open at an instant."""
    local = moment.astimezone(zone)
    return any(
        opens <= moment < closes for day in (local.date() - timedelta(days=1), local.date()) for opens, closes in spans(hours, zone, day)
    )


def next_opening(hours: Hours, zone: ZoneInfo, moment: datetime) -> datetime | None:
    """The next instant after `moment` at which it opens, in the zone; None when there is none within a year."""
    first = moment.astimezone(zone).date()
    for ahead in range(FARTHEST_DAYS):
        later = [opens for opens, _ in spans(hours, zone, first + timedelta(days=ahead)) if opens > moment]
        if later:
            return min(later).astimezone(zone)
    return None


def open_until(hours: Hours, zone: ZoneInfo, moment: datetime) -> datetime | None:
    """When it closes, in the zone, if it is open at `moment`: a span that begins as another ends goes on. None: not within a month."""
    first, ends = moment.astimezone(zone).date(), moment
    for ahead in range(-1, CLOSES_WITHIN):
        day = first + timedelta(days=ahead)
        for opens, closes in sorted(spans(hours, zone, day)):
            if opens <= ends < closes:
                ends = closes
        if ahead >= 0 and ends.astimezone(zone).date() <= day:
            return ends.astimezone(zone)
    return None


def spans(hours: Hours, zone: ZoneInfo, day: date) -> list[tuple[datetime, datetime]]:
    """The spans that begin on a day, as instants in UTC."""
    found = []
    for span in hours.of(day):
        opens, closes = wall_time(span.opens), wall_time(span.closes)
        after = span.closes == "24:00" or closes <= opens
        found.append((instant(day, opens, zone), instant(day + timedelta(days=1) if after else day, closes, zone)))
    return found


def wall_time(text: str) -> time:
    """`HH:MM` as a time of day; `24:00` is midnight.

    Raises:
        ValueError: it is none.
    """
    return time(0) if text == "24:00" else time.fromisoformat(text)


def instant(day: date, at: time, zone: ZoneInfo) -> datetime:
    """A wall time as an instant in UTC: in a gap the instant as far after it, in a fold the first one (PEP 495, fold=0)."""
    return datetime.combine(day, at, zone).astimezone(UTC)

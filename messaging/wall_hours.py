"""Hours that hold in somebody's wall time: whether an instant is within them, and the first one that is. Pure decisions, no I/O.

An instant is judged by what the clock on the wall shows just then, so a gap has no minutes to judge and those of a fold are judged twice.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

Windows = Sequence[tuple[int, int]]  # minutes after the day's midnight as the wall shows them: from, to before; within 0 to 1,440
Rule = Callable[[date], Windows]
Held = Sequence[tuple[Rule, ZoneInfo]]

DAY_MINUTES = 24 * 60
FARTHEST = timedelta(days=420)  # a tenant may close a year and a month of days (tenants/opening_hours.py)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def allows(rule: Rule, zone: ZoneInfo, moment: datetime) -> bool:
    """Whether the rule allows the minute that an instant is in."""
    local = moment.astimezone(zone)
    minute = local.hour * 60 + local.minute
    return any(begin <= minute < end for begin, end in rule(local.date()))


def all_allow(held: Held, moment: datetime) -> bool:
    """Whether every rule allows it in its zone."""
    return all(allows(rule, zone, moment) for rule, zone in held)


def first_allowed(held: Held, moment: datetime) -> datetime | None:
    """The instant itself if every rule allows it, else the first later one that all allow; None if there is none in over a year."""
    latest, found = moment + FARTHEST, moment
    while found <= latest:
        later = found
        for rule, zone in held:
            allowed = first_of(rule, zone, later, latest)
            if allowed is None:
                return None
            later = allowed
        if later == found:
            return found
        found = later
    return None


def first_of(rule: Rule, zone: ZoneInfo, moment: datetime, latest: datetime) -> datetime | None:
    """As `first_allowed`, for one rule in one zone."""
    if allows(rule, zone, moment):
        return moment
    day, last = moment.astimezone(zone).date(), latest.astimezone(zone).date()
    while day <= last:
        later = [at for at in beginnings(rule, zone, day) if at > moment and allows(rule, zone, at)]
        if later:
            return min(later)
        day += timedelta(days=1)
    return None


def beginnings(rule: Rule, zone: ZoneInfo, day: date) -> Iterator[datetime]:
    """Every instant of a day at which an allowed stretch can begin: where a window opens, and where the clock is put forward or back."""
    midnight = datetime.combine(day, time(0), zone)
    for begin, _ in rule(day):
        opens = midnight.replace(hour=begin // 60, minute=begin % 60)
        yield opens.astimezone(UTC)
        yield opens.replace(fold=1).astimezone(UTC)
    changed = change_between(zone, midnight.astimezone(UTC) - HOUR, midnight.astimezone(UTC) + timedelta(hours=26))
    if changed is not None:
        yield changed


def change_between(zone: ZoneInfo, low: datetime, high: datetime) -> datetime | None:
    """The minute from which a zone's offset is another one, if it differs at the two ends."""
    before = low.astimezone(zone).utcoffset()
    if high.astimezone(zone).utcoffset() == before:
        return None
    while high - low > MINUTE:
        middle = low + (high - low) // MINUTE // 2 * MINUTE
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high

"""The tools that tell time: the tenant's local time, what a phrase means, when it is open."""

from datetime import date, datetime, time, timedelta
from typing import Any

from messaging.acceptance import BadText
from runtime import clock
from tenants import hours
from tenants.hours import Hours
from tenants.opening_hours import DAY_MINUTES, minutes
from tenants.snapshot import Snapshot
from webhooks.answers import spoken_time
from webhooks.dates import spoken
from webhooks.dates.resolve import Resolved, resolve
from webhooks.dates.unclear import BadPhrase
from webhooks.prepared import Prepared, Speaking, text_argument

NO_HOURS = "The opening hours of this business are not known here."


def current_time(tenant: Snapshot, _speaking: Speaking, _given: dict[str, Any]) -> Prepared:
    """`current_time {}`: the tenant's local time."""
    now = clock.now()
    return Prepared(
        result=f"It is {spoken_time(now, tenant.zone)} ({tenant.zone.key}, {now.astimezone(tenant.zone).isoformat(timespec='minutes')})."
    )


def resolve_date(tenant: Snapshot, speaking: Speaking, given: dict[str, Any]) -> Prepared:
    """`resolve_date {phrase}`: the date or the instant that a phrase means, seen from when it was said."""
    try:
        return Prepared(result=resolve(text_argument(given, "phrase", None), tenant.zone, speaking.moment).said)
    except (BadPhrase, BadText) as error:
        return Prepared(error=str(error))


def opening_hours(tenant: Snapshot, speaking: Speaking, given: dict[str, Any]) -> Prepared:
    """`opening_hours {day?}`: whether it is open now, or when on a day, or whether at a time; `phrase` is another name of `day`."""
    if tenant.hours is None:
        return Prepared(error=NO_HOURS, final=False)
    asked = given.get("day") or given.get("phrase")
    if asked is None or asked == "":
        return Prepared(result=now_told(tenant.hours, tenant, speaking.moment))
    if not isinstance(asked, str):
        return Prepared(error="The argument day should be text.")
    try:
        found = resolve(asked, tenant.zone, speaking.moment, today_counts=True)
    except BadPhrase as error:
        return Prepared(error=str(error))
    return Prepared(result=told(tenant.hours, tenant, found))


def now_told(known: Hours, tenant: Snapshot, moment: datetime) -> str:
    """Whether it is open now, today's hours, and when it opens next."""
    today = moment.astimezone(tenant.zone).date()
    is_open = hours.open_at(known, tenant.zone, moment)
    state = f"Open now{until(known, tenant, moment)}." if is_open else "Closed now."
    return f"{state} Today, {spoken.day(today)}: {day_told(known, today)}." + ("" if is_open else next_told(known, tenant, moment))


def told(known: Hours, tenant: Snapshot, found: Resolved) -> str:
    """The hours of a day, or whether it is open at an instant."""
    if found.at is None:
        closed = not known.of(found.day)
        midnight = hours.instant(found.day, hours.wall_time("00:00"), tenant.zone)
        return f"{spoken.day(found.day)}: {day_told(known, found.day)}." + (next_told(known, tenant, midnight) if closed else "")
    is_open = hours.open_at(known, tenant.zone, found.at)
    state = f"open{until(known, tenant, found.at)}" if is_open else f"closed; that day: {day_told(known, found.day)}"
    return f"{spoken_time(found.at, tenant.zone)}: {state}." + ("" if is_open else next_told(known, tenant, found.at))


def until(known: Hours, tenant: Snapshot, moment: datetime) -> str:
    """When it closes after a moment at which it is open."""
    ends = hours.open_until(known, tenant.zone, moment)
    if ends is None:
        return ", around the clock"
    days = (ends.date() - moment.astimezone(tenant.zone).date()).days
    on = "" if days == 0 else f" on {ends:%A}" if days < len(hours.DAYS) else f" on {spoken.day(ends)}"
    return f" until {spoken.clock(ends)}{on}"


def day_told(known: Hours, day: date) -> str:
    """The hours of a day in its own wall time."""
    told = [span_told(*each) for each in on_the_wall(known, day)]
    if not known.of(day):
        return f"{told[0]}, then closed" if told else "closed all day"
    return " and ".join(told)


def span_told(begin: int, end: int) -> str:
    """A span of a day, in minutes after its midnight; one that began earlier by its end."""
    opens, closes = (spoken.clock(time(each // 60 % 24, each % 60)) for each in (begin, end))
    if begin <= 0 and end >= DAY_MINUTES:
        return "open all day"
    return f"until {closes} from the day before" if begin < 0 else f"{opens} to {closes}"


def on_the_wall(known: Hours, day: date) -> list[tuple[int, int]]:
    """A day's spans in minutes after its midnight, with what reaches into it from the day before; those that touch are one."""
    joined: list[tuple[int, int]] = []
    before = ((begin - DAY_MINUTES, end - DAY_MINUTES) for begin, end in map(minutes, known.of(day - timedelta(days=1))))
    for begin, end in sorted([*(each for each in before if each[1] > 0), *map(minutes, known.of(day))]):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((begin, end))
    return joined


def next_told(known: Hours, tenant: Snapshot, moment: datetime) -> str:
    """When it opens next."""
    opens = hours.next_opening(known, tenant.zone, moment)
    return "" if opens is None else f" Opens next on {spoken_time(opens, tenant.zone)}."

"""The tools that tell time: the tenant's local time, what a phrase means, when it is open."""

from datetime import date, datetime, timedelta
from typing import Any

from messaging.acceptance import BadText
from runtime import clock
from tenants import hours
from tenants.hours import Hours
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
    """When the span that holds the moment ends."""
    day = moment.astimezone(tenant.zone).date()
    around = [*hours.spans(known, tenant.zone, day - timedelta(days=1)), *hours.spans(known, tenant.zone, day)]
    ends = max(closes for opens, closes in around if opens <= moment < closes).astimezone(tenant.zone)
    return f" until {spoken.clock(ends)}" + ("" if ends.date() == day else f" on {ends:%A}")


def day_told(known: Hours, day: date) -> str:
    """The hours of a day in its own wall time."""
    spans = sorted(known.of(day), key=lambda span: span.opens)
    told = [f"{spoken.clock(hours.wall_time(each.opens))} to {spoken.clock(hours.wall_time(each.closes))}" for each in spans]
    return " and ".join(told) if told else "closed all day"


def next_told(known: Hours, tenant: Snapshot, moment: datetime) -> str:
    """When it opens next."""
    opens = hours.next_opening(known, tenant.zone, moment)
    return "" if opens is None else f" Opens next on {spoken_time(opens, tenant.zone)}."

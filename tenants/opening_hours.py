"""When a tenant is open: checked, kept, and changed with an entry in the audit trail."""

import re
from collections.abc import Iterator, Sequence
from datetime import date, timedelta

import msgspec
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.ids import TenantId
from runtime.refusals import Invalid
from tenants import audit
from tenants.hours import DAYS, Hours, Span
from tenants.tables import opening_hours

NAME = "default"  # a tenant has one place today
MOST_SPANS, MOST_DAYS = 8, 400  # of a day; with hours of their own: a year and a month
OPENS, CLOSES = re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII), re.compile(r"(([01]\d|2[0-3]):[0-5]\d|24:00)", re.ASCII)
DAY_MINUTES = 24 * 60

Mistake = tuple[str, str]


async def read(connection: AsyncConnection, tenant: TenantId) -> Hours:
    """A tenant's opening hours; empty ones while nobody has said any."""
    query = select(opening_hours.c.hours).where(opening_hours.c.tenant_id == tenant, opening_hours.c.name == NAME)
    found = (await connection.execute(query)).scalar_one_or_none()
    return Hours() if found is None else msgspec.convert(found, Hours)


async def change(connection: AsyncConnection, tenant: TenantId, actor: str, wanted: Hours) -> None:
    """Set all of them; empty ones mean that they are not known.

    Raises:
        Invalid: with every place that cannot be.
    """
    check(wanted)
    values = {"hours": msgspec.to_builtins(wanted), "updated_at": text("app.now()")}
    query = insert(opening_hours).values(tenant_id=tenant, name=NAME, **values)
    await connection.execute(query.on_conflict_do_update(index_elements=["tenant_id", "name"], set_=values))
    await audit.record(connection, actor, "opening_hours.changed", tenant, None, week=sorted(wanted.week), days=len(wanted.days))


def check(wanted: Hours, under: str = "") -> None:
    """Every place by itself, all mistakes told at once; what overlaps is looked for where every time is one. `under`: their pointer.

    Raises:
        Invalid: one or more cannot be.
    """
    wrong = [*unknown_days(wanted)]
    for pointer, spans in listed(wanted):
        wrong += wrong_spans(pointer, spans)
    wrong = wrong or [*overlaps(wanted)]
    if wrong:
        raise Invalid("The request is not valid.", [(f"{under}{pointer}", detail) for pointer, detail in wrong])


def listed(wanted: Hours) -> Iterator[tuple[str, Sequence[Span]]]:
    """Every day's spans with the pointer of the day."""
    yield from ((f"/week/{name}", spans) for name, spans in wanted.week.items())
    yield from ((f"/days/{name}", spans) for name, spans in wanted.days.items())


def unknown_days(wanted: Hours) -> Iterator[Mistake]:
    """Names that are no day of the week, and dates that are in no calendar."""
    for name in wanted.week:
        if name not in DAYS:
            yield f"/week/{escaped(name)}", f"There is no such day of the week; they are {', '.join(DAYS)}."
    if len(wanted.days) > MOST_DAYS:
        yield "/days", f"At most {MOST_DAYS} days can have hours of their own."
    for name in wanted.days:
        if day_of(name) is None:
            yield f"/days/{escaped(name)}", "This is no date such as 2026-12-24."


def wrong_spans(pointer: str, spans: Sequence[Span]) -> Iterator[Mistake]:
    """Times that are none."""
    if len(spans) > MOST_SPANS:
        yield pointer, f"A day has at most {MOST_SPANS} spans."
    for place, span in enumerate(spans):
        if not OPENS.fullmatch(span.opens):
            yield f"{pointer}/{place}/opens", "This is no time such as 09:00, from 00:00 to 23:59."
        if not CLOSES.fullmatch(span.closes):
            yield f"{pointer}/{place}/closes", "This is no time such as 17:00, from 00:00 to 24:00."
        if span.opens == span.closes:
            yield f"{pointer}/{place}/closes", "It closes when it opens; a whole day is 00:00 to 24:00."


def overlaps(wanted: Hours) -> Iterator[Mistake]:
    """Spans that begin before another one of their day, or of the day before, has ended."""
    for place, name in enumerate(DAYS):
        before = wanted.week.get(DAYS[place - 1], ())
        yield from overlapping(f"/week/{name}", wanted.week.get(name, ()), before)
    for name in wanted.days:
        day = date.fromisoformat(name)
        yield from overlapping(f"/days/{name}", wanted.of(day), around(wanted, day, -1))
        following = around(wanted, day, 1)
        if [*overlapping("", following, wanted.of(day))] and not [*overlapping("", following, ())]:
            yield f"/days/{name}", "Its hours reach into those of the day after."


def around(wanted: Hours, day: date, days: int) -> Sequence[Span]:
    """The spans of a neighbouring day; the calendar's first and last day have one neighbour."""
    try:
        return wanted.of(day + timedelta(days=days))
    except OverflowError:
        return ()


def overlapping(pointer: str, spans: Sequence[Span], before: Sequence[Span]) -> Iterator[Mistake]:
    """The spans of a day that begin too early, after those of the day before."""
    ends = max((end - DAY_MINUTES for _, end in map(minutes, before)), default=0)
    for place, (begin, end) in sorted(enumerate(map(minutes, spans)), key=lambda each: each[1]):
        if begin < ends:
            yield f"{pointer}/{place}", "This begins before another span has ended."
        ends = max(ends, end)


def minutes(span: Span) -> tuple[int, int]:
    """Begin and end in minutes after the day's midnight, as the clock on the wall counts."""
    begin, end = (int(text[:2]) * 60 + int(text[3:]) for text in (span.opens, span.closes))
    return begin, end if end > begin else end + DAY_MINUTES


def day_of(name: str) -> date | None:
    """The date that a name is, written in full."""
    try:
        found = date.fromisoformat(name)
    except ValueError:
        return None
    return found if found.isoformat() == name else None


def escaped(name: str) -> str:
    """A name as a part of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")

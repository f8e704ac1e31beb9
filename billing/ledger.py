"""The ledger: append-only usage events, unique for ever by tenant, meter and source id.

An event is written in the transaction of the effect it counts, so that both happen or neither does; the SQL functions of
ingest and dispatch write theirs the same way. Nothing is updated or deleted (the application's role may not): a correction is
an event of its own, with a source id that adds to the first (`message:{id}:final`).
"""

from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import func, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.meters import METERS
from billing.tables import usage_events
from runtime.ids import TenantId

REVERSAL = ":reversal"


class UnknownUsage(LookupError):
    """There is no such usage event."""


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """Something that happened and counts.

    `source_id` names the effect (`call:{id}`), the same in every redelivery; `quantity` is in the meter's unit, negative in a
    correction; `occurred_at` decides the period.
    """

    meter: str
    source_id: str
    quantity: Decimal
    occurred_at: datetime


async def record(connection: AsyncConnection, tenant: TenantId, event: UsageEvent) -> bool:
    """Write a usage event in the transaction of its effect; False, and nothing changes, if its source was counted on its meter before.

    Raises:
        ValueError: the meter is unknown or the quantity is no number.
    """
    if event.meter not in METERS:
        raise ValueError(f"unknown meter {event.meter!r}")
    if not event.quantity.is_finite():
        raise ValueError(f"a quantity of {event.quantity} cannot be billed")
    row = {"tenant_id": tenant, **asdict(event)}
    written = await connection.execute(insert(usage_events).values(row).on_conflict_do_nothing().returning(usage_events.c.source_id))
    return written.first() is not None


async def reverse(connection: AsyncConnection, tenant: TenantId, meter: str, source_id: str) -> bool:
    """Take one event back, once, by a negative event dated like it; False if that was done before.

    Raises:
        UnknownUsage: this source was never counted on this meter.
    """
    columns = usage_events.c
    original = await connection.execute(
        select(columns.quantity, columns.occurred_at).where(
            columns.tenant_id == tenant, columns.meter == meter, columns.source_id == source_id
        )
    )
    row = original.first()
    if row is None:
        raise UnknownUsage(f"{meter} {source_id}")
    return await record(connection, tenant, UsageEvent(meter, source_id + REVERSAL, row.quantity.copy_negate(), row.occurred_at))


async def totals_by_meter(connection: AsyncConnection, tenant: TenantId, since: datetime, until: datetime) -> dict[str, Decimal]:
    """What each meter counted in `[since, until)`, by when it happened; a meter without events is absent."""
    columns = usage_events.c
    rows = await connection.execute(
        select(columns.meter, func.sum(columns.quantity).label("quantity"))
        .where(columns.tenant_id == tenant, columns.occurred_at >= since, columns.occurred_at < until)
        .group_by(columns.meter)
    )
    return {row.meter: row.quantity for row in rows}


async def totals_by_day(
    connection: AsyncConnection, tenant: TenantId, since: datetime, until: datetime, timezone: str
) -> dict[tuple[str, str], Decimal]:
    """As `totals_by_meter`, by (day, meter): the date in a zone, `2026-03-31`."""
    columns = usage_events.c
    day = func.to_char(func.timezone(literal(timezone), columns.occurred_at), literal("YYYY-MM-DD")).label("day")
    rows = await connection.execute(
        select(day, columns.meter, func.sum(columns.quantity).label("quantity"))
        .where(columns.tenant_id == tenant, columns.occurred_at >= since, columns.occurred_at < until)
        .group_by("day", columns.meter)
    )
    return {(row.day, row.meter): row.quantity for row in rows}

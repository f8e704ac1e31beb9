"""A tenant's own hours for texts, stricter than the law's: checked, kept, and changed with an entry in the audit trail."""

from typing import Annotated, Literal

import msgspec
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.ids import TenantId
from runtime.refusals import Invalid
from tenants import audit, opening_hours
from tenants.hours import Hours
from tenants.tables import quiet_hours

NAME = "default"
Held = Literal["transactional", "marketing"]


class QuietHours(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`hours`: when texts of these `classes` may leave, in the recipient's wall time; empty ones add nothing to the law's."""

    hours: Hours = msgspec.field(default_factory=Hours)
    classes: Annotated[tuple[Held, ...], msgspec.Meta(min_length=1, examples=[["marketing"]])] = ("marketing",)


async def read(connection: AsyncConnection, tenant: TenantId) -> QuietHours:
    """A tenant's own hours; empty ones while nobody has said any."""
    query = select(quiet_hours.c.setting).where(quiet_hours.c.tenant_id == tenant, quiet_hours.c.name == NAME)
    found = (await connection.execute(query)).scalar_one_or_none()
    return QuietHours() if found is None else msgspec.convert(found, QuietHours)


async def change(connection: AsyncConnection, tenant: TenantId, actor: str, wanted: QuietHours) -> None:
    """Set all of them; empty ones take them back.

    Raises:
        Invalid: with every place that cannot be.
    """
    check(wanted)
    values = {"setting": msgspec.to_builtins(wanted), "updated_at": text("app.now()")}
    query = insert(quiet_hours).values(tenant_id=tenant, name=NAME, **values)
    await connection.execute(query.on_conflict_do_update(index_elements=["tenant_id", "name"], set_=values))
    said = {"week": sorted(wanted.hours.week), "days": len(wanted.hours.days), "classes": sorted(set(wanted.classes))}
    await audit.record(connection, actor, "quiet_hours.changed", tenant, None, **said)


def check(wanted: QuietHours) -> None:
    """Hours as opening hours are checked; and a week in which something may leave, since a text is put off, never refused.

    Raises:
        Invalid: they cannot be.
    """
    opening_hours.check(wanted.hours, "/hours")
    if (wanted.hours.week or wanted.hours.days) and not any(wanted.hours.week.values()):
        raise Invalid.at("/hours/week", "In these hours no text could ever leave; name a day with a span, or none at all.")

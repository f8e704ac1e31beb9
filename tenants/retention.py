"""How long a tenant's idempotency keys and kept bodies live, and whose bodies are kept."""

from typing import Any
from uuid import UUID

from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.refusals import Invalid, NotFound
from tenants import audit
from tenants.tables import tenants

SHORTEST_HOURS, LONGEST_HOURS = 72, 8_784  # a weekend with its retries; a leap year
HOURS_OF_A_DAY = 24
BODY_CLASSES = (7, 30, 90)
CAPTURES = ("failures", "all")


async def read(connection: AsyncConnection, tenant: UUID) -> dict[str, Any]:
    """A tenant's retention: keys_hours, bodies_days, capture.

    Raises:
        NotFound: there is no such tenant.
    """
    query = select(tenants.c.keys_hours, tenants.c.bodies_days, tenants.c.capture).where(tenants.c.id == tenant)
    found = (await connection.execute(query)).mappings().one_or_none()
    if found is None:
        raise NotFound("tenant")
    return dict(found)


async def change(connection: AsyncConnection, tenant: UUID, actor: str, *, keys_hours: int, bodies_days: int, capture: str) -> None:
    """Set all three. Keys already there follow at the next clean-up; bodies already kept stay in the class they were kept in.

    Raises:
        Invalid: a value that cannot be.
        NotFound: there is no such tenant.
    """
    check(keys_hours, bodies_days, capture)
    wanted = {"keys_hours": keys_hours, "bodies_days": bodies_days, "capture": capture}
    changed = await connection.execute(update(tenants).where(tenants.c.id == tenant).values(**wanted, updated_at=text("app.now()")))
    if changed.rowcount == 0:
        raise NotFound("tenant")
    await audit.record(connection, actor, "retention.changed", tenant, None, **wanted)


def check(keys_hours: int, bodies_days: int, capture: str) -> None:
    """Every value by itself and bodies beside keys, all mistakes told at once.

    Raises:
        Invalid: one or more cannot be.
    """
    wrong: list[tuple[str, str]] = []
    if keys_hours < SHORTEST_HOURS:
        wrong.append(("/keys_hours", f"Keys are kept at least {SHORTEST_HOURS} hours: a retry that came later would be taken for new."))
    if keys_hours > LONGEST_HOURS:
        wrong.append(("/keys_hours", f"Keys are kept at most {LONGEST_HOURS} hours, a year."))
    if bodies_days not in BODY_CLASSES:
        wrong.append(("/bodies_days", "Bodies are kept for 7, 30 or 90 days."))
    elif bodies_days * HOURS_OF_A_DAY > keys_hours:
        wrong.append(("/bodies_days", outliving(bodies_days)))
    if capture not in CAPTURES:
        wrong.append(("/capture", "Bodies are kept of failures or of all."))
    if wrong:
        raise Invalid("The request is not valid.", wrong)


def outliving(bodies_days: int) -> str:
    """Why bodies cannot outlive their keys, and what to do: a call's bodies are found, and forgotten, through its keys."""
    hours = bodies_days * HOURS_OF_A_DAY
    return (
        f"Bodies kept for {bodies_days} days need keys_hours of at least {hours}: through its keys a call's bodies are forgotten with it."
    )

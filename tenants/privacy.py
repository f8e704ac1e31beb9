"""What a tenant keeps of the people on the phone: their number and what was said."""

from typing import Literal
from uuid import UUID

import msgspec
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.refusals import NotFound
from tenants import audit
from tenants.tables import tenants

Customer = Literal["encrypted", "masked", "none"]
SETTLED = text("app.now() + interval '10 seconds'")  # by then every process works by the new setting


class Privacy(msgspec.Struct, frozen=True):
    """Kept of each call: the customer's number sealed, its last four digits or nothing of it; transcript; summary."""

    customer: Customer = "masked"
    transcripts: bool = False
    summaries: bool = False


MASKED = Privacy()  # what a new tenant has


async def read(connection: AsyncConnection, tenant: UUID) -> Privacy:
    """A tenant's setting.

    Raises:
        NotFound: there is no such tenant.
    """
    found = (await connection.execute(select(tenants.c.privacy).where(tenants.c.id == tenant))).scalar_one_or_none()
    if found is None:
        raise NotFound("tenant")
    return msgspec.convert(found, Privacy)


async def change(connection: AsyncConnection, tenant: UUID, actor: str, wanted: Privacy, *, forget_kept: bool) -> None:
    """Set it, for what comes from now on; with `forget_kept` the next clean-up also forgets what was kept and is not to be kept any more.

    Raises:
        NotFound: there is no such tenant.
    """
    values = msgspec.structs.asdict(wanted)
    forgets = {"forget_from": SETTLED} if forget_kept else {}
    changed = await connection.execute(
        update(tenants).where(tenants.c.id == tenant).values(privacy=values, updated_at=text("app.now()"), **forgets)
    )
    if changed.rowcount == 0:
        raise NotFound("tenant")
    await audit.record(connection, actor, "privacy.changed", tenant, None, **values, forget_kept=forget_kept)

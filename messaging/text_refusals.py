"""Texts that the policy refused, read back: the list, and how many for which reason."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import RowMapping, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from messaging.tables import text_refusals
from runtime.ids import TenantId

COUNTED = timedelta(days=30)  # as long as they are kept


async def newest(
    connection: AsyncConnection, tenant: TenantId, call_id: str | None, before: UUID | None, limit: int
) -> Sequence[RowMapping]:
    """The newest first, those of one call if it is named."""
    query = select(text_refusals).where(text_refusals.c.tenant_id == tenant)
    if call_id is not None:
        query = query.where(text_refusals.c.call_id == call_id)
    if before is not None:
        query = query.where(text_refusals.c.id < before)
    return (await connection.execute(query.order_by(text_refusals.c.id.desc()).limit(limit))).mappings().all()


async def counts(connection: AsyncConnection, tenant: TenantId) -> dict[str, int]:
    """By reason, of the last 30 days; a reason that refused nothing is left out."""
    recent = text_refusals.c.at > func.app.now() - COUNTED
    query = select(text_refusals.c.reason, func.count()).where(text_refusals.c.tenant_id == tenant, recent)
    return {row[0]: row[1] for row in (await connection.execute(query.group_by(text_refusals.c.reason))).all()}

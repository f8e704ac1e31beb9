"""The audit trail: who changed what, append-only, without secrets and customer data."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.ids import uuid7
from tenants.tables import audit


async def record(
    connection: AsyncConnection, actor: str, action: str, tenant: UUID | None, target: str | None = None, **detail: object
) -> None:
    """Note one change in the transaction that makes it; `actor` is "admin", "key:{id}" or "duty:{name}"."""
    await connection.execute(
        insert(audit).values(id=uuid7(), actor=actor, action=action, tenant_id=tenant, target=target, detail=detail),
    )


async def entries(connection: AsyncConnection, tenant: UUID | None, before: UUID | None, limit: int) -> list[dict[str, Any]]:
    """The newest entries first, of one tenant or of all."""
    query = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if tenant is not None:
        query = query.where(audit.c.tenant_id == tenant)
    if before is not None:
        query = query.where(audit.c.id < before)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


def at(entry: dict[str, Any]) -> datetime:
    """When an entry was made."""
    moment: datetime = entry["at"]
    return moment

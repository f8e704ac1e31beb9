"""How long a tenant's queue may become: read, and set by the operator."""

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.ids import TenantId
from tenants import audit
from tenants.tables import queue_bounds
from tenants.waiting import QueueBounds


async def read(connection: AsyncConnection, tenant: TenantId) -> QueueBounds:
    """A tenant's bounds; those of everybody while the operator has set none."""
    c = queue_bounds.c
    row = (
        (await connection.execute(select(c.most_messages, c.most_seconds, c.policy).where(c.tenant_id == tenant))).mappings().one_or_none()
    )
    return QueueBounds(**row) if row else QueueBounds()


async def change(connection: AsyncConnection, tenant: TenantId, actor: str, wanted: QueueBounds) -> None:
    """Set all of them."""
    values = {"most_messages": wanted.most_messages, "most_seconds": wanted.most_seconds, "policy": wanted.policy}
    query = insert(queue_bounds).values(tenant_id=tenant, **values)
    changed = query.on_conflict_do_update(index_elements=["tenant_id"], set_={**values, "updated_at": text("app.now()")})
    await connection.execute(changed)
    await audit.record(connection, actor, "queue_bounds.changed", tenant, None, **values)

"""Clean-up: idempotency keys whose retention is over leave in small batches, so that no lock of ingest's is ever waited for."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text

from runtime.database import Database
from runtime.ids import TenantId

RETENTION = timedelta(days=30)
SHORTEST = timedelta(hours=72)  # Vapi's retries of a weekend end within it
BATCH = 2_000

# webhook ids are ordered by time (RFC 9562), so the index on them finds what is old
REMOVE = text("""
DELETE FROM processed_webhooks WHERE tenant_id = :tenant AND key IN (
  SELECT key FROM processed_webhooks WHERE tenant_id = :tenant AND webhook_id < :before AND received_at < :cutoff LIMIT :batch)
""")
COUNT = text("SELECT count(*) FROM processed_webhooks WHERE tenant_id = :tenant AND webhook_id < :before AND received_at < :cutoff")
TENANTS = text("SELECT id FROM control.tenants ORDER BY id")
NOW = text("SELECT app.now()")


async def clean_up(database: Database, retention: timedelta = RETENTION, *, dry_run: bool = False) -> dict[TenantId, int]:
    """Remove (or with `dry_run` count) the keys that are older than the retention; answers how many by tenant.

    Raises:
        ValueError: the retention is shorter than retries may come.
    """
    if retention < SHORTEST:
        raise ValueError(f"Keys are kept at least {SHORTEST}: a later retry would be taken for new.")
    async with database.unscoped() as connection:  # unscoped: the list of tenants stands in the schema control
        cutoff: datetime = (await connection.execute(NOW)).scalar_one() - retention
        tenants = [TenantId(tenant) for tenant in (await connection.execute(TENANTS)).scalars()]
    return {tenant: await clean_up_tenant(database, tenant, cutoff, dry_run=dry_run) for tenant in tenants}


async def clean_up_tenant(database: Database, tenant: TenantId, cutoff: datetime, *, dry_run: bool) -> int:
    """One tenant's expired keys, a batch in a transaction."""
    values = {"tenant": tenant, "before": first_id_at(cutoff), "cutoff": cutoff, "batch": BATCH}
    if dry_run:
        async with database.tenant_scope(tenant) as connection:
            counted: int = (await connection.execute(COUNT, values)).scalar_one()
            return counted
    removed = 0
    while True:
        async with database.tenant_scope(tenant) as connection:
            batch = (await connection.execute(REMOVE, values)).rowcount
        removed += batch
        if batch < BATCH:
            return removed


def first_id_at(moment: datetime) -> UUID:
    """The smallest UUIDv7 of a moment."""
    return UUID(int=int(moment.timestamp() * 1000) << 80 | 0x7 << 76 | 0x2 << 62)

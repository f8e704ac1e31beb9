"""What a tenant's rows say, seen as the owner's role: tests count effects, not calls."""

import asyncpg

from tests.api.people import Tenant

TABLES = ("processed_webhooks", "calls", "messages", "message_events", "opt_outs", "usage_events")


class Effects:
    """The rows of tenants."""

    def __init__(self, owner: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.owner = owner

    async def rows(self, tenant: Tenant, table: str) -> list[asyncpg.Record]:
        """A tenant's rows of one table."""
        assert table in TABLES
        found: list[asyncpg.Record] = await self.owner.fetch(f"SELECT t.* FROM {table} AS t WHERE tenant_id = $1", tenant.id)
        return found

    async def count(self, tenant: Tenant, table: str) -> int:
        return len(await self.rows(tenant, table))

    async def counts(self, tenant: Tenant) -> dict[str, int]:
        """How many rows each table has; tables without one are left out."""
        counted = {table: await self.count(tenant, table) for table in TABLES}
        return {table: number for table, number in counted.items() if number}

    async def usage(self, tenant: Tenant) -> dict[str, tuple[int, float]]:
        """By meter: how many events, and their sum."""
        query = "SELECT meter, count(*), sum(quantity) FROM usage_events WHERE tenant_id = $1 GROUP BY meter"
        return {row[0]: (row[1], float(row[2])) for row in await self.owner.fetch(query, tenant.id)}

    async def arrivals(self, tenant: Tenant) -> int:
        """Segments that the schedule was told of."""
        told: int = await self.owner.fetchval("SELECT coalesce(sum(segments), 0) FROM control.arrivals WHERE tenant_id = $1", tenant.id)
        return told

    async def everything(self, tenant: Tenant) -> str:
        """All of a tenant's rows as text, to look for what should not be there."""
        found = []
        for table in TABLES:
            query = f"SELECT to_jsonb(t)::text FROM {table} AS t WHERE tenant_id = $1"
            found += [row[0] for row in await self.owner.fetch(query, tenant.id)]
        return "\n".join(found)

"""The database's health in numbers: sizes, rows, dead rows, the oldest and the newest key, keys by tenant. What is an estimate says so."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text

from runtime import clock
from runtime.database import Database

MOST_TENANTS = 20
TENANTS_AT_ONCE = 200
LAGS_AFTER = timedelta(hours=24)  # beyond its retention: the hourly clean-up did not come by
DEAD_SHARE, FEW_DEAD = 0.2, 50_000

# rows are as of the last ANALYZE or VACUUM, dead rows as the statistics count them
TABLES_THERE = text("""
SELECT c.relname AS name, pg_total_relation_size(c.oid) AS bytes, greatest(c.reltuples, 0)::bigint AS rows_estimate,
       coalesce(s.n_dead_tup, 0) AS dead_rows, greatest(s.last_vacuum, s.last_autovacuum) AS last_vacuum
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace LEFT JOIN pg_stat_all_tables AS s ON s.relid = c.oid
WHERE n.nspname IN ('public', 'control') AND c.relkind = 'r' AND NOT c.relispartition ORDER BY bytes DESC, name
""")
BODIES = text("SELECT count(*) AS days, coalesce(sum(bytes), 0)::bigint AS bytes, min(kept_on) AS oldest FROM app.body_days_v1()")
TENANTS = text("SELECT id, slug FROM control.tenants ORDER BY id")
COUNTS = """
SELECT tenant_id, estimate, oldest, newest, oldest < app.now() - make_interval(hours => keys_hours) - $2::interval AS lags
FROM app.key_counts_v1($1)
"""


async def health_of(database: Database) -> dict[str, Any]:
    """{tables: [{name, bytes, rows_estimate, dead_rows, last_vacuum, bloated}], bodies: {…}, keys: {oldest, newest, by_tenant}}."""
    async with database.unscoped() as connection:  # unscoped: the catalogue and the list of tenants hold no rows of tenants
        tables = [shown_table(dict(row)) for row in (await connection.execute(TABLES_THERE)).mappings()]
        bodies = dict((await connection.execute(BODIES)).mappings().one())
        slugs = {row.id: row.slug for row in await connection.execute(TENANTS)}
    bodies["oldest"] = bodies["oldest"] and bodies["oldest"].isoformat()
    return {"tables": tables, "bodies": bodies, "keys": await keys_of(database, slugs)}


def shown_table(row: dict[str, Any]) -> dict[str, Any]:
    """A table as JSON, and whether too much of it is dead."""
    dead = row["dead_rows"]
    return {
        **row,
        "last_vacuum": shown(row["last_vacuum"]),
        "bloated": dead > FEW_DEAD and dead > DEAD_SHARE * (row["rows_estimate"] + dead),
    }


async def keys_of(database: Database, slugs: dict[Any, str]) -> dict[str, Any]:
    """Idempotency keys: the oldest and the newest of all, and by tenant the twenty with most; each tenant is asked in its own scope."""
    ids, rows = list(slugs), list[Any]()
    for start in range(0, len(ids), TENANTS_AT_ONCE):
        rows += await database.call_for_many(COUNTS, ids[start : start + TENANTS_AT_ONCE], LAGS_AFTER)
    rows = sorted((row for row in rows if row["oldest"] is not None), key=lambda row: (not row["lags"], -row["estimate"]))
    largest = sorted(rows, key=lambda row: -row["estimate"])[:MOST_TENANTS]
    listed = [*largest, *(row for row in rows if row["lags"] and row not in largest)][:MOST_TENANTS]
    return {
        "oldest": shown(min((row["oldest"] for row in rows), default=None)),
        "newest": shown(max((row["newest"] for row in rows), default=None)),
        "tenants_with_keys": len(rows),
        "by_tenant": [
            {
                "tenant_id": str(row["tenant_id"]),
                "slug": slugs[row["tenant_id"]],
                "keys_estimate": row["estimate"],
                "oldest": shown(row["oldest"]),
                "newest": shown(row["newest"]),
                "lags": row["lags"],
            }
            for row in listed
        ],
    }


def shown(moment: datetime | None) -> str | None:
    """An instant as the contract writes it."""
    return None if moment is None else clock.rfc3339(moment)

"""Millions of idempotency keys and thousands of kept bodies, made by PostgreSQL itself, as wide as real ones."""

import asyncio
from collections.abc import Sequence

import asyncpg

from benchmarks import databases

TENANTS = 8
OLD_HOURS, KEPT_HOURS = 200, 72
BODY_BYTES = 5_000

# what ON CONFLICT and the readers need; made again after a fill, since building an index is quicker than growing it
INDEXES = """
SELECT coalesce(string_agg(pg_get_indexdef(indexrelid), ';'), '') FROM pg_index
WHERE indrelid = 'processed_webhooks'::regclass AND NOT indisprimary"""
NAMES = "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'processed_webhooks'::regclass AND NOT indisprimary"
MAKE_TENANTS = """
INSERT INTO control.tenants (id, slug, name, timezone, plan, keys_hours)
SELECT app.first_id_at(app.now() + n * interval '1 ms'), 'filled-' || n, 'Filled', 'UTC', 'standard', $2
FROM generate_series(1, $1::int) AS n
RETURNING id"""
# one tenant's rows, made once and copied for each; ages in hours before now, rows in the order of their time, as in life
TEMPLATE = """
CREATE UNLOGGED TABLE filled AS
SELECT decode(m.x, 'hex') AS key, decode(reverse(m.x), 'hex') AS fingerprint, m.x::uuid::text AS call_id, left(m.x, 24) AS tool_call,
       (lpad(to_hex(m.ms), 12, '0') || '7' || right(m.x, 3) || '8' || left(m.x, 15))::uuid AS webhook_id, reverse(m.x)::uuid AS message_id,
       to_timestamp(m.ms / 1000.0::float8) AS received_at
FROM (SELECT md5('{seed}' || n) AS x,
             ({now}::float8 - 3600000 * ({oldest}::float8 - ({oldest}::float8 - {newest}::float8) * n / {count}))::bigint AS ms
      FROM generate_series(1, {count}) AS n OFFSET 0) AS m"""
COPY = """
INSERT INTO processed_webhooks
  (tenant_id, key, fingerprint, webhook_id, place, source, type, state, call_id, assistant_id, tool_call_id, name, arguments, caller,
   answer, message_id, received_at)
SELECT $1, f.key, f.fingerprint, f.webhook_id, 0, 'vapi', 'tool-calls', 'done', f.call_id, '01a1f6f0-6a5a-7cc0-9c3a-4e5b6c7d8e9f',
       'call_' || f.tool_call, 'send_sms',
       '{"to":"+12135550123","body":"Your table for two is booked for Friday at seven. Reply STOP to opt out."}', '+12135550123',
       '{"toolCallId":"call_' || f.tool_call || '","name":"send_sms","result":"Queued, leaves in about 4 s."}', f.message_id, f.received_at
FROM filled AS f"""
BODIES = """
INSERT INTO webhook_bodies (tenant_id, webhook_id, kept_days, kept_on, body)
SELECT $1, md5(n::text || $5::text)::uuid, 7, $2::date, decode(md5($5::text || n), 'hex') || $3::bytea
FROM generate_series(1, $4::int) AS n"""
NOW = "CREATE OR REPLACE FUNCTION app.now() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE AS $$SELECT clock_timestamp() {}$$"


async def make_tenants(url: str) -> list[str]:
    """Tenants that keep their keys for the shortest time there is."""
    connection = await asyncpg.connect(url)
    try:
        return [row["id"] for row in await connection.fetch(MAKE_TENANTS, TENANTS, KEPT_HOURS)]
    finally:
        await connection.close()


Part = tuple[int, float, float]  # keys, and the ages in hours of the oldest and the newest


async def fill_fresh(url: str, tenants: list[str], parts: Sequence[Part]) -> None:
    """A new table: rows first, then every index at once, as dense as it gets."""
    connection = await asyncpg.connect(url)
    try:
        indexes = await connection.fetchval(INDEXES)
        for row in await connection.fetch(NAMES):
            await connection.execute(f"DROP INDEX {row[0]}")
        await connection.execute("ALTER TABLE processed_webhooks DROP CONSTRAINT processed_webhooks_pkey")
        for part in parts:
            await fill_more(url, tenants, part)
        await connection.execute(f"{indexes}; ALTER TABLE processed_webhooks ADD PRIMARY KEY (tenant_id, key)", timeout=600)
    finally:
        await connection.close()


async def fill_more(url: str, tenants: list[str], part: Part) -> None:
    """So many keys more, equally over the tenants and the hours, row by row into whatever indexes there are."""
    count, oldest, newest = part
    connection = await asyncpg.connect(url)
    try:
        now = 1000.0 * await connection.fetchval("SELECT extract(epoch FROM app.now())::float8")
        values = {"seed": f"{oldest}-{now}-", "now": now, "oldest": oldest, "newest": newest, "count": count // len(tenants)}
        await connection.execute(TEMPLATE.format(**values), timeout=600)
        await asyncio.gather(*(copy_for(url, tenants[half::2]) for half in (0, 1)))
        await connection.execute("DROP TABLE filled")
    finally:
        await connection.close()


async def copy_for(url: str, tenants: list[str]) -> None:
    """One connection's part of the tenants."""
    connection = await asyncpg.connect(url)
    try:
        for tenant in tenants:
            await connection.execute(COPY, tenant, timeout=600)
    finally:
        await connection.close()


async def fill_bodies(url: str, tenant: str, count: int, days: int, noise: bytes) -> None:
    """So many bodies of about 5 kB that nothing makes smaller, equally over the last `days` days, which are made by travelling."""
    connection = await asyncpg.connect(url)
    try:
        for ago in range(days, -1, -7):
            await connection.execute(NOW.format(f"- interval '{ago} days'"))
            await connection.execute("SELECT app.make_body_days_v1(7)")
        await connection.execute(NOW.format(""))
        await connection.execute("SELECT app.make_body_days_v1(7)")
        for ago in range(days):
            day = await connection.fetchval("SELECT app.today() - $1::int", ago)
            await connection.execute(BODIES, tenant, day, noise, count // days, str(day), timeout=300)
    finally:
        await connection.close()


async def sizes(url: str) -> dict[str, int]:
    """Bytes of the table of keys, its indexes, and of all kept bodies."""
    connection = await asyncpg.connect(url)
    try:
        row = await connection.fetchrow(
            "SELECT pg_table_size('processed_webhooks') AS heap, pg_indexes_size('processed_webhooks') AS indexes,"
            " (SELECT coalesce(sum(bytes), 0)::bigint FROM app.body_days_v1()) AS bodies"
        )
        return dict(row)
    finally:
        await connection.close()


async def vacuum(url: str) -> None:
    """As autovacuum would; a checkpoint too, so that no phase pays for what was filled."""
    await databases.execute(url, "VACUUM (ANALYZE) processed_webhooks")
    await databases.execute(url, "CHECKPOINT")

"""What stands in the database, counted as the owner's role: by whose it is and what it is."""

from collections import Counter
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import asyncpg

ROWS = {
    "claims": "SELECT tenant_id, 'claims ' || state FROM processed_webhooks",
    "messages": "SELECT tenant_id, 'messages' FROM messages",
    "canceled": "SELECT tenant_id, 'canceled' FROM messages WHERE status = 'canceled'",
    "opt-outs": "SELECT tenant_id, 'opt-outs' FROM opt_outs",
    "arrivals": "SELECT tenant_id, 'arrivals' FROM control.arrivals",
    "usage": "SELECT tenant_id, 'usage ' || meter FROM usage_events",
    "calls": "SELECT tenant_id, 'calls ' || state FROM calls",
    "bodies": "SELECT tenant_id, 'bodies' FROM webhook_bodies",
    "tools": "SELECT tenant_id, 'tools' FROM http_tools",
    "assistants": "SELECT tenant_id, 'assistants' FROM assistants",
    "tenants": "SELECT id, 'tenants' FROM control.tenants",
    "keys": "SELECT tenant_id, 'api keys' FROM control.api_keys",
    "audit": "SELECT tenant_id, 'audit ' || action FROM control.audit",
}
COUNT = f"""
SELECT CASE r.tenant_id WHEN $1 THEN 'ours' WHEN $2 THEN 'neighbour' ELSE 'others' END AS whose, r.what, count(*)
FROM ({" UNION ALL ".join(ROWS.values())}) AS r(tenant_id, what) GROUP BY 1, 2"""
AGED = """
INSERT INTO processed_webhooks (tenant_id, key, fingerprint, webhook_id, place, source, type, state, call_id, answer, received_at)
SELECT $1, decode(md5($2 || n), 'hex'), decode(md5('asked'), 'hex'), app.first_id_at(app.now() - interval '800 hours'), n,
       'vapi', 'hang', 'done', $2 || n, '{}', app.now() - interval '800 hours'
FROM generate_series(1, $3::integer) AS n"""
AT_THE_BOUNDARY = """
UPDATE processed_webhooks SET received_at = app.now() - interval '719 hours',
       webhook_id = app.first_id_at(app.now() - interval '719 hours')
WHERE tenant_id = $1 AND call_id = $2"""
FIVE_MINUTES_LATER = """
UPDATE calls SET updated_at = app.now() - interval '1 hour', look_at = NULL WHERE tenant_id = $1 AND call_id = $2 AND reported_at IS NULL"""
IS_TOLD = "SELECT reported_at IS NOT NULL FROM calls WHERE tenant_id = $1 AND call_id = $2"

Counts = Counter[tuple[str, str]]
OURS, NEIGHBOUR, OTHERS = "ours", "neighbour", "others"


class Books:
    """Looks into the database of an installation, and ages what is in it."""

    def __init__(self, owner_url: str) -> None:
        self._url = owner_url

    async def counts(self, tenant: UUID, neighbour: UUID) -> Counts:
        """How many there are, by (whose, what)."""
        connection = await asyncpg.connect(self._url)
        try:
            return Counter({(row[0], row[1]): row[2] for row in await connection.fetch(COUNT, tenant, neighbour)})
        finally:
            await connection.close()

    async def change(self, statement: str, *values: object) -> None:
        """Run a statement that makes something old."""
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute(statement, *values)
        finally:
            await connection.close()

    async def value(self, query: str, *values: object) -> Any:
        """The one value that a query gives."""
        connection = await asyncpg.connect(self._url)
        try:
            return await connection.fetchval(query, *values)
        finally:
            await connection.close()


def grown(before: Counts, after: Counts) -> dict[tuple[str, str], int]:
    """What there is more, or fewer, of."""
    return {each: after[each] - before[each] for each in {*before, *after} if after[each] != before[each]}


def differences(expected: Mapping[tuple[str, str], int], found: Mapping[tuple[str, str], int]) -> list[str]:
    """Where effects were lost or done twice: what grew otherwise than it should have."""
    return [
        f"{whose}: {what} grew by {found.get((whose, what), 0)}, expected {expected.get((whose, what), 0)}"
        for whose, what in sorted({*expected, *found})
        if found.get((whose, what), 0) != expected.get((whose, what), 0)
    ]

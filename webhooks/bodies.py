"""Bodies that are kept, without secrets and what the tenant's privacy setting does not keep: compressed, by how long and by day.

It is done outside of the claim; a failure to keep is no webhook's trouble.
"""

import asyncio
import zlib
from datetime import UTC, date, datetime
from uuid import UUID

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime import metrics
from runtime.database import Database
from runtime.ids import TenantId
from runtime.logs import log
from tenants.privacy import MASKED, Privacy
from webhooks.persistence import persistently
from webhooks.private_in_bodies import WHOLE, private_document
from webhooks.secrets_in_bodies import redacted_document

LARGEST = 8 * 1024 * 1024  # bytes of redacted JSON: more than any body that is let in
MOST_PARTS = 300_000  # objects, lists and fields of one body, twice those of a call of hours: searching more takes seconds
SMALL = 2 * 1024  # bytes: takes less time than it takes to hand over to a thread
LEVEL = 6
LAST_MILLISECOND = 253_402_300_799_000  # of the year 9999; somebody may ask for an id that is none of ours

# the day stands in the webhook's own id, so that reading looks at one day of each class; of a call that was forgotten nothing is kept, and
# one that is being forgotten is waited for
KEEP = text("""
WITH call AS MATERIALIZED (
  SELECT q.forgotten_at FROM calls AS q WHERE q.tenant_id = :tenant AND q.call_id = (
    SELECT p.call_id FROM processed_webhooks AS p
    WHERE p.tenant_id = :tenant AND p.webhook_id = :webhook AND p.source = 'vapi' ORDER BY p.place LIMIT 1)
  FOR SHARE)
INSERT INTO webhook_bodies (tenant_id, webhook_id, kept_days, kept_on, body)
SELECT :tenant, :webhook, CAST(:kept_days AS smallint), CAST(:kept_on AS date), CAST(:body AS bytea)
WHERE NOT EXISTS (SELECT 1 FROM call WHERE call.forgotten_at IS NOT NULL)
ON CONFLICT (tenant_id, webhook_id, kept_days, kept_on) DO NOTHING
""")
READ = text("""
SELECT body FROM webhook_bodies WHERE tenant_id = :tenant AND webhook_id = :webhook AND kept_on = :kept_on LIMIT 1
""")


async def keep(database: Database, tenant: TenantId, webhook_id: UUID, kept_days: int, body: bytes, privacy: Privacy = MASKED) -> None:
    """Keep a webhook's body for 7, 30 or 90 days, redacted, unless its call was forgotten.

    Raises nothing: a failure is logged and counted.
    """
    try:
        packed = pack(body, privacy) if len(body) <= SMALL else await asyncio.to_thread(pack, body, privacy)
        values = {"tenant": tenant, "webhook": webhook_id, "kept_days": kept_days, "kept_on": day_of(webhook_id), "body": packed}
        await persistently(lambda: insert(database, tenant, values))
    except Exception as error:  # noqa: BLE001  the webhook is answered all the same
        metrics.BODIES.labels("failed").inc()
        log.warning("a body could not be kept", webhook=str(webhook_id), error=type(error).__name__)
    else:
        metrics.BODIES.labels("kept").inc()


async def insert(database: Database, tenant: TenantId, values: dict[str, object]) -> None:
    """Write it, unless it is there: safe to repeat."""
    async with database.tenant_scope(tenant) as connection:
        await connection.execute(KEEP, values)


async def body_of(connection: AsyncConnection, tenant: TenantId, webhook_id: UUID) -> bytes | None:
    """The redacted JSON of a webhook, or `{"reason", "bytes"}` of one that was no JSON; None: it was not kept, or its days are over."""
    values = {"tenant": tenant, "webhook": webhook_id, "kept_on": day_of(webhook_id)}
    packed = (await connection.execute(READ, values)).scalar()
    return None if packed is None else unpack(packed)


def pack(body: bytes, privacy: Privacy = WHOLE) -> bytes:
    """The redacted body, compressed."""
    return zlib.compress(redacted(body, privacy), LEVEL)


def unpack(packed: bytes) -> bytes:
    """What was packed; never more than may have been."""
    return zlib.decompressobj().decompress(packed, LARGEST)


def redacted(body: bytes, privacy: Privacy = WHOLE) -> bytes:
    """The body as JSON without its secrets and what is not kept; what is not JSON, or endless, cannot be searched and leaves its length."""
    if sum(body.count(mark) for mark in (b"{", b"[", b":")) > MOST_PARTS:
        return left_out("too many parts", len(body))
    try:
        shown = msgspec.json.encode(private_document(redacted_document(msgspec.json.decode(body)), privacy))
    except (msgspec.DecodeError, UnicodeError):
        return left_out("not JSON", len(body))
    except RecursionError:
        return left_out("nested too deep", len(body))
    return shown if len(shown) <= LARGEST else left_out("too large", len(body))


def left_out(reason: str, length: int) -> bytes:
    """What is kept of a body that is not: why, and its length in bytes."""
    return msgspec.json.encode({"reason": reason, "bytes": length})


def day_of(webhook_id: UUID) -> date:
    """The day, in UTC, on which an id was made (RFC 9562, section 5.7: its first 48 bits are milliseconds)."""
    return datetime.fromtimestamp(min(webhook_id.int >> 80, LAST_MILLISECOND) / 1000, UTC).date()

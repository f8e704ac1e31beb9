"""A database whose clock stands before a midnight and runs on from there, and old keys at and around the end of their time."""

import uuid
from datetime import UTC, datetime, timedelta

import asyncpg

from trunkline.dev.databases import DatabaseUrls

Owner = asyncpg.Connection
KEPT = timedelta(hours=72)
FAR, NEAR = 300, 200  # keys long over, and keys whose time ends within a second around midnight
YOUNG = 100  # keys that have an hour left
OLD_TYPE = "old"

NOW = """CREATE OR REPLACE FUNCTION app.now() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE AS
$now$SELECT clock_timestamp() + interval '{seconds} seconds'$now$"""  # clock: what travels in these tests

# Who leaves, and when by the database's clock: whether a key left too early is asked of every one that did.
WATCH = """
CREATE SCHEMA watch;
CREATE TABLE watch.left_keys (tenant_id uuid, type text, received_at timestamptz, at timestamptz);
CREATE FUNCTION watch.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO watch.left_keys VALUES (OLD.tenant_id, OLD.type, OLD.received_at, app.now());
  RETURN NULL;
END $$;
CREATE TRIGGER watch AFTER DELETE ON processed_webhooks FOR EACH ROW EXECUTE FUNCTION watch.note()
"""
PUT = """
INSERT INTO processed_webhooks (tenant_id, key, fingerprint, webhook_id, place, source, type, state, answer, received_at)
VALUES ($1, $2, $2, $3, 0, 'vapi', 'old', 'done', '{}', $4)
"""


async def watch(urls: DatabaseUrls) -> None:
    """Note from now on which keys leave."""
    owner = await asyncpg.connect(urls.owner_url)
    await owner.execute(WATCH)
    await owner.close()


async def stand_before(owner: Owner, moment: datetime, seconds: float) -> None:
    """Put the database's clock so many seconds before a moment; it runs on."""
    real = await owner.fetchval("SELECT clock_timestamp()")  # clock: the distance to it is what is set
    await owner.execute(NOW.format(seconds=(moment - real).total_seconds() - seconds))


async def put_old_keys(owner: Owner, tenant: uuid.UUID, midnight: datetime) -> None:
    """Keys that are over, that end around midnight, to the millisecond, and that have an hour left."""
    end = midnight - KEPT
    moments = [end - timedelta(days=1, seconds=number) for number in range(FAR)]
    moments += [end + timedelta(milliseconds=10 * (number - NEAR // 2)) for number in range(NEAR)]
    moments += [end + timedelta(hours=1, seconds=number) for number in range(YOUNG)]
    await owner.executemany(PUT, [(tenant, uuid.uuid4().bytes, id_of(each - timedelta(days=1)), each) for each in moments])


async def faults_of_leaving(owner: Owner, tenant: uuid.UUID) -> list[str]:
    """Whether exactly the old keys left, none of them early; to be asked after a last clean-up, a second past midnight."""
    left = {row[0]: row[1] for row in await owner.fetch(LEFT, tenant)}
    stayed = await owner.fetchval("SELECT count(*) FROM processed_webhooks WHERE tenant_id = $1 AND type = $2", tenant, OLD_TYPE)
    early = await owner.fetchval(
        "SELECT count(*) FROM watch.left_keys WHERE tenant_id = $1 AND received_at >= at - $2::interval", tenant, KEPT
    )
    wrong = [f"keys left: {left}, not the {FAR + NEAR} old ones alone"] if left != {OLD_TYPE: FAR + NEAR} else []
    wrong += [f"{stayed} of {YOUNG} younger keys stayed"] if stayed != YOUNG else []
    return wrong + ([f"{early} keys left before their time"] if early else [])


EARLY = "SELECT count(*) FROM watch.left_keys WHERE tenant_id = $1 AND received_at >= at - $2::interval"
LEFT = "SELECT type, count(*) FROM watch.left_keys WHERE tenant_id = $1 GROUP BY type"


def id_of(moment: datetime) -> uuid.UUID:
    """A UUIDv7 that was made at a moment."""
    milliseconds = (moment - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)
    return uuid.UUID(int=milliseconds << 80 | uuid.uuid4().int & ((1 << 80) - 1) & ~(0xF << 76) | 0x7 << 76)

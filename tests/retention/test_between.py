"""A key may end between the claim that met it and the look for its answer: then it is claimed again, and nobody goes without."""

import asyncio

import asyncpg

from runtime.database import Database
from runtime.ids import uuid7
from tests.retention.conftest import MakeKeeper, Owner
from trunkline.dev.databases import DatabaseUrls
from webhooks.claims import Claims, Effect

FIRST, SECOND = "0a" * 16, "0b" * 16  # claimed in this order
PUT = (
    "INSERT INTO processed_webhooks (tenant_id, key, fingerprint, webhook_id, place, source, type, state, answer, received_at)"
    " VALUES ($1, decode($2, 'hex'), decode($2, 'hex'), $3, 0, 'vapi', 'tool-calls', 'done', 'old', app.now() - interval '80 hours')"
)


def effect(key: str) -> Effect:
    return Effect(webhook_id=uuid7(), place=0, source="vapi", type="tool-calls", key=key, fingerprint=key, answer="fresh")


async def test_a_key_that_ends_between_the_claim_and_the_look_is_claimed_again(
    database: Database, own_urls: DatabaseUrls, owner: Owner, make_keeper: MakeKeeper
) -> None:
    tenant, unsure = await make_keeper(), await asyncpg.connect(own_urls.owner_url)
    await owner.execute(PUT, tenant, FIRST, uuid7())
    somebody = unsure.transaction()
    await somebody.start()
    await unsure.execute(PUT, tenant, SECOND, uuid7())  # the claim of the second waits to hear what becomes of this
    claiming = asyncio.create_task(Claims(database).accept(tenant, [effect(FIRST), effect(SECOND)]))
    await asyncio.sleep(0.3)
    await owner.execute("DELETE FROM processed_webhooks WHERE tenant_id = $1 AND key = decode($2, 'hex')", tenant, FIRST)
    assert not claiming.done()
    await somebody.rollback()
    await unsure.close()
    first, second = await claiming
    assert (first.outcome, first.answer) == ("new", "fresh")
    assert second.answer == "fresh"
    assert await owner.fetchval("SELECT count(*) FROM processed_webhooks WHERE tenant_id = $1", tenant) == 2

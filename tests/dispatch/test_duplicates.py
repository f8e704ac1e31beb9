import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from redis.asyncio import Redis

from runtime.database import Database
from runtime.redis import RedisError, open_redis
from tests.dispatch.desk import Desk
from webhooks.duplicates import FOLD_FIELD, PART, TENANTS, DuplicateCounter, fold_duplicates, hash_of

Owner = asyncpg.Connection


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = open_redis(redis_url)
    await client.delete(TENANTS)
    yield client
    await client.aclose()


async def webhook(owner: Owner, desk: Desk) -> bytes:
    """A processed webhook's key."""
    key = uuid4().bytes
    await owner.execute(
        "INSERT INTO processed_webhooks (tenant_id, key, fingerprint, webhook_id, place, source, type, state, answer, received_at)"
        " VALUES ($1, $2, $2, gen_random_uuid(), 0, 'vapi', 'tool-calls', 'done', '{}', app.now())", desk.tenant, key,
    )  # fmt: skip
    return key


async def counted(owner: Owner, desk: Desk) -> list[int]:
    rows = await owner.fetch("SELECT duplicates FROM processed_webhooks WHERE tenant_id = $1 ORDER BY duplicates", desk.tenant)
    return [row[0] for row in rows]


async def test_duplicates_of_several_processes_are_added_up_for_their_own_tenant(
    desk: Desk, neighbour: Desk, redis: Redis, database: Database, owner: Owner
) -> None:
    first, second, theirs = await webhook(owner, desk), await webhook(owner, desk), await webhook(owner, neighbour)
    counters = [DuplicateCounter(redis, pause=0.01) for _ in range(3)]
    for counter in counters:
        for key in (first, first, second):
            counter.count(desk.tenant, key)
        counter.count(neighbour.tenant, first)  # nobody's there: another tenant's key
        counter.count(neighbour.tenant, theirs)
    await asyncio.gather(*(counter.close() for counter in counters))
    await fold_duplicates(database, redis)
    assert (await counted(owner, desk), await counted(owner, neighbour)) == ([3, 6], [3])
    await fold_duplicates(database, redis)  # nothing of them is left to fold; a server elsewhere in the suite may have counted some
    assert (await counted(owner, desk), await counted(owner, neighbour)) == ([3, 6], [3])
    counters[0].count(desk.tenant, first)
    await counters[0].close()
    await fold_duplicates(database, redis)
    assert await counted(owner, desk) == [3, 7]


async def test_a_flush_that_is_cut_short_is_taken_up_where_it_ended(desk: Desk, redis: Redis) -> None:
    """Redis takes the first part of many and goes away: nothing is counted twice, nothing is lost."""
    counter = DuplicateCounter(redis, pause=0.02)
    count_up, calls = counter._count_up, 0

    async def cut_short(**given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RedisError("gone")
        return await count_up(**given)

    counter._count_up = cut_short  # type: ignore[assignment]  # the script itself, but for one failure
    for number in range(2 * PART + 100):
        counter.count(desk.tenant, number.to_bytes(16))
    await counter.close()
    assert await redis.hlen(hash_of(desk.tenant)) == PART
    await counter.close()
    found = await redis.hgetall(hash_of(desk.tenant))
    assert (len(found), {int(times) for times in found.values()}) == (2 * PART + 100, {1})
    assert str(desk.tenant).encode() in {as_bytes(each) for each in await redis.smembers(TENANTS)}


def as_bytes(answer: bytes | str) -> bytes:
    return answer.encode() if isinstance(answer, str) else answer


async def test_a_flush_happens_by_itself(desk: Desk, redis: Redis) -> None:
    counter, key = DuplicateCounter(redis, pause=0.02), uuid4().bytes
    for _ in range(5):
        counter.count(desk.tenant, key)
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.1)
    assert int(await redis.hget(hash_of(desk.tenant), key.hex()) or 0) == 5


async def test_a_crash_between_commit_and_deletion_counts_nothing_twice(desk: Desk, redis: Redis, database: Database, owner: Owner) -> None:
    key = await webhook(owner, desk)
    batch, fold = f"{hash_of(desk.tenant)}:folding", uuid4()
    await redis.sadd(TENANTS, str(desk.tenant))
    await redis.hset(batch, mapping={key.hex(): 4, FOLD_FIELD: fold.hex})
    await fold_duplicates(database, redis)
    await redis.sadd(TENANTS, str(desk.tenant))
    await redis.hset(batch, mapping={key.hex(): 4, FOLD_FIELD: fold.hex})  # as it stood when the process died
    await redis.hset(hash_of(desk.tenant), key.hex(), 2)
    await fold_duplicates(database, redis)
    assert await counted(owner, desk) == [6]


async def test_a_crash_before_the_commit_loses_nothing(desk: Desk, redis: Redis, database: Database, owner: Owner) -> None:
    key = await webhook(owner, desk)
    await redis.sadd(TENANTS, str(desk.tenant))
    await redis.hset(f"{hash_of(desk.tenant)}:folding", key.hex(), "4")  # set aside, not yet named
    await fold_duplicates(database, redis)
    assert await counted(owner, desk) == [4]

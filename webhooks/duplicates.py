"""How often a webhook came again: counted in the process, flushed to Redis every second, folded into the database every minute.

A duplicate costs no write. A count may be lost with the process (at most a second's); what reached Redis is folded in once.
"""

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Mapping
from contextvars import Context
from uuid import UUID, uuid4

from redis.asyncio import Redis

from runtime.database import Database
from runtime.ids import TenantId
from runtime.redis import RedisError

FLUSH_SECONDS = 1.0
MOST_KEYS = 50_000  # counted ahead while Redis is away; beyond it duplicates of further keys go uncounted
TENANTS = "duplicates:tenants"
FOLD_FIELD = "fold"  # no key of a webhook: those are 32 hexadecimal digits
PART = 500  # keys counted up at once: neither Redis nor this process is busy with them for long
COUNT_UP = """
for i = 1, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
"""
TROUBLE = (RedisError, OSError, TimeoutError)


class DuplicateCounter:
    """Counts in memory; the first count starts the next flush."""

    def __init__(self, redis: Redis, pause: float = FLUSH_SECONDS) -> None:
        self._redis = redis
        self._count_up = redis.register_script(COUNT_UP)
        self._pause = pause
        self._counts: dict[TenantId, Counter[str]] = {}
        self._keys = 0
        self._task: asyncio.Task[None] | None = None

    def count(self, tenant: TenantId, key: bytes) -> None:
        """One more delivery of the webhook that claimed this key."""
        counts = self._counts.setdefault(tenant, Counter())
        name = key.hex()
        if name not in counts:
            if self._keys >= MOST_KEYS:
                return
            self._keys += 1
        counts[name] += 1
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._flush_while_counting(), context=Context())

    async def close(self) -> None:
        """Flush what was counted; what Redis does not take now is lost."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._flush()

    async def _flush_while_counting(self) -> None:
        while self._counts:
            await asyncio.sleep(self._pause)
            await self._flush()

    async def _flush(self) -> None:
        taken, self._counts, self._keys = self._counts, {}, 0
        try:
            while taken:
                tenant = next(iter(taken))
                await self._add(tenant, taken[tenant])
                del taken[tenant]
        except TROUBLE:
            self._keep(taken)

    async def _add(self, tenant: TenantId, counts: Counter[str]) -> None:
        """One tenant's counts, part by part, and then its name: folding forgets the name before it looks for counts."""
        while part := list(itertools.islice(counts.items(), PART)):
            await self._count_up(keys=[hash_of(tenant)], args=list(itertools.chain.from_iterable(part)))
            for key, _ in part:
                del counts[key]
        await self._redis.sadd(TENANTS, str(tenant))

    def _keep(self, unsent: Mapping[TenantId, Counter[str]]) -> None:
        for tenant, counts in unsent.items():
            self._counts.setdefault(tenant, Counter()).update(counts)
        self._keys = sum(map(len, self._counts.values()))


async def fold_duplicates(database: Database, redis: Redis) -> int:
    """Add every tenant's counts to its processed webhooks; gives how many keys were counted up.

    A batch is set aside under a name and an id of its own before it is read, and the database remembers the id with the
    counts: whoever takes up what a crash left behind neither loses a batch nor counts it twice. One at a time (a duty).
    """
    folded = 0
    for name in await redis.smembers(TENANTS):
        tenant = TenantId(UUID(as_text(name)))
        while True:
            keys = await fold_tenant(database, redis, tenant)
            if keys is None:
                break
            folded += keys
    return folded


async def fold_tenant(database: Database, redis: Redis, tenant: TenantId) -> int | None:
    """One batch of a tenant; None when there was nothing left, and the tenant's name is forgotten until it counts again."""
    batch = f"{hash_of(tenant)}:folding"
    if not await redis.exists(batch):
        await redis.srem(TENANTS, str(tenant))
        if not await redis.exists(hash_of(tenant)):
            return None
        await redis.sadd(TENANTS, str(tenant))
        await redis.renamenx(hash_of(tenant), batch)
    await redis.hsetnx(batch, FOLD_FIELD, uuid4().hex)
    counts = {as_text(field): as_text(value) for field, value in (await redis.hgetall(batch)).items()}
    fold = UUID(counts.pop(FOLD_FIELD))
    await fold_batch(database, tenant, fold, {key: int(times) for key, times in counts.items()})
    await redis.delete(batch)
    return len(counts)


async def fold_batch(database: Database, tenant: TenantId, fold: UUID, counts: Mapping[str, int]) -> None:
    """All of a batch in one transaction, so that its id stands for the whole."""
    await database.call(tenant, "SELECT app.fold_duplicates_v1($1, $2, $3::jsonb)", tenant, fold, json.dumps(counts))


def hash_of(tenant: TenantId) -> str:
    """The hash of a tenant's counts; the braces keep it and its batch on one cluster slot."""
    return f"{{{tenant}}}:duplicates"


def as_text(answer: bytes | str) -> str:
    """What Redis answers, whichever way the client was opened."""
    return answer.decode() if isinstance(answer, bytes) else answer

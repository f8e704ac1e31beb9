"""Deliveries that were refused for their credential: counted by reason, told in the log, remembered for the tenant to see.

Whoever is refused waits for none of it, and an unknown tenant costs as much as a known one: noting it is one entry in memory, and
everything else is done once a second for all that came meanwhile. What a process had noted when it died is lost; metrics and log too
are for people who look, not for bills.
"""

import asyncio
from collections import Counter
from contextvars import Context

import msgspec
from redis.asyncio import Redis

from runtime import clock, metrics
from runtime.ids import TenantId
from runtime.logs import log
from runtime.redis import RedisError
from tenants.snapshot import Snapshot

FLUSH_SECONDS = 1.0
KEPT_SECONDS = 30 * 86_400
UNKNOWN_TENANT, NO_CREDENTIAL, WRONG_SECRET = "unknown_tenant", "no_credential", "wrong_secret"
NOT_SET_UP = "signature_not_set_up"
TROUBLE = (RedisError, OSError, TimeoutError)


class LastRefusal(msgspec.Struct, frozen=True):
    """The last delivery of a tenant that was refused for its credential."""

    at: str
    reason: str


class RefusalBook:
    """Notes in memory; the first note starts the next flush."""

    def __init__(self, redis: Redis, pause: float = FLUSH_SECONDS) -> None:
        self._redis = redis
        self._pause = pause
        self._counts: Counter[tuple[str, str]] = Counter()
        self._tenants: dict[str, tuple[Snapshot, str, str]] = {}  # by slug: whose, when, why
        self._task: asyncio.Task[None] | None = None

    def note(self, tenant: Snapshot | None, reason: str) -> None:
        """One more delivery was refused; without a tenant the address is nobody's."""
        slug = tenant.slug if tenant else ""
        self._counts[slug, reason] += 1
        if tenant is not None:
            self._tenants[slug] = (tenant, clock.rfc3339(clock.now()), reason)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._flush_soon(), context=Context())

    async def last_of(self, tenant: TenantId) -> LastRefusal | None:
        """The last refusal of a tenant; None where there is none, or Redis cannot be asked."""
        try:
            found = await self._redis.get(key_of(tenant))
        except TROUBLE:
            return None
        return None if found is None else msgspec.json.decode(found, type=LastRefusal)

    async def close(self) -> None:
        """Tell what was noted."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._flush()

    async def _flush_soon(self) -> None:
        await asyncio.sleep(self._pause)
        await self._flush()

    async def _flush(self) -> None:
        counts, self._counts = self._counts, Counter()
        tenants, self._tenants = self._tenants, {}
        for (slug, reason), count in counts.items():
            metrics.WEBHOOK_REFUSALS.labels(reason).inc(count)
            if slug:
                log.warning("webhooks refused", reason=reason, count=count, **tenants[slug][0].tags.by_name())
        try:
            for tenant, at, reason in tenants.values():
                await self._redis.set(key_of(tenant.id), msgspec.json.encode(LastRefusal(at, reason)), ex=KEPT_SECONDS)
        except TROUBLE:
            return  # the log has them


def key_of(tenant: TenantId) -> str:
    """Where the last refusal of a tenant stands."""
    return f"{{{tenant}}}:refused"

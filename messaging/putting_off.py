"""Before a text leaves: may it, at this hour? It was asked when the text was accepted; since then it waited, or the rules changed."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeVar
from uuid import UUID

from messaging import quiet_hours
from runtime import clock, metrics
from runtime.database import Database, passing_condition
from runtime.ids import TenantId
from runtime.logs import log
from tenants.snapshot import TenantBook

Done = TypeVar("Done")

JUST_NOW_MILLISECONDS = 2_000  # a text so young was judged by a snapshot as fresh as ours would be
RETRY_SECONDS = 0.25
PATIENCE_SECONDS = 60.0
OBSERVE = "observe"
DETAIL = "outside the hours in which it may leave"
PUT_OFF = "SELECT app.put_off_v2($1, $2, $3, $4, $5, $6, $7)"


@dataclass(frozen=True, slots=True)
class Putting:
    """What is asked of a leased message."""

    tenant: TenantId
    id: UUID
    attempt: int
    due_at: datetime
    recipient: str
    message_class: str


class PuttingOff:
    """One worker's look at the hours, from the tenant's snapshot: no connection is held, and usually none is asked for."""

    def __init__(self, database: Database, tenants: TenantBook, worker: UUID) -> None:
        self._database = database
        self._tenants = tenants
        self._worker = worker

    async def put_off(self, text: Putting) -> bool:
        """Whether it may not leave now; then it is stored as waiting until it may, unless somebody else has it by then."""
        if text.message_class == quiet_hours.NEVER_HELD or just_made(text.id):
            return False
        tenant = await persistently(partial(self._tenants.by_id, text.tenant))
        mode = tenant.switch(quiet_hours.SWITCH, quiet_hours.ENFORCE) if tenant else quiet_hours.OFF
        if tenant is None or mode == quiet_hours.OFF:
            return False
        moment = clock.now()
        until = quiet_hours.next_allowed(tenant, text.recipient, text.message_class, moment)
        if until <= moment:
            return False
        observed = mode == OBSERVE
        metrics.QUIET_HOURS.labels("observed" if observed else "put_off").inc()
        log.info("outside its hours", message_id=str(text.id), until=clock.rfc3339(until), observed=observed)
        if observed:
            return False
        values = (self._worker, text.tenant, text.id, text.attempt, text.due_at, until, DETAIL)
        await persistently(partial(self._database.call_for_many, PUT_OFF, *values))
        return True


async def persistently(call: Callable[[], Awaitable[Done]]) -> Done:
    """As soon as storage can: a slot that passes meanwhile is lost, and to put off twice is to put off once, since due_at moves on."""
    give_up = clock.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return await call()
        except Exception as error:
            condition = passing_condition(error)
            if condition is None or clock.monotonic() > give_up:
                raise
            metrics.STORAGE_TROUBLE.labels(condition).inc()
            await asyncio.sleep(RETRY_SECONDS)


def just_made(message: UUID) -> bool:
    """Whether a message was accepted a moment ago, by its id (UUIDv7: 48 bits of milliseconds)."""
    age = int(clock.now().timestamp() * 1000) - (message.int >> 80)
    return 0 <= age < JUST_NOW_MILLISECONDS

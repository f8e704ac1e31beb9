"""Claiming effects: one round trip that claims each key, acts and stores the answer, or finds what the first delivery stored.

Every call is safe to repeat: if the connection is lost after COMMIT was sent, the second try is the replay of the first.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar
from uuid import UUID

import asyncpg
import msgspec

from runtime import metrics
from runtime.database import Database, passing_condition
from runtime.ids import TenantId
from runtime.refusals import Unavailable
from webhooks.calls import CallFacts

ACCEPT = "SELECT place, outcome, answer, message FROM app.accept_v1($1, $2, $3, $4, $5, $6, $7)"
RECORD_CALL = "SELECT outcome FROM app.record_call_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)"
TRIES = 3
PAUSE_SECONDS = 0.05

Result = TypeVar("Result")


class Effect(msgspec.Struct, frozen=True):
    """One effect to claim. With `store` false nothing is written: only a stored answer is looked for."""

    place: int
    key: str
    fingerprint: str
    answer: str
    store: bool = True
    state: str = "done"
    name: str | None = None
    tool_call_id: str | None = None
    arguments: str | None = None
    suppressed_answer: str | None = None
    meter: str | None = None
    message: dict[str, object] | None = None


class Claimed(msgspec.Struct, frozen=True):
    """What became of an effect: new, replay, conflict (same key, something else asked) or absent (not stored)."""

    outcome: str
    answer: str | None
    message: UUID | None


class Claims:
    """The store of idempotency keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def accept(
        self,
        tenant: TenantId,
        webhook: UUID,
        source: str,
        kind: str,
        call_id: str | None,
        assistant_id: str | None,
        effects: Sequence[Effect],
    ) -> list[Claimed]:
        """Claim the effects of one delivery, in one transaction; the answers come in the effects' order.

        Raises:
            Unavailable: nothing was stored.
        """
        ordered = msgspec.json.encode(sorted(effects, key=lambda effect: effect.key)).decode()

        async def once() -> list[Claimed]:
            rows = await self._database.call(tenant, ACCEPT, tenant, webhook, source, kind, call_id, assistant_id, ordered)
            by_place = {row[0]: Claimed(row[1], row[2], row[3]) for row in rows}
            claimed = [by_place[effect.place] for effect in effects]
            if any(effect.store and each.outcome == "absent" for effect, each in zip(effects, claimed, strict=True)):
                raise asyncpg.SerializationError("a key ended between the claim and the look")  # claim again
            return claimed

        return await persistently(once)

    async def record_call(
        self,
        tenant: TenantId,
        webhook: UUID,
        kind: str,
        call_id: str,
        assistant_id: str | None,
        key: bytes,
        fingerprint: bytes,
        facts: CallFacts,
        *,
        final: bool,
    ) -> str:
        """Record what a message says of a call; answers new, replay, or differs (a repetition that says something else).

        Raises:
            Unavailable: nothing was stored.
        """

        async def once() -> str:
            rows = await self._database.call(
                tenant, RECORD_CALL, tenant, webhook, kind, call_id, assistant_id, key, fingerprint, facts.state, facts.rank,
                facts.started_at, facts.ended_at, facts.seconds, facts.estimated_seconds, facts.cost_usd, facts.ended_reason, final,
            )  # fmt: skip  # one line would hide which column is which
            outcome: str = rows[0][0]
            return outcome

        return await persistently(once)


async def persistently(operation: Callable[[], Awaitable[Result]]) -> Result:
    """Repeat an operation that is safe to repeat while storage has a passing trouble.

    Raises:
        Unavailable: it lasted.
    """
    for attempt in range(1, TRIES + 1):
        try:
            return await operation()
        except Exception as error:
            condition = passing_condition(error)
            if condition is None:
                raise
            metrics.STORAGE_TROUBLE.labels(condition).inc()
            if attempt == TRIES or isinstance(error, TimeoutError):  # a time-out has used up the caller's patience
                raise Unavailable from error
        await asyncio.sleep(PAUSE_SECONDS * attempt)
    raise AssertionError("the last attempt returns or raises")

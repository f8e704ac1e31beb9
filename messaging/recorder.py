"""Writes down what happened to the messages that a worker sent, fenced, in as few round trips as there is time for.

While nothing is being written an outcome goes at once; what becomes ready meanwhile goes together in the next round trip.
"""

import asyncio
from contextvars import Context
from datetime import datetime
from uuid import UUID

import msgspec

from runtime import clock, metrics, sentry
from runtime.database import Database, passing_condition
from runtime.ids import TenantId
from runtime.logs import log

MOST_TOGETHER = 500
RETRY_SECONDS = 0.25
RECORD = "SELECT message_id, recorded FROM app.record_outcomes_v2($1, $2::jsonb)"


class OutcomeRow(msgspec.Struct, rename={"error_class": "class"}, omit_defaults=True, frozen=True):
    """One outcome as app.record_outcomes_v2 takes it; `seconds` until it is tried (deferred) or asked about (unknown) again.

    `action`: what its code teaches (errors.json). A deferred one that is not `counted` gives its attempt back, and then needs the
    message's `due_at`, the third part of the fence.
    """

    tenant_id: TenantId
    message_id: UUID
    attempt: int
    outcome: str
    sid: str | None = None
    twilio_status: str | None = None
    segments: int | None = None
    code: int | None = None
    error_class: str | None = None
    detail: str | None = None
    seconds: float = 0.0
    action: str | None = None
    counted: bool = True
    due_at: datetime | None = None


Waiting = tuple[OutcomeRow, "asyncio.Future[bool]"]


class OutcomeRecorder:
    """One worker's pen. `patience`: seconds to retry while storage is away; after that the lease ends and the message is asked about."""

    def __init__(self, database: Database, worker: UUID, patience: float = 60.0) -> None:
        self._database = database
        self._worker = worker
        self._patience = patience
        self._waiting: list[Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def record(self, row: OutcomeRow) -> bool:
        """Write one outcome; false when the lease was lost, a callback was quicker, or storage stayed away."""
        settled: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((row, settled))
        if self._task is None or self._task.done():
            # a context of its own: a batch is several tenants' work
            self._task = asyncio.get_running_loop().create_task(self._write_while_waiting(), context=Context())
        return await settled

    async def _write_while_waiting(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:MOST_TOGETHER], self._waiting[MOST_TOGETHER:]
            await self._write(batch)

    async def _write(self, batch: list[Waiting]) -> None:
        try:
            recorded = await self._persistently([row for row, _ in batch])
        except Exception as error:  # noqa: BLE001  whoever waits must get an answer
            if len(batch) > 1:  # one of them is at fault: the others must not suffer
                for one in batch:
                    await self._write([one])
                return
            with sentry.isolated(sentry.TenantTags(str(batch[0][0].tenant_id)), "record outcome"):
                log.exception("an outcome could not be recorded", message_id=str(batch[0][0].message_id))
                sentry.report(error)
            recorded = {}
        for row, settled in batch:
            if not settled.done():
                settled.set_result(recorded.get(row.message_id, False))

    async def _persistently(self, rows: list[OutcomeRow]) -> dict[UUID, bool]:
        """Written as soon as storage can: repeating it changes nothing, the fence is gone after the first time."""
        document, give_up = msgspec.json.encode(rows).decode(), clock.monotonic() + self._patience
        while True:
            try:
                found = await self._database.call_for_many(RECORD, self._worker, document)
            except Exception as error:
                condition = passing_condition(error)
                if condition is None or clock.monotonic() > give_up:
                    raise
                metrics.STORAGE_TROUBLE.labels(condition).inc()
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return {record["message_id"]: record["recorded"] for record in found}

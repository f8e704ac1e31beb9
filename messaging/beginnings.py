"""Commits that a leased message is being sent, just before the request is written.

So a lease that is lost tells two cases apart: begun, then Twilio may have the text and is asked; not begun, then nothing left
and it is queued again. What has to begin while one round trip is under way goes together in the next.
"""

import asyncio
from contextvars import Context
from uuid import UUID

import msgspec

from runtime.database import Database
from runtime.ids import TenantId

BEGIN = "SELECT message_id FROM app.begin_sending_v2($1, $2::jsonb)"


class Beginning(msgspec.Struct, frozen=True):
    """One leased message as app.begin_sending_v2 takes it; `needs` seconds of its lease must be left."""

    tenant_id: TenantId
    message_id: UUID
    attempt: int
    needs: float


class Beginnings:
    """One worker's way to begin."""

    def __init__(self, database: Database, worker: UUID) -> None:
        self._database = database
        self._worker = worker
        self._waiting: list[tuple[Beginning, asyncio.Future[bool]]] = []
        self._task: asyncio.Task[None] | None = None

    async def begin(self, beginning: Beginning) -> bool:
        """Whether the message is still ours to send; raises what storage raises: then it is not sent, and its lease ends by itself."""
        answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((beginning, answered))
        if self._task is None or self._task.done():
            # a context of its own: a batch is several tenants' work
            self._task = asyncio.get_running_loop().create_task(self._write_while_waiting(), context=Context())
        return await answered

    async def _write_while_waiting(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                document = msgspec.json.encode([beginning for beginning, _ in batch]).decode()
                begun = {record["message_id"] for record in await self._database.call_for_many(BEGIN, self._worker, document)}
            except Exception as error:  # noqa: BLE001  whatever it was, each of them is told
                for _, answered in batch:
                    if not answered.done():  # whoever asked may have gone away
                        answered.set_exception(error)
                continue
            for beginning, answered in batch:
                if not answered.done():
                    answered.set_result(beginning.message_id in begun)

"""Messages that come many times in a call: of each type only the first and the last time is kept, by the messages' own clock.

No row per message, and nothing of what they hold is read. Times are gathered in memory and written once a second, a call and type at
most once each. A process that dies loses what it gathered in its last second: a "last seen" that is a second too early, or a call of which
nothing else was told.
"""

import asyncio
from collections.abc import Mapping
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime import clock, metrics, sentry
from runtime.database import Database, passing_condition
from runtime.ids import TenantId
from tenants.snapshot import Snapshot
from webhooks.calls import instant
from webhooks.envelope import Webhook, decoded, reread
from webhooks.tables import call_activity

NOTE = "SELECT app.note_activity_v1($1, $2)"
FLUSH_SECONDS = 1.0
MOST = 50_000  # calls and types gathered while storage is away; further ones go unnoted
PART = 500  # written at once
OFTEN = frozenset({"conversation-update", "speech-update", "model-output", "voice-input"})
TRANSCRIPT, PARTIAL = "transcript", "partial"


class Spoken(msgspec.Struct, rename="camel"):
    """What is read of a transcript message: whether it is one that more words replace."""

    transcript_type: str | None = None


class SpokenBody(msgspec.Struct):
    """The body of a transcript message."""

    message: Spoken


SPOKEN = msgspec.json.Decoder(SpokenBody)


@dataclass(slots=True)
class Seen:
    """When a type was seen in a call first and last."""

    first_at: datetime
    last_at: datetime
    assistant_id: str | None

    def join(self, other: "Seen") -> None:
        """Take in what else was seen, in any order."""
        self.first_at, self.last_at = min(self.first_at, other.first_at), max(self.last_at, other.last_at)
        self.assistant_id = max(self.assistant_id or "", other.assistant_id or "") or None


def comes_often(webhook: Webhook) -> bool:
    """Whether it is noted and not recorded: without a call there is nothing to note it on.

    Raises:
        Invalid: a transcript that cannot be read.
    """
    if webhook.call_id is None:
        return False
    return webhook.type in OFTEN or (webhook.type == TRANSCRIPT and reread(SPOKEN, webhook.body).message.transcript_type == PARTIAL)


class Activity:
    """Gathers; the first note starts the next flush."""

    def __init__(self, database: Database, pause: float = FLUSH_SECONDS) -> None:
        self._database = database
        self._pause = pause
        self._seen: dict[TenantId, dict[tuple[str, str], Seen]] = {}
        self._tags: dict[TenantId, sentry.TenantTags] = {}
        self._size = 0
        self._task: asyncio.Task[None] | None = None

    def note(self, tenant: Snapshot, webhook: Webhook) -> None:
        """A message was seen, at its own time; where it tells none that can be true, now."""
        at = instant(decoded(webhook.message.timestamp)) or clock.now()
        self._tags[tenant.id] = tenant.tags
        self._add(tenant.id, (webhook.call_id or "", webhook.type), Seen(at, at, webhook.assistant_id))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._flush_while_seeing(), context=Context())

    async def close(self) -> None:
        """Write what was gathered; what the database does not take now is lost."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._flush()

    def _add(self, tenant: TenantId, what: tuple[str, str], seen: Seen) -> None:
        of_tenant = self._seen.setdefault(tenant, {})
        known = of_tenant.get(what)
        if known is not None:
            known.join(seen)
        elif self._size < MOST:
            of_tenant[what] = seen
            self._size += 1
        else:
            metrics.ACTIVITY_DROPPED.inc()

    async def _flush_while_seeing(self) -> None:
        while self._seen:
            await asyncio.sleep(self._pause)
            await self._flush()

    async def _flush(self) -> None:
        """Tenant by tenant; what storage did not take is kept for the next time."""
        taken, self._seen, self._size = self._seen, {}, 0
        try:
            for tenant, of_tenant in taken.items():
                with sentry.isolated(self._tags[tenant], "note activity"):
                    await self._write(tenant, of_tenant)
        finally:  # also when it is cut short: written twice is written once
            for tenant, of_tenant in taken.items():
                for what, seen in of_tenant.items():
                    self._add(tenant, what, seen)

    async def _write(self, tenant: TenantId, of_tenant: dict[tuple[str, str], Seen]) -> None:
        """One tenant's, part by part; what is written leaves, and so does what could never be."""
        try:
            while part := dict(islice(of_tenant.items(), PART)):
                await self._database.call(tenant, NOTE, tenant, as_json(part))
                for what in part:
                    del of_tenant[what]
        except Exception as error:  # noqa: BLE001  one tenant's trouble is not the others'
            condition = passing_condition(error)
            if condition is None:
                sentry.report(error)
                of_tenant.clear()
            else:
                metrics.STORAGE_TROUBLE.labels(condition).inc()


def as_json(part: Mapping[tuple[str, str], Seen]) -> str:
    """What was seen as app.note_activity_v1 takes it."""
    rows = [
        {"call_id": call_id, "type": kind, "first_at": seen.first_at, "last_at": seen.last_at, "assistant_id": seen.assistant_id}
        for (call_id, kind), seen in part.items()
    ]
    return msgspec.json.encode(rows).decode()


async def activity_of(connection: AsyncConnection, tenant: TenantId, call_id: str) -> list[dict[str, Any]]:
    """What came many times in a call: type, first_at, last_at, by type."""
    wanted = (call_activity.c.tenant_id == tenant, call_activity.c.call_id == call_id)
    query = select(call_activity.c.type, call_activity.c.first_at, call_activity.c.last_at).where(*wanted)
    return [dict(row) for row in (await connection.execute(query.order_by(call_activity.c.type))).mappings()]

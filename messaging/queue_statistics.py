"""What waits, is on its way and has left: by tenant for people, in one line for metrics."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import msgspec
from sqlalchemy import text

from messaging.acceptance import CLASSES
from runtime import clock
from runtime.database import Database
from runtime.ids import TenantId
from tenants.waiting import WaitingView

STATISTICS = """
SELECT tenant_id, queued_messages, queued_segments, sending, unknown, left_segments, oldest_due, held FROM app.queue_statistics_v1($1, $2)
"""
WAITING = text("SELECT app.snapshot_waiting_v1(:tenant)::text")
TOTALS = "SELECT queued_messages, queued_segments, held_registrations, late FROM app.queue_totals_v1()"
LEFT_WITHIN = timedelta(hours=1)
TENANTS_AT_ONCE = 200


class Waiting(msgspec.Struct, frozen=True):
    """The part of app.snapshot_waiting_v1 that is shown."""

    waiting: dict[UUID, WaitingView]


class TenantQueue(msgspec.Struct, frozen=True):
    """A tenant's outbox. `queued` counts what waits, scheduled texts too; `oldest_due` is RFC 3339, null when nothing waits.

    `held` says why nothing leaves, null when something may.
    """

    tenant_id: UUID
    slug: str
    queued: int
    queued_segments: int
    sending: int
    unknown: int
    segments_left_last_hour: int
    oldest_due: str | None
    held: str | None

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to see."""
        return not (self.queued or self.sending or self.unknown or self.segments_left_last_hour or self.held)


class QueueTotals(msgspec.Struct, frozen=True):
    """All outboxes together; `late_seconds`: by how much the most overdue registration waits for its turn."""

    queued_messages: int
    queued_segments: int
    held_registrations: int
    late_seconds: float


async def queues_of(database: Database, slugs: dict[UUID, str]) -> list[TenantQueue]:
    """The outboxes of these tenants (slug by id) that ever had work, the longest first; each is looked at in its own scope."""
    ids, queues = list(slugs), list[TenantQueue]()
    for start in range(0, len(ids), TENANTS_AT_ONCE):
        queues += await some_queues(database, ids[start : start + TENANTS_AT_ONCE], slugs)
    return sorted(queues, key=lambda queue: (-queue.queued_segments, -queue.segments_left_last_hour, queue.slug))


async def some_queues(database: Database, ids: Sequence[UUID], slugs: dict[UUID, str]) -> list[TenantQueue]:
    """Of as many as fit in one round trip."""
    rows = await database.call_for_many(STATISTICS, ids, LEFT_WITHIN)
    return [
        TenantQueue(
            tenant_id=row["tenant_id"],
            slug=slugs[row["tenant_id"]],
            queued=row["queued_messages"],
            queued_segments=row["queued_segments"],
            sending=row["sending"],
            unknown=row["unknown"],
            segments_left_last_hour=int(row["left_segments"]),
            oldest_due=row["oldest_due"] and clock.rfc3339(row["oldest_due"]),
            held=row["held"],
        )
        for row in rows
    ]


async def queue_totals(database: Database) -> QueueTotals:
    """All outboxes together, from the schedule alone."""
    (row,) = await database.call_for_many(TOTALS)
    return QueueTotals(row["queued_messages"], row["queued_segments"], row["held_registrations"], row["late"].total_seconds())


async def waiting_by_class(database: Database, tenant: TenantId) -> dict[str, int]:
    """Segments that may leave now, by class; of each registration at most 5,000 messages of a class are counted."""
    async with database.tenant_scope(tenant) as connection:
        document = (await connection.execute(WAITING, {"tenant": tenant})).scalar_one()
    views = msgspec.json.decode(document, type=Waiting).waiting.values()
    return {name: sum(view.due[priority][0] for view in views) for name, priority in CLASSES.items()}

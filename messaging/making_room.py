"""Queues that are longer than their tenant's bound make room: the oldest marketing is dropped, where the operator chose so."""

from runtime import metrics
from runtime.database import Database
from runtime.logs import log

MOST = 1_000  # of a tenant in one turn
DROP = "SELECT tenant_id, dropped FROM app.drop_marketing_v1($1)"


async def make_room(database: Database, most: int = MOST) -> int:
    """Drop what is too much, of every tenant that wants it so; gives how many texts were dropped."""
    dropped = 0
    for row in await database.call_for_many(DROP, most):
        if row["dropped"]:
            metrics.QUEUE_DROPPED.inc(row["dropped"])
            log.warning("marketing was dropped to make room", texts=row["dropped"], **{"tenant.id": str(row["tenant_id"])})
        dropped += row["dropped"]
    return dropped

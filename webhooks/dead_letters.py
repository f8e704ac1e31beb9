"""Dead letters: what was taken from Vapi and could not be handled is kept with its reason and its body, to be run again."""

from collections.abc import Awaitable, Callable
from uuid import UUID

from runtime import metrics, sentry
from runtime.database import Database
from runtime.ids import uuid7
from runtime.logs import log
from tenants.snapshot import Snapshot
from webhooks import keys
from webhooks.envelope import Webhook
from webhooks.persistence import persistently

BURY = "SELECT app.bury_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
REPORT = "end-of-call-report"


class DeadLetters:
    """Puts away what failed by a fault of ours."""

    def __init__(self, database: Database, keep: Callable[[Snapshot, UUID, bytes], Awaitable[None]]) -> None:
        self._database = database
        self._keep = keep

    async def bury(self, tenant: Snapshot, webhook: Webhook, error: Exception) -> None:
        """Report the fault, keep the webhook; Vapi need not send it again, and a delivery that comes again is tried again.

        Raises:
            Unavailable: it could not be kept either.
        """
        sentry.report(error)
        log.error("a webhook could not be handled and was put away", type=webhook.type, error=type(error).__name__, exc_info=error)
        metrics.DEAD.labels(REPORT if webhook.type == REPORT else "other").inc()
        delivery, key = uuid7(), key_of(webhook)
        values = (delivery, 0, webhook.type, webhook.call_id, webhook.assistant_id, key, key, None, None, None, None)
        reason = f"a fault of ours: {type(error).__name__}"
        rows = await persistently(lambda: self._database.call(tenant.id, BURY, tenant.id, *values, reason))
        if rows[0][0]:
            await self._keep(tenant, delivery, webhook.body)


def key_of(webhook: Webhook) -> bytes:
    """A report's own key, so that its next delivery takes its place; else the body's."""
    if webhook.type == REPORT and webhook.call_id is not None:
        return keys.report_key(webhook.call_id)
    return keys.digest("dead", webhook.type, webhook.call_id, keys.digest(keys.stable(webhook.body)))

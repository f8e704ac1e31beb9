"""Dead letters: what was taken from Vapi and could not be handled is kept with its reason and its body, to be run again."""

from collections.abc import Awaitable, Callable
from uuid import UUID

from sqlalchemy import text

from runtime import metrics, sentry
from runtime.database import Database
from runtime.ids import TenantId, uuid7
from runtime.logs import log
from tenants.snapshot import Snapshot
from webhooks import keys
from webhooks.calls import status_facts
from webhooks.envelope import Webhook
from webhooks.information import key_of_information
from webhooks.kinds import REPORT, STATUS
from webhooks.persistence import persistently

BURY = "SELECT app.bury_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
SETTLE = text("UPDATE processed_webhooks SET state = 'done', reason = NULL WHERE tenant_id = :tenant AND key = :key AND state = 'dead'")


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
        delivery, (key, fingerprint) = uuid7(), identity_of(webhook)
        values = (delivery, 0, webhook.type, webhook.call_id, webhook.assistant_id, key, fingerprint, None, None, None, None)
        reason = f"a fault of ours: {type(error).__name__}"
        rows = await persistently(lambda: self._database.call(tenant.id, BURY, tenant.id, *values, reason))
        if rows[0][0]:
            await self._keep(tenant, delivery, webhook.body)


async def settle(database: Database, tenant: TenantId, key: bytes) -> None:
    """What only informs came again, or is handled by hand: it is recorded, and that is all there is to it."""
    async with database.tenant_scope(tenant) as connection:
        await connection.execute(SETTLE, {"tenant": tenant, "key": key})


def identity_of(webhook: Webhook) -> tuple[bytes, bytes]:
    """The message's own key and fingerprint, so that its next delivery takes its place; the body's where they cannot be made either."""
    try:
        if webhook.type == REPORT and webhook.call_id is not None:
            key = keys.report_key(webhook.call_id)
        elif webhook.type == STATUS and webhook.call_id is not None:
            key = keys.status_key(webhook.call_id, status_facts(webhook.body).state)
        else:
            own = keys.own_fields(webhook.body)
            return key_of_information(webhook, own), own
    except Exception:  # noqa: BLE001  what failed before may fail here too
        key = keys.digest("dead", webhook.type, webhook.call_id, keys.digest(keys.stable(webhook.body)))
    return key, key

"""What Twilio charges for the texts that ended: asked of its list, account by account, and written to the ledger once.

No callback tells it. Twilio away, or a list that does not reach so far back, means later; nothing else waits for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from uuid import UUID

import msgspec

from messaging.twilio_client import Credentials, LookupFailed, Priced, Twilio
from runtime import metrics, sentry
from runtime.crypto import SealBroken
from runtime.database import Database
from runtime.ids import TenantId
from runtime.logs import log
from runtime.refusals import NotFound
from tenants.senders import SenderBook

TENANTS, MOST = 200, 500  # visited in one round trip; texts of a tenant in one turn
CLAIM = timedelta(minutes=10)
START = UUID(int=0)
CURRENCY = "USD"
TAKE = "SELECT tenant_id, sender_id, message_id, sid, created_at FROM app.take_unpriced_v1($1, $2, $3, $4)"
SETTLE = "SELECT app.settle_prices_v1($1, $2::jsonb)"


@dataclass(frozen=True, slots=True)
class Unpriced:
    """A text that ended, claimed for one look."""

    tenant: TenantId
    sender_id: UUID
    id: UUID
    sid: str
    created_at: datetime


class Prices:
    """One worker's way to ask for them."""

    def __init__(self, database: Database, twilio: Twilio, senders: SenderBook) -> None:
        self._database = database
        self._twilio = twilio
        self._senders = senders

    async def ask(self) -> int:
        """One round over all tenants; gives how many texts got their price."""
        priced, after = 0, START
        while True:
            *rows, (last, *_) = await self._database.call_for_many(TAKE, after, TENANTS, MOST, CLAIM)
            texts = sorted((Unpriced(TenantId(row[0]), *list(row.values())[1:]) for row in rows), key=whose)
            for (tenant, sender), group in groupby(texts, key=whose):
                priced += await self._ask_for(tenant, sender, list(group))
            if last is None:
                return priced
            after = last

    async def _ask_for(self, tenant: TenantId, sender: UUID, texts: Sequence[Unpriced]) -> int:
        """Of one sender; what is not learned now is claimed for a while and asked for again."""
        with sentry.isolated(sentry.TenantTags(str(tenant)), "ask for prices"):
            try:
                known = await self._senders.credentials(tenant, sender)
                found = await self._twilio.find_prices(
                    Credentials(known.account_sid, known.username, known.password),
                    {text.sid for text in texts},
                    min(text.created_at for text in texts),
                )
            except (LookupFailed, NotFound, SealBroken) as error:
                log.warning("prices could not be asked for", texts=len(texts), error=type(error).__name__)
                return 0
            document = msgspec.json.encode([said_of(text, found.get(text.sid)) for text in texts]).decode()
            ((priced,),) = await self._database.call_for_many(SETTLE, tenant, document)
            metrics.PRICED.inc(priced)
            return int(priced)


def whose(text: Unpriced) -> tuple[TenantId, UUID]:
    """Texts of one sender are asked for together."""
    return text.tenant, text.sender_id


def said_of(text: Unpriced, found: Priced | None) -> dict[str, object]:
    """What the list says of a text, as app.settle_prices_v1 takes it; a price in another currency stands on no ledger of ours."""
    said: dict[str, object] = {"message_id": text.id, "sid": text.sid}
    if found is None or found.price is None:
        return said
    if found.unit != CURRENCY:
        log.warning("a price in another currency is not recorded", unit=found.unit, message_id=str(text.id))
        return said
    return {**said, "price": str(abs(found.price)), "segments": found.segments}

"""What became of messages that Twilio may or may not have taken: ask Twilio's list, settle what it shows.

Silence proves nothing and a create is never repeated blindly (Twilio's error 20500: "not idempotent"). Two successful looks
without the text decide by class: one-time codes and transactional texts are sent again, once; marketing is given up.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from asyncpg import UniqueViolationError
from sqlalchemy import select

from messaging.faults import fault
from messaging.resending import told_of
from messaging.tables import messages
from messaging.twilio_client import Credentials, FoundMessage, LookupFailed, Twilio
from runtime import metrics, sentry
from runtime.database import Database, passing_condition
from runtime.ids import TenantId
from runtime.logs import log
from tenants.senders import SenderBook, SenderCredentials
from tenants.snapshot import TenantBook

TAKE = """
SELECT tenant_id, message_id, sender_id, recipient, body, class, attempt, looks, resent, sending_at FROM app.take_checks_v1($1, $2, $3)
"""
SETTLE = "SELECT app.settle_v2($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
SENT_AGAIN = frozenset({"otp", "transactional"})


@dataclass(frozen=True, slots=True)
class Rules:
    """How patiently; seconds. `margin` is how far Twilio's clock may be behind ours."""

    registrations: int = 64
    together: int = 16
    every: float = 0.5
    claim: float = 30.0
    check: float = 10.0
    second_look: float = 30.0
    retry: float = 5.0
    margin: float = 10.0


@dataclass(frozen=True, slots=True)
class Doubtful:
    """An unknown message, claimed for one look."""

    tenant: TenantId
    id: UUID
    sender_id: UUID
    recipient: str
    body: str
    message_class: str
    attempt: int
    looks: int
    resent: bool
    sending_at: datetime

    @classmethod
    def of(cls, record: Any) -> "Doubtful":
        """From a row of app.take_checks_v1, whose columns stand in this order."""
        tenant, *rest = record.values()
        return cls(TenantId(tenant), *rest)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a look showed, as app.settle_v2 takes it; `listed` with 'taken', `seconds` until the next look with 'absent' and 'later'."""

    word: str
    seconds: float = 0.0
    listed: FoundMessage | None = None


class Reconciler:
    """One worker's part in settling unknown messages."""

    def __init__(self, database: Database, twilio: Twilio, senders: SenderBook, tenants: TenantBook, rules: Rules | None = None) -> None:
        self._database = database
        self._twilio = twilio
        self._senders = senders
        self._tenants = tenants
        self._rules = rules or Rules()
        self._together = asyncio.Semaphore(self._rules.together)

    async def run(self, stopping: asyncio.Event) -> None:
        """Look after open messages until told to stop."""
        while not stopping.is_set():
            try:
                looked = await self.look_once()
            except Exception as error:
                condition = passing_condition(error)
                if condition is None:
                    raise
                metrics.STORAGE_TROUBLE.labels(condition).inc()
                looked = 0
            if not looked:
                await pause(stopping, self._rules.every)

    async def look_once(self) -> int:
        """Ask about every message that is due for it; gives how many were."""
        rules = self._rules
        found = await self._database.call_for_many(
            TAKE, rules.registrations, timedelta(seconds=rules.claim), timedelta(seconds=rules.check)
        )
        doubtful = [Doubtful.of(record) for record in found]
        await asyncio.gather(*map(self._settle, doubtful))
        return len(doubtful)

    async def _settle(self, one: Doubtful) -> None:
        """One look; whatever goes wrong, the claim ends and somebody looks again."""
        async with self._together:
            snapshot = await self._tenants.by_id(one.tenant)
            with sentry.isolated(snapshot.tags if snapshot else sentry.TenantTags(str(one.tenant)), "settle message"):
                try:
                    verdict = await self._look(one)
                    await self._record(one, verdict)
                except Exception as error:  # noqa: BLE001  one message's trouble must not end the others' looks
                    log.warning("an unknown message was not settled", message_id=str(one.id), error=type(error).__name__)
                    if passing_condition(error) is None:
                        sentry.report(error)

    async def _look(self, one: Doubtful) -> Verdict:
        rules = self._rules
        credentials = await self._senders.credentials(one.tenant, one.sender_id)
        since = one.sending_at - timedelta(seconds=rules.margin)
        try:
            account = Credentials(credentials.account_sid, credentials.username, credentials.password)
            listed = await self._twilio.find_messages(account, one.recipient, since)
        except LookupFailed:
            return Verdict("later", rules.retry)
        alike = [text for text in listed if could_be(text, one, credentials)]
        taken, twin_in_flight = await self._ours(one, [text.sid for text in alike])
        if twin_in_flight:
            return Verdict("later", rules.retry)
        free = sorted((text for text in alike if text.sid not in taken), key=lambda text: text.created_at)
        return Verdict("taken", listed=free[0]) if free else absent(one, rules)

    async def _ours(self, one: Doubtful, sids: Sequence[str]) -> tuple[set[str], bool]:
        """Which of these Sids our messages have or had, and whether an equal text is on its way, whose Sid we shall know soon."""
        async with self._database.tenant_scope(one.tenant) as connection:
            have = select(messages.c.twilio_sid).where(messages.c.tenant_id == one.tenant, messages.c.twilio_sid.in_(sids))
            twins = select(messages.c.id).where(
                messages.c.tenant_id == one.tenant,
                messages.c.recipient == one.recipient,
                messages.c.status == "sending",
                messages.c.body == one.body,
                messages.c.sender_id == one.sender_id,
            )
            taken = set((await connection.execute(have)).scalars()) if sids else set()
            taken |= await told_of(connection, one.tenant, one.recipient, list(sids)) if sids else set()
            return taken, (await connection.execute(twins.limit(1))).first() is not None

    async def _record(self, one: Doubtful, verdict: Verdict) -> None:
        listed = verdict.listed
        code = listed.error_code if listed else None
        facts = (listed.sid, listed.status, listed.segments, code, fault(code).error_class if code else None) if listed else (None,) * 5
        try:
            settled = await self._database.call(one.tenant, SETTLE, one.tenant, one.id, one.attempt, verdict.word, verdict.seconds, *facts)
        except UniqueViolationError:
            return  # its twin got this Sid at the same moment; the next look finds another or none
        if settled[0][0] and verdict.word != "later":
            log.info("asked about an unknown message", verdict=verdict.word, looks=one.looks + 1, message_id=str(one.id))


def could_be(text: FoundMessage, one: Doubtful, credentials: SenderCredentials) -> bool:
    """Whether a listed text may be this message: same words, same sender."""
    if credentials.messaging_service_sid:
        same_sender = text.messaging_service_sid == credentials.messaging_service_sid
    else:
        same_sender = text.from_ == credentials.from_number
    return same_sender and text.body == one.body


def absent(one: Doubtful, rules: Rules) -> Verdict:
    """Not listed: the first time it is asked again, the second time its class decides."""
    if one.looks == 0:
        return Verdict("absent", rules.second_look)
    return Verdict("again" if one.message_class in SENT_AGAIN and not one.resent else "given_up")


async def pause(stopping: asyncio.Event, seconds: float) -> None:
    """So long, or until told to stop."""
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return

"""One leased message: wait for its slot, call Twilio once, tell what happened. No database connection is held meanwhile.

One whose hours are over by then waits for the next ones instead, and its slot is free again.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, assert_never
from uuid import UUID

import msgspec

from messaging import retrying
from messaging.beginnings import Beginning, Beginnings
from messaging.callback_urls import callback_url
from messaging.learning import lesson
from messaging.outcomes import Accepted, Deferred, Outcome, Refused, Unknown
from messaging.pacer import Pacer, PacerUnavailable
from messaging.putting_off import Putting, PuttingOff
from messaging.recorder import OutcomeRecorder, OutcomeRow
from messaging.turns import Turns
from messaging.twilio_client import Credentials, Twilio
from runtime import clock, metrics, sentry
from runtime.crypto import Keyring, SealBroken
from runtime.database import passing_condition
from runtime.ids import TenantId
from runtime.logs import log

BEGIN_SECONDS = 0.05  # before its slot a message is marked as being sent; one whose slot is nearer is marked with its lease
LATEST_SECONDS = 2.0  # a slot missed by more is lost: leaving now could meet the next ones
FIRST_LOOK_SECONDS = 3.0  # before that an unknown message's callback usually comes; the schedule then asks within its `check`
LONGEST_PAUSE_SECONDS = 60.0
MOST_OPENED = 4096  # senders whose opened secrets are kept at hand
FULL_QUEUE_SECONDS = (30.0, 60.0)  # Twilio's queue of this sender is full (21611)
NO_RESERVATION = ""  # it left without asking the pacer
REFUNDED = frozenset({"not_sent", "backpressure", "account_cap", "day_cap", "config"})  # deferred for these it never left
# proved not sent by ourselves, and no attempt: Twilio was not asked
MISSED_SLOT = Deferred(None, "rate_signal", "retry_backoff", 0.0, "It missed its slot.")
MISSED_TURN = Deferred(None, "not_sent", "retry_backoff", 1.0, "Its account had as many requests in flight as it may have.")
VALIDITY_SECONDS = {"otp": 600, "transactional": 14_400, "marketing": 14_400}  # a code is stale after minutes


@dataclass(frozen=True, slots=True)
class Leased:
    """A message that is this worker's to send."""

    tenant: TenantId
    id: UUID
    registration_id: UUID
    recipient: str
    body: str
    message_class: str
    attempt: int
    due_at: datetime
    slug: str
    tier: str
    account_sid: str
    auth_token_sealed: str | None
    api_key_sid: str | None
    api_key_secret_sealed: str | None
    from_number: str | None
    messaging_service_sid: str | None
    begun: bool
    expires_at: datetime | None = None
    at_once: int | None = None  # calls that its account may have in flight
    timed: bool = True  # whether some rule of hours may hold it

    @classmethod
    def of(cls, record: Any) -> "Leased":
        """From a row of app.lease_v2, whose columns stand in this order."""
        tenant, message, registration, *rest = record.values()
        return cls(TenantId(tenant), message, registration, *rest)

    @property
    def tags(self) -> sentry.TenantTags:
        """Whose work it is."""
        return sentry.TenantTags(str(self.tenant), self.slug, self.tier)


@dataclass(frozen=True, slots=True)
class Slot:
    """When a message may leave, on this process's monotonic clock; the lease ends at `ends`."""

    at: float
    ends: float
    reservation: str


class Sending:
    """What sends leased messages. `call_seconds`: how long a call to Twilio may take; `first_look`: when an unknown one is asked about."""

    def __init__(
        self,
        twilio: Twilio,
        pacer: Pacer,
        recorder: OutcomeRecorder,
        beginnings: Beginnings,
        keyring: Keyring,
        public_base: str,
        putting_off: PuttingOff,
        *,
        call_seconds: float,
        first_look: float = FIRST_LOOK_SECONDS,
    ) -> None:
        self._twilio = twilio
        self._pacer = pacer
        self._recorder = recorder
        self._beginnings = beginnings
        self._keyring = keyring
        self._public_base = public_base
        self._putting_off = putting_off
        self._call_seconds = call_seconds
        self._first_look = first_look
        self._turns = Turns()
        self._opened = lru_cache(MOST_OPENED)(partial(opened_of, keyring))

    async def send(self, message: Leased, slot: Slot) -> None:
        """Send it in its slot and record the outcome. A crash on the way leaves the lease to end: then Twilio is asked."""
        with sentry.isolated(message.tags, "send message"):
            sentry.tag(**{"message.id": str(message.id)})
            try:
                await until(slot.at - BEGIN_SECONDS)
                expired = retrying.is_past(message.expires_at, clock.now())  # asked first: to be put off moves the deadline
                if not expired and message.timed and await self._put_off(message, slot):
                    return
                outcome = retrying.EXPIRED if expired else await self._attempt(message, slot)
                if outcome is not None:
                    await self._record(message, slot, outcome)
            except Exception as error:  # noqa: BLE001  one message's bug must not end the others
                log.exception("sending failed", message_id=str(message.id))
                sentry.report(error)

    async def _attempt(self, message: Leased, slot: Slot) -> Outcome | None:
        """Call Twilio, if that can still be done within the slot and the lease; None when the message is no longer ours."""
        now = clock.monotonic()
        if now > slot.at + LATEST_SECONDS or now + self._call_seconds > slot.ends:
            return MISSED_SLOT
        try:
            credentials = self._opened(message.tenant, message.account_sid, *sealed(message))
        except SealBroken:
            log.error("a sender's secrets do not open", account=message.account_sid)
            return Refused(0, "config", "stop_sender", "The sender's credentials could not be read.", "Register the sender again.")
        if not message.begun and not await self._begin(message):
            return None
        await until(slot.at)
        patience = min(slot.at + LATEST_SECONDS, slot.ends - self._call_seconds) - clock.monotonic()
        async with self._turns.turn(message.tenant, message.account_sid, message.at_once, patience) as mine:
            if not mine:
                metrics.TURNS_MISSED.inc()
                return MISSED_TURN
            return await self._call(message, credentials)

    async def _call(self, message: Leased, credentials: Credentials) -> Outcome:
        callback = None
        if self._public_base:
            callback = callback_url(self._public_base, message.slug, self._keyring, message.tenant, message.id)
        return await self._twilio.create_message(
            credentials,
            message.recipient,
            message.body,
            sender=message.messaging_service_sid or message.from_number or "",
            status_callback=callback,
            validity_period=VALIDITY_SECONDS[message.message_class],
        )

    async def _put_off(self, message: Leased, slot: Slot) -> bool:
        """Whether it may not leave now: then it waits until it may, and whoever comes next has its slot."""
        text = Putting(message.tenant, message.id, message.attempt, message.due_at, message.recipient, message.message_class)
        if not await self._putting_off.put_off(text):
            return False
        await self._refund(message, slot)
        return True

    async def _begin(self, message: Leased) -> bool:
        """Commit that it is being sent; when storage cannot, it is not sent and its lease ends by itself."""
        beginning = Beginning(message.tenant, message.id, message.attempt, self._call_seconds)
        try:
            return await self._beginnings.begin(beginning)
        except Exception as error:
            if passing_condition(error) is None:
                raise
            return False

    async def _record(self, message: Leased, slot: Slot, outcome: Outcome) -> None:
        row = outcome_row(message, outcome, self._first_look)
        if outcome in (MISSED_SLOT, MISSED_TURN) or not row.counted:
            row = msgspec.structs.replace(row, counted=False, due_at=message.due_at)
        metrics.SENDS.labels(row.outcome).inc()
        if row.outcome == "taken":
            metrics.ACCEPT_TO_SEND.observe((clock.now() - message.due_at).total_seconds())
        else:
            taught = lesson(row.code, row.action)
            tell = log.info if taught is None else log.warning
            tell("not sent", outcome=row.outcome, code=row.code, detail=row.detail, message_id=str(message.id), attempt=message.attempt)
            if taught is not None:
                metrics.SIGNALS.labels(taught).inc()
        await self._recorder.record(row)
        if outcome is retrying.EXPIRED or (isinstance(outcome, Deferred) and outcome.error_class in REFUNDED):
            await self._refund(message, slot)

    async def _refund(self, message: Leased, slot: Slot) -> None:
        """It was proved not sent, so its slot is free again; without Redis the slot is lost, which is always allowed."""
        if slot.reservation == NO_RESERVATION:
            return
        try:
            await self._pacer.refund(message.tenant, message.registration_id, slot.reservation)
        except PacerUnavailable:
            metrics.PACER_CLOSED.inc()


def outcome_row(
    message: Leased, outcome: Outcome, first_look: float = FIRST_LOOK_SECONDS, draw: Callable[[float, float], float] = random.uniform
) -> OutcomeRow:
    """The outcome as it is recorded."""
    row = partial(OutcomeRow, message.tenant, message.id, message.attempt)
    match outcome:
        case Accepted():
            return row("taken", sid=outcome.sid, twilio_status=outcome.status, segments=outcome.segments)
        case Refused():
            error_class = outcome.error_class if outcome.code or outcome is retrying.EXPIRED else "sender"
            action = outcome.action if outcome.code else None  # our own verdict says nothing of what Twilio thinks of the sender
            return row("refused", code=outcome.code or None, error_class=error_class, detail=outcome.reason, action=action)
        case Deferred():
            seconds = pause(outcome, message.attempt, draw)
            ended = retrying.over(outcome, message.attempt, seconds, clock.now(), message.expires_at)
            if ended is not None:
                return row("refused", code=outcome.code, error_class=ended, detail=outcome.reason, action=outcome.action)
            return row(
                "deferred",
                code=outcome.code,
                error_class=outcome.error_class,
                detail=outcome.reason,
                seconds=seconds,
                action=outcome.action,
                counted=outcome.counted,
            )
        case Unknown():
            return row("unknown", code=outcome.code, detail=outcome.why, seconds=first_look)
        case unreachable:
            assert_never(unreachable)


def pause(outcome: Deferred, attempt: int, draw: Callable[[float, float], float]) -> float:
    """Seconds until the next try: full jitter, doubling from two seconds, so that the first four tries fit in a minute."""
    if outcome.retry_after == 0.0:
        return 0.0
    shortest, longest = (
        FULL_QUEUE_SECONDS if outcome.error_class == "backpressure" else (0.0, min(LONGEST_PAUSE_SECONDS, 2.0 ** min(attempt, 10)))
    )
    return max(outcome.retry_after or 0.0, draw(shortest, longest))


def sealed(message: Leased) -> tuple[str | None, str | None, str | None]:
    """The account's token, sealed, the Sid of its API key and the key's secret, sealed: as the message's sender has them."""
    return message.auth_token_sealed, message.api_key_sid, message.api_key_secret_sealed


def opened_of(
    keyring: Keyring, tenant: TenantId, account_sid: str, auth_token_sealed: str | None, key_sid: str | None, secret_sealed: str | None
) -> Credentials:
    """The credentials of a sender.

    Raises:
        SealBroken: they were sealed with a key that is no longer configured.
    """
    if key_sid and secret_sealed:
        return Credentials(account_sid, key_sid, keyring.open(secret_sealed, tenant, "senders.api_key_secret"))
    return Credentials.by_token(account_sid, keyring.open(auth_token_sealed or "", tenant, "senders.auth_token"))


async def until(moment: float) -> None:
    """Wait for a moment on the monotonic clock; one that has passed costs no turn of the loop."""
    if (left := moment - clock.monotonic()) > 0:
        await asyncio.sleep(left)

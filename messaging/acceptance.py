"""Deciding about a text before anything is stored: may it be sent, how many segments is it, when will it leave. No I/O."""

import math
import unicodedata
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from messaging import quiet_hours, recipients, segments
from messaging.retrying import LIFETIME_SECONDS
from runtime import clock
from runtime.ids import uuid7
from tenants.snapshot import SenderView, Snapshot
from tenants.tiers import registration_step

MOST_CHARACTERS = 1_600  # Twilio refuses longer bodies (error 21617)
FARTHEST_SCHEDULE = timedelta(days=365)
VISIBLE = frozenset("LNPS")  # letters, numbers, punctuation, symbols (Unicode general categories)
LONGEST_RETRY = 3_600.0  # seconds
CLASSES = {"otp": 0, "transactional": 1, "marketing": 2}


class BadText(ValueError):
    """The text cannot be sent as asked: a JSON pointer and one sentence fit to be spoken. `final` when asking again cannot help."""

    def __init__(self, pointer: str, sentence: str, *, final: bool = True) -> None:
        super().__init__(sentence)
        self.pointer = pointer
        self.final = final


class QueueFull(BadText):
    """No more texts of this tenant are taken just now; `detail` is for the API, in `retry_after` seconds there may be room."""

    def __init__(self, detail: str, retry_after: float) -> None:
        super().__init__("", "Too many texts are waiting to leave just now, so this one was not accepted.", final=False)
        self.detail = detail
        self.retry_after = max(1, math.ceil(min(retry_after, LONGEST_RETRY)))


class AcceptedText(msgspec.Struct, frozen=True):
    """A message as it will be stored; `wait` is the expected time until it leaves, in seconds, unless it is `held`."""

    id: UUID
    recipient: str
    body: str
    message_class: str
    encoding: str
    segments: int
    sender_id: UUID
    registration_id: UUID
    due_at: datetime | None
    expected_at: datetime
    wait: float
    held: bool

    def as_effect(self) -> dict[str, object]:
        """The message part of an effect, as the SQL function app.accept_v1 takes it."""
        return {
            "message_id": self.id,
            "recipient": self.recipient,
            "body": self.body,
            "class": self.message_class,
            "priority": CLASSES[self.message_class],
            "encoding": self.encoding,
            "segments": self.segments,
            "status": "scheduled" if self.due_at else "queued",
            "sender_id": self.sender_id,
            "registration_id": self.registration_id,
            "due_at": self.due_at,
            "expected_at": self.expected_at,
            "lifetime": LIFETIME_SECONDS[self.message_class],  # seconds that it is worth sending, from when it is due
        }


def accept_text(
    tenant: Snapshot,
    to: str,
    body: str,
    *,
    message_class: str = "transactional",
    send_at: datetime | None = None,
    sender_id: UUID | None = None,
) -> AcceptedText:
    """Check a text against its sender's registration and tell when it will leave: in quiet hours when they end.

    Raises:
        BadText: it cannot be sent as asked.
    """
    sender = chosen_sender(tenant, sender_id)
    check_body(body)
    try:
        recipient = recipients.parse(to, "US")
    except recipients.BadNumber as error:
        raise BadText("/to", str(error)) from error
    check_destination(sender, recipient.region)
    moment = clock.now()
    asked_for = checked_schedule(send_at, moment) or moment
    leaves = quiet_hours.put_off(tenant, recipient.e164, message_class, asked_for)
    counted = segments.count(body)
    wait = tenant.line_of(sender).wait(CLASSES[message_class], clock.monotonic())
    check_room(tenant, sender, message_class, wait)
    opens_at = max(moment, tenant.day_holds.get(sender.registration_id, moment))
    expected_at = max(leaves, opens_at + timedelta(seconds=wait))
    if expected_at > leaves:  # the queue, or a day that is used up, may last into the next quiet hours
        expected_at = quiet_hours.put_off(tenant, recipient.e164, message_class, expected_at)
    return AcceptedText(
        id=uuid7(),
        recipient=recipient.e164,
        body=body,
        message_class=message_class,
        encoding=counted.encoding,
        segments=counted.segments,
        sender_id=sender.id,
        registration_id=sender.registration_id,
        due_at=leaves if leaves > moment else None,
        expected_at=expected_at,
        wait=(expected_at - moment).total_seconds(),
        held=is_held(tenant, sender),
    )


def chosen_sender(tenant: Snapshot, sender_id: UUID | None) -> SenderView:
    """The sender that was named, or the default one."""
    sender = tenant.default_sender if sender_id is None else tenant.sender(sender_id)
    if sender is None and sender_id is not None:
        raise BadText("/sender_id", "There is no such sender.")
    if sender is None:
        raise BadText("", "Texting is not set up yet: no sender is registered.", final=False)
    return sender


def check_body(body: str) -> None:
    """A body Twilio takes: 1 to 1,600 characters, something visible, nothing that cannot travel."""
    if not any(unicodedata.category(character)[0] in VISIBLE for character in body):
        raise BadText("/body", "The text is empty; say what it should contain.")
    if len(body) > MOST_CHARACTERS:
        raise BadText("/body", f"The text has {len(body)} characters; at most {MOST_CHARACTERS:,} can be sent.")
    if "\x00" in body:
        raise BadText("/body", "The text holds a character that cannot be sent.")


def check_destination(sender: SenderView, region: str) -> None:
    """Whether the registration may text this country at all."""
    facts = sender.tier_facts
    if sender.segments_per_minute == 0 or not facts.sends_to(region):
        raise BadText("/to", f"This sender may not text that country yet. {registration_step(facts)}")


def checked_schedule(send_at: datetime | None, moment: datetime) -> datetime | None:
    """The scheduled instant, none when it is now."""
    if send_at is None:
        return None
    if send_at.tzinfo is None:
        raise BadText("/send_at", "The time needs its offset from UTC, such as 2026-03-01T09:00:00-08:00.")
    if send_at < moment - timedelta(minutes=1):
        raise BadText("/send_at", f"That time is past; it is now {clock.rfc3339(moment)}.")
    if send_at > moment + FARTHEST_SCHEDULE:
        raise BadText("/send_at", "A text can be scheduled at most a year ahead.")
    return send_at if send_at > moment else None


def check_room(tenant: Snapshot, sender: SenderView, message_class: str, wait: float) -> None:
    """Whether the tenant's queue has room for one more; a one-time code is refused by the wait alone.

    Raises:
        QueueFull: it has none.
    """
    bounds = tenant.queue_bounds
    if wait > bounds.most_seconds:
        sentence = (
            f"A text accepted now would leave in about {math.ceil(wait):,} seconds; this tenant's queue may last {bounds.most_seconds:,}."
        )
        raise QueueFull(f"{sentence} Send it again when the queue is shorter.", wait - bounds.most_seconds)
    queued = tenant.queued_messages + len(tenant.accepted_since)
    if queued < bounds.most_messages or message_class == "otp":
        return
    if bounds.policy == "drop_oldest_marketing" and any(view.due[-1][-1] for view in tenant.waiting.values()):
        return
    sentence = f"{queued:,} texts wait; this tenant's queue may hold {bounds.most_messages:,}."
    raise QueueFull(f"{sentence} Send it again when some have left.", 60 / tenant.rate_now(sender))


def is_held(tenant: Snapshot, sender: SenderView) -> bool:
    """Whether nothing leaves just now, whatever the pace."""
    day_used = tenant.day_holds.get(sender.registration_id)
    return sender.hold_reason is not None or tenant.switch("sending", "on") == "hold" or (day_used is not None and day_used > clock.now())

"""What Twilio tells by itself: what became of a text, and what people answer.

Callbacks are unordered, repeated and sometimes missing (Twilio's guide "track outbound message status"): only a higher rank
counts, the first final state stands, and each (Sid, status) is stored once. That one arrives at all proves that Twilio took the text.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from messaging import consent, consent_words, resending
from messaging.faults import fault
from messaging.learning import learn
from messaging.outcomes import next_status, receipt_rank, whole_number
from messaging.tables import message_events, messages
from runtime.ids import TenantId
from runtime.metrics import RECEIPTS
from runtime.refusals import NotFound
from tenants.tables import arrivals, registrations

FINAL = {"delivered": "delivered", "read": "delivered", "undelivered": "undelivered", "failed": "failed", "canceled": "canceled"}
PRICED = frozenset({"delivered", "undelivered", "failed"})
PRICE_AFTER = timedelta(minutes=1)  # after its end Twilio knows what a text costs
MOST_SEGMENTS = 100
CONSENT = ("stop", "start", "help")
RCS = "rcs:"  # before a person's number on that channel, which shares its opt-outs with SMS
TOLL_FREE_STOP = 30004  # on toll-free numbers this is how the network's own STOP shows

BILL = text("SELECT app.bill_segments_v1(:tenant, :message, CAST(:counted AS smallint), CAST(:final AS smallint), app.now())")
CLAIM_SID = text("SELECT app.claim_sid_v1(:tenant, :message, :sid)")
COUNT_INBOUND = text("""
INSERT INTO usage_events (tenant_id, meter, source_id, quantity, occurred_at)
VALUES (:tenant, 'sms_segments_in', :source, :segments, app.now()) ON CONFLICT (tenant_id, meter, source_id) DO NOTHING
""")


async def record_receipt(connection: AsyncConnection, tenant: TenantId, message_id: UUID, form: Mapping[str, str]) -> str:
    """Record a status callback, in the tenant's scope.

    Gives what became of it: moved (the message changed), repeated, late (it says nothing new, or speaks of another text), ignored
    (it names no text or no status of an outgoing one).

    Raises:
        NotFound: the tenant has no such message.
    """
    outcome = await receive(connection, tenant, message_id, form)
    RECEIPTS.labels(outcome).inc()
    return outcome


async def receive(connection: AsyncConnection, tenant: TenantId, message_id: UUID, form: Mapping[str, str]) -> str:
    """The way of a receipt; see `record_receipt`."""
    sid, reported = form.get("MessageSid") or form.get("SmsSid") or "", form.get("MessageStatus") or form.get("SmsStatus") or ""
    query = select(messages).where(messages.c.tenant_id == tenant, messages.c.id == message_id).with_for_update()
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound("message")
    if not sid or not receipt_rank(reported):
        return "ignored"
    # once sent again there are two texts, and the one we follow is the newer; before that the address proves whose the Sid is
    ours = row["twilio_sid"] in (None, sid) or not row["resent"]
    if await resending.is_older(connection, tenant, row, sid):
        ours = resending.delivered_after_all(row, reported)
    moves = ours and next_status(row["twilio_status"], reported) is not None
    code = whole_number(form.get("ErrorCode"))
    status = FINAL.get(reported, "sent") if moves else "late"
    event = {"tenant_id": tenant, "message_id": message_id, "at": func.app.now(), "status": status}
    detail = " ".join(filter(None, [sid, reported, f"error {code}" if code else None]))
    stored = upsert(message_events).values({**event, "detail": detail, "receipt": f"{sid}:{reported}"}).on_conflict_do_nothing()
    if (await connection.execute(stored)).rowcount == 0:
        return "repeated"
    if ours and row["twilio_sid"] != sid:
        await connection.execute(CLAIM_SID, {"tenant": tenant, "message": message_id, "sid": sid})
    if not moves:
        return "late"
    await move(connection, tenant, row, reported, code)
    final = segments_told(form)
    await connection.execute(BILL, {"tenant": tenant, "message": message_id, "counted": row["segments"], "final": final})
    if code is not None:
        await learn(connection, tenant, row, code)
    if await means_stop(connection, tenant, row["registration_id"], code):
        await consent.suppress(connection, tenant, row["recipient"], [row["sender_id"]], "twilio")
    await resending.send_again(connection, tenant, row, reported, code)
    return "moved"


async def move(connection: AsyncConnection, tenant: TenantId, row: Mapping[Any, Any], reported: str, code: int | None) -> None:
    """Bring the message to what was reported, whatever we believed of it; whoever was sending it loses its lease."""
    status = FINAL.get(reported, "sent")
    proved = {"error_code": None, "error_class": None} if row["twilio_sid"] is None else {}  # our own verdict on it was wrong
    failed = {"error_code": code, "error_class": fault(code).error_class} if code and (proved or row["error_code"] is None) else {}
    values: dict[str, Any] = {
        "status": status,
        "twilio_status": reported,
        "sent_at": func.coalesce(messages.c.sent_at, func.app.now()),
        "lease_owner": None,
        "lease_until": None,
        "look_at": None,
        "updated_at": func.app.now(),
        **proved,
        **failed,
    }
    if status in PRICED:
        values["price_due"] = func.app.now() + PRICE_AFTER
    if status == "delivered":
        values["delivered_at"] = func.coalesce(messages.c.delivered_at, func.app.now())
    await connection.execute(update(messages).where(messages.c.tenant_id == tenant, messages.c.id == row["id"]).values(**values))
    if row["status"] in ("queued", "scheduled"):
        await take_back(connection, tenant, row["registration_id"], row["segments"])


async def take_back(connection: AsyncConnection, tenant: TenantId, registration_id: UUID, segments: int) -> None:
    """Tell the schedule that a waiting message will not leave."""
    values = {"tenant_id": tenant, "registration_id": registration_id, "due_at": func.app.now(), "segments": -segments}
    await connection.execute(insert(arrivals).values(values))


async def means_stop(connection: AsyncConnection, tenant: TenantId, registration_id: UUID, code: int | None) -> bool:
    """Whether the error says that this person wants no more texts."""
    if code == TOLL_FREE_STOP:
        query = select(registrations.c.tier).where(registrations.c.tenant_id == tenant, registrations.c.id == registration_id)
        return str((await connection.execute(query)).scalar()).startswith("toll_free")
    return code is not None and fault(code).action == "suppress"


async def record_inbound(connection: AsyncConnection, tenant: TenantId, form: Mapping[str, str]) -> str:
    """Record a text that somebody sent to a tenant's number: its segments, and what it means for consent; the last one to arrive holds.

    Gives stop, start, help, other, repeated (this Sid was recorded before), or ignored (no Sid or sender). Twilio has
    answered STOP, START and HELP by then, so we stay silent.
    """
    sid, sender = form.get("MessageSid") or form.get("SmsSid"), form.get("From", "").removeprefix(RCS)
    if not sid or not sender:
        return "ignored"
    source, segments = f"inbound:{sid}", segments_told(form) or 1
    counted = await connection.execute(COUNT_INBOUND, {"tenant": tenant, "source": source, "segments": segments})
    if counted.rowcount == 0:
        return "repeated"
    told = (form.get("OptOutType") or "").strip().lower()  # Advanced Opt-Out decides where it speaks: its words are the tenant's own
    said = told if told in CONSENT else consent_words.meaning(form.get("Body", ""))
    if said in ("stop", "start"):
        reached = await consent.senders_reached(connection, tenant, form)
        if said == "stop":
            await consent.suppress(connection, tenant, sender, reached, "inbound")
        else:
            await consent.resume(connection, tenant, sender, reached)
    return said or "other"


def segments_told(form: Mapping[str, str]) -> int | None:
    """How many segments Twilio counted, if it says so; no text has more than a few dozen."""
    told = whole_number(form.get("NumSegments"))
    return told if told is not None and 0 < told <= MOST_SEGMENTS else None

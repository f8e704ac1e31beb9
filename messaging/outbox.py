"""What the API shows and changes of the outbox; every function runs in the tenant's scope."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, case, insert, literal, select, update
from sqlalchemy import func as f
from sqlalchemy.ext.asyncio import AsyncConnection

from messaging import retrying
from messaging.faults import describe
from messaging.learning import CIRCUIT
from messaging.receipts import take_back
from messaging.tables import message_events, messages
from runtime.clock import rfc3339
from runtime.ids import TenantId
from runtime.refusals import Conflict, NotFound
from tenants.tables import registration_holds, schedule

OURS = {  # errors that are no code of Twilio's
    "ambiguous": (
        "Twilio did not say whether it took this text, and listed it in neither of two looks; it was not sent again.",
        "Ask the recipient, or send it once more.",
    ),
    "dropped": (
        "More texts waited than this tenant's queue may hold, so the oldest marketing made room.",
        "Send it again when the queue is shorter, or ask the operator for a longer queue.",
    ),
    "sender": ("The credentials of its sender could not be read.", "Register the sender again, then send the text once more."),
    "expired": (retrying.EXPIRED.reason, retrying.EXPIRED.what_to_do),
    "exhausted": ("Twilio could not be reached in as many tries as a text has.", "Send it again once Twilio can be reached."),
}

CANCELABLE = ("queued", "scheduled", "held")  # it has not begun to leave

# a message that waits while its registration is held is shown as held; it is stored as what it was
SHOWN = case((and_(messages.c.status == "queued", schedule.c.hold_reason.is_not(None)), "held"), else_=messages.c.status)
# what Twilio said of its sender, whose tenant has to do something about it
SENDER_REFUSED = (
    select(registration_holds.c.code)
    .where(
        registration_holds.c.tenant_id == messages.c.tenant_id,
        registration_holds.c.registration_id == messages.c.registration_id,
        registration_holds.c.action.in_(CIRCUIT),
        registration_holds.c.held_until > f.app.now(),
    )
    .scalar_subquery()
)
MESSAGE: Select[Any] = select(
    messages.c.id,
    messages.c.recipient,
    messages.c.body,
    messages.c["class"],
    messages.c.segments,
    messages.c.final_segments,
    messages.c.sender_id,
    messages.c.call_id,
    messages.c.twilio_sid,
    messages.c.error_code,
    messages.c.error_class,
    messages.c.attempt,
    messages.c.sending_at,
    messages.c.expected_at,
    messages.c.due_at,
    messages.c.created_at,
    messages.c.sent_at,
    messages.c.delivered_at,
    SHOWN.label("status"),
    schedule.c.hold_reason,
    SENDER_REFUSED.label("sender_refused"),
).outerjoin_from(
    messages, schedule, (schedule.c.tenant_id == messages.c.tenant_id) & (schedule.c.registration_id == messages.c.registration_id)
)


async def get_message(connection: AsyncConnection, tenant: TenantId, message_id: UUID) -> dict[str, Any]:
    """One message as the contract shows it, with its history.

    Raises:
        NotFound: the tenant has no such message.
    """
    query = MESSAGE.where(messages.c.tenant_id == tenant, messages.c.id == message_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound("message")
    return presented(dict(row), (await history(connection, tenant, [message_id])).get(message_id, []))


async def list_messages(
    connection: AsyncConnection,
    tenant: TenantId,
    *,
    status: str | None = None,
    to: str | None = None,
    call_id: str | None = None,
    limit: int = 50,
    before: UUID | None = None,
) -> list[dict[str, Any]]:
    """At most `limit` messages as the contract shows them, newest first; `before` is the id of the last one of the page before."""
    filters: list[ColumnElement[bool]] = [messages.c.tenant_id == tenant]
    if status is not None:
        filters += with_status(status)
    if to is not None:
        filters.append(messages.c.recipient == to)
    if call_id is not None:
        filters.append(messages.c.call_id == call_id)
    if before is not None:
        filters.append(messages.c.id < before)
    query = MESSAGE.where(*filters).order_by(messages.c.id.desc()).limit(limit)
    rows = [dict(row) for row in (await connection.execute(query)).mappings()]
    events = await history(connection, tenant, [row["id"] for row in rows])
    return [presented(row, events.get(row["id"], [])) for row in rows]


def with_status(status: str) -> list[ColumnElement[bool]]:
    """The rows that are shown with a status; on the stored one first, which the indexes know."""
    if status in ("queued", "held"):
        return [messages.c.status.in_(["queued", "held"]), literal(status) == SHOWN]
    return [messages.c.status == status]


async def cancel_message(connection: AsyncConnection, tenant: TenantId, message_id: UUID) -> dict[str, Any]:
    """Cancel a message that has not begun to leave; gives it as the contract shows it. Cancelling twice is cancelling once.

    Raises:
        NotFound: the tenant has no such message. Conflict: it is on its way, or its life is over.
    """
    waiting = update(messages).where(messages.c.tenant_id == tenant, messages.c.id == message_id, messages.c.status.in_(CANCELABLE))
    cancelled = waiting.values(status="canceled", updated_at=f.app.now()).returning(messages.c.registration_id, messages.c.segments)
    row = (await connection.execute(cancelled)).one_or_none()
    if row is not None:
        await take_back(connection, tenant, row.registration_id, row.segments)
        event = {"tenant_id": tenant, "message_id": message_id, "at": f.app.now(), "status": "canceled"}
        await connection.execute(insert(message_events).values(**event))
    found = await get_message(connection, tenant, message_id)
    if found["status"] != "canceled":
        raise Conflict(f"The message is {found['status']}; only one that is scheduled, queued or held can be canceled.")
    return found


async def history(connection: AsyncConnection, tenant: TenantId, ids: list[UUID]) -> dict[UUID, list[dict[str, Any]]]:
    """What happened to messages, in order, by message: `{at, status, detail?}`."""
    event = message_events.c
    query = select(event.message_id, event.at, event.status, event.detail).where(event.tenant_id == tenant, event.message_id.in_(ids))
    events: dict[UUID, list[dict[str, Any]]] = {}
    for row in (await connection.execute(query.order_by(event.message_id, event.id))).mappings():
        events.setdefault(row["message_id"], []).append(step(row["at"], row["status"], row["detail"]))
    return events


def presented(row: dict[str, Any], events: list[dict[str, Any]]) -> dict[str, Any]:
    """A message as the HTTP contract writes it; what is not known yet is left out."""
    began = [step(row["created_at"], "scheduled" if row["due_at"] > row["created_at"] and not row["attempt"] else "queued", None)]
    left = [step(row["sending_at"], "sending", None)] if row["sending_at"] else []
    shown = {
        "id": str(row["id"]),
        "to": row["recipient"],
        "body": row["body"],
        "class": row["class"],
        "segments": row["final_segments"] or row["segments"],
        "status": row["status"],
        "sender_id": str(row["sender_id"]),
        "call_id": row["call_id"],
        "twilio_sid": row["twilio_sid"],
        "error": error_of(row["error_code"], row["error_class"]) or hold_of(row),
        "expected_at": rfc3339(row["expected_at"]),
        "created_at": rfc3339(row["created_at"]),
        "sent_at": rfc3339(row["sent_at"]) if row["sent_at"] else None,
        "delivered_at": rfc3339(row["delivered_at"]) if row["delivered_at"] else None,
        "history": sorted(began + left + events, key=lambda entry: str(entry["at"])),
    }
    return {name: value for name, value in shown.items() if value is not None}


def step(at: datetime, status: str, detail: str | None) -> dict[str, Any]:
    """One entry of a history."""
    entry = {"at": rfc3339(at), "status": status}
    return entry if detail is None else {**entry, "detail": detail}


def error_of(code: int | None, error_class: str | None) -> dict[str, Any] | None:
    """What went wrong and what the tenant can do about it."""
    if error_class is None and code is None:
        return None
    reason, what_to_do = OURS[error_class] if code is None and error_class in OURS else describe(code)
    return {"code": code, "reason": reason, "what_to_do": what_to_do}


def hold_of(row: dict[str, Any]) -> dict[str, Any] | None:
    """Why a held message waits."""
    if row["status"] != "held":
        return None
    what_to_do = "It leaves by itself once the hold ends."
    if row["sender_refused"] is not None:
        what_to_do = f"{describe(row['sender_refused']).what_to_do} It leaves once Twilio takes texts of this sender again."
    return {"code": None, "reason": f"Nothing leaves now: {row['hold_reason']}.", "what_to_do": what_to_do}

"""A text that Twilio took and that failed later is sent once more, if its error is one that passes: the same message, a new Sid."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from messaging import retrying
from messaging.tables import message_events, messages
from runtime import clock
from runtime.ids import TenantId
from runtime.logs import log
from tenants.tables import arrivals

FAILED = frozenset({"failed", "undelivered"})
WAITING = frozenset({"queued", "scheduled"})


async def send_again(connection: AsyncConnection, tenant: TenantId, row: Mapping[Any, Any], reported: str, code: int | None) -> bool:
    """Whether the message, which was just recorded as failed, waits to be sent once more. `row`: what it was before, locked.

    Its attempt is counted up: our own slower record of the text that failed then finds another attempt and changes nothing.
    """
    if code is None or reported not in FAILED:
        return False
    due_at = retrying.again(code, row["class"], row["retries"], clock.now(), row["expires_at"])
    if due_at is None:
        return False
    values = {
        "status": "queued",
        "attempt": messages.c.attempt + 1,
        "retries": messages.c.retries + 1,
        "due_at": due_at,
        "expected_at": due_at,
        "twilio_sid": None,
        "twilio_status": None,
        "error_code": None,
        "error_class": None,
        "sending_at": None,
        "sent_at": None,
        "price_due": None,
        "looks": 0,
        "updated_at": func.app.now(),
    }
    await connection.execute(update(messages).where(messages.c.tenant_id == tenant, messages.c.id == row["id"]).values(**values))
    event = {"tenant_id": tenant, "message_id": row["id"], "at": func.app.now(), "status": "queued", "detail": f"sent again: error {code}"}
    await connection.execute(insert(message_events).values(**event))
    arrival = {"tenant_id": tenant, "registration_id": row["registration_id"], "due_at": due_at, "segments": row["segments"]}
    await connection.execute(insert(arrivals).values(**arrival))
    log.info("a failed text is sent again", code=code, message_id=str(row["id"]), retries=row["retries"] + 1, due_at=clock.rfc3339(due_at))
    return True


async def is_older(connection: AsyncConnection, tenant: TenantId, row: Mapping[Any, Any], sid: str) -> bool:
    """Whether a Sid is of a text that failed before its message was sent again: its receipts are known, and it is no longer followed."""
    if not row["retries"] or row["twilio_sid"] == sid:
        return False
    event = message_events.c
    known = select(event.id).where(
        event.tenant_id == tenant, event.message_id == row["id"], event.receipt.startswith(f"{sid}:", autoescape=True)
    )
    return (await connection.execute(known.limit(1))).first() is not None


def delivered_after_all(row: Mapping[Any, Any], reported: str) -> bool:
    """Whether an older text settles its message: it arrived, and the newer one has not begun to leave."""
    return reported == "delivered" and row["status"] in WAITING


async def told_of(connection: AsyncConnection, tenant: TenantId, recipient: str, sids: list[str]) -> set[str]:
    """Which of these Sids a receipt has named: each is of the message that its receipt came for, also once that follows another."""
    event = message_events.c
    sid = func.split_part(event.receipt, ":", 1)
    query = (
        select(sid)
        .join_from(messages, message_events, (event.tenant_id == messages.c.tenant_id) & (event.message_id == messages.c.id))
        .where(messages.c.tenant_id == tenant, messages.c.recipient == recipient, sid.in_(sids))
    )
    return set((await connection.execute(query)).scalars())

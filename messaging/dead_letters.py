"""Texts that ended without arriving, and what it takes to send one again; every function runs in the tenant's scope."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncConnection

from messaging.faults import describe
from messaging.outbox import MESSAGE, error_of
from messaging.tables import messages
from runtime.clock import rfc3339
from runtime.ids import TenantId
from runtime.refusals import Conflict, NotFound

DEAD = ("failed", "undelivered")
RESENDABLE = (*DEAD, "canceled")
OPTED_OUT = "opt_out"


async def list_dead(
    connection: AsyncConnection, tenant: TenantId, *, error_class: str | None = None, limit: int = 50, before: UUID | None = None
) -> list[dict[str, Any]]:
    """At most `limit` texts that failed or were not delivered, newest first; `before` is the id of the last one of the page before."""
    filters: list[ColumnElement[bool]] = [messages.c.tenant_id == tenant, messages.c.status.in_(DEAD)]
    if error_class is not None:
        filters.append(messages.c.error_class == error_class)
    if before is not None:
        filters.append(messages.c.id < before)
    query = MESSAGE.where(*filters).order_by(messages.c.id.desc()).limit(limit)
    return [letter(dict(row)) for row in (await connection.execute(query)).mappings()]


def letter(row: dict[str, Any]) -> dict[str, Any]:
    """One as the HTTP contract writes it; what is not known is left out. `resendable`: whether sending it again is not refused at once."""
    error = error_of(row["error_code"], row["error_class"]) or describe(None)._asdict()
    shown = {
        "id": str(row["id"]),
        "to": row["recipient"],
        "body": row["body"],
        "class": row["class"],
        "status": row["status"],
        "sender_id": str(row["sender_id"]),
        "call_id": row["call_id"],
        "twilio_sid": row["twilio_sid"],
        "error_code": row["error_code"],
        "error_class": row["error_class"],
        "reason": error["reason"],
        "what_to_do": error["what_to_do"],
        "resendable": row["error_class"] != OPTED_OUT,
        "created_at": rfc3339(row["created_at"]),
    }
    return {name: value for name, value in shown.items() if value is not None}


async def to_send_again(connection: AsyncConnection, tenant: TenantId, message_id: UUID) -> dict[str, Any]:
    """What a text that ended said, to whom and from which sender.

    Raises:
        NotFound: the tenant has no such message. Conflict: it may still arrive, or it did.
    """
    columns = (messages.c.recipient, messages.c.body, messages.c["class"], messages.c.sender_id, messages.c.status)
    query = select(*columns).where(messages.c.tenant_id == tenant, messages.c.id == message_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound("message")
    if row["status"] not in RESENDABLE:
        raise Conflict(f"The message is {row['status']}; only one that failed, was not delivered or was canceled can be sent again.")
    return dict(row)

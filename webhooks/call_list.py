"""Reading back calls: a page of them, and one."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.ids import TenantId
from runtime.refusals import NotFound
from tenants import audit
from tenants.privacy import Privacy
from webhooks.call_contents import masked
from webhooks.tables import calls, processed_webhooks

SHOWN = (
    "call_id",
    "assistant_id",
    "state",
    "started_at",
    "ended_at",
    "seconds",
    "estimated_seconds",
    "cost_usd",
    "ended_reason",
    "reported_by",
    "phone_number_id",
    "call_type",
    "created_at",
)
PERSONAL = ("customer_masked", "customer_sealed", "forgotten_at")  # of one call, never of a list
FORGET = text("SELECT app.forget_call_v1(:tenant, :call)")
heard = processed_webhooks.c


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which calls; `first` (inclusive) and `end` (exclusive) are about when a call was first heard of."""

    state: str | None = None
    assistant_id: str | None = None
    first: datetime | None = None
    end: datetime | None = None


async def list_calls(
    connection: AsyncConnection, tenant: TenantId, wanted: Wanted, before: tuple[Any, str] | None, limit: int
) -> list[dict[str, Any]]:
    """A tenant's calls, the newest first; `before` is (created_at, call_id) of the last one shown."""
    query = select(*(calls.c[name] for name in SHOWN)).where(calls.c.tenant_id == tenant)
    query = query.order_by(calls.c.created_at.desc(), calls.c.call_id.desc()).limit(limit)
    if wanted.state is not None:
        query = query.where(calls.c.state == wanted.state)
    if wanted.assistant_id is not None:
        query = query.where(calls.c.assistant_id == wanted.assistant_id)
    if wanted.first is not None:
        query = query.where(calls.c.created_at >= wanted.first)
    if wanted.end is not None:
        query = query.where(calls.c.created_at < wanted.end)
    if before is not None:
        query = query.where((calls.c.created_at < before[0]) | ((calls.c.created_at == before[0]) & (calls.c.call_id < before[1])))
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def call(connection: AsyncConnection, tenant: TenantId, call_id: str, privacy: Privacy) -> dict[str, Any]:
    """One call, also one that no status or report spoke of yet, only a tool call; those fill what the others left open.

    Raises:
        NotFound: nothing of the tenant speaks of this call.
    """
    query = select(*(calls.c[name] for name in SHOWN + PERSONAL)).where(calls.c.tenant_id == tenant, calls.c.call_id == call_id)
    known = (await connection.execute(query)).mappings().one_or_none()
    row: dict[str, Any] = dict.fromkeys(SHOWN + PERSONAL) if known is None else dict(known)
    if known is None or row["assistant_id"] is None or (row["customer_masked"] is None and row["forgotten_at"] is None):
        trace = await traced(connection, tenant, call_id)
        if known is None and trace["created_at"] is None:
            raise NotFound("call")
        if known is None:
            row |= {"call_id": call_id, "state": "unknown", "created_at": trace["created_at"]}
        row["assistant_id"] = row["assistant_id"] or trace["assistant_id"]
        if trace["caller"] and privacy.customer != "none" and row["forgotten_at"] is None:
            row["customer_masked"] = row["customer_masked"] or masked(trace["caller"])
    return row


async def traced(connection: AsyncConnection, tenant: TenantId, call_id: str) -> dict[str, Any]:
    """What the tool calls and other messages of a call leave of it: the same whatever their order."""
    query = select(
        func.max(heard.assistant_id.collate("C")).label("assistant_id"),
        func.max(heard.caller.collate("C")).label("caller"),
        func.min(heard.received_at).label("created_at"),
    ).where(heard.tenant_id == tenant, heard.call_id == call_id, heard.source == "vapi")
    return dict((await connection.execute(query)).mappings().one())


async def forget(connection: AsyncConnection, tenant: TenantId, call_id: str, actor: str) -> None:
    """Forget customer, transcript, summary, kept bodies and whom the tools reached; whatever tells them again is not kept.

    Raises:
        NotFound: nothing of the tenant speaks of this call.
    """
    if not (await connection.execute(FORGET, {"tenant": tenant, "call": call_id})).scalar_one():
        raise NotFound("call")
    await audit.record(connection, actor, "call.content_forgotten", tenant, call_id)

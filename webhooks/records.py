"""Reading back what webhooks meant: one webhook is one POST with the effects that it was first to claim."""

from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import and_, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.ids import TenantId
from runtime.refusals import NotFound
from webhooks.tables import processed_webhooks

effects = processed_webhooks.c
IN_FLIGHT, DEAD, FAILED, DONE = "in_flight", "dead", "failed", "done"
# a run whose lease is over was left by a process that died: it is dead, whatever stands there
STATE = case((and_(effects.state == IN_FLIGHT, effects.lease_until <= func.app.now()), DEAD), else_=effects.state).label("state")
INTERRUPTED = "the process that ran it ended before it had an answer"
COLUMNS = (
    effects.webhook_id,
    effects.place,
    effects.type,
    STATE,
    effects.call_id,
    effects.assistant_id,
    effects.tool_call_id,
    effects.name,
    effects.arguments,
    effects.answer,
    effects.message_id,
    effects.duplicates,
    effects.received_at,
    effects.reason,
    effects.attempt,
    effects.replay_of,
    effects.key,
    effects.caller,
)
RANKED = (IN_FLIGHT, DEAD, FAILED)  # one such effect makes a webhook such, whatever became of the others


async def list_webhooks(
    connection: AsyncConnection, tenant: TenantId, kind: str | None, call_id: str | None, state: str | None, before: UUID | None, limit: int
) -> list[dict[str, Any]]:
    """A tenant's webhooks, the newest first."""
    wanted = select(effects.webhook_id).where(effects.tenant_id == tenant, effects.source == "vapi").group_by(effects.webhook_id)
    for column, value in ((effects.type, kind), (effects.call_id, call_id)):
        if value is not None:
            wanted = wanted.where(column == value)
    if state in (IN_FLIGHT, DEAD):  # few are: they have an index of their own
        open_ones = select(effects.webhook_id).where(effects.tenant_id == tenant, effects.state.in_((IN_FLIGHT, DEAD)))
        wanted = wanted.where(effects.webhook_id.in_(open_ones))
    if state is not None:
        whole = [(func.bool_or(STATE.element == each), each) for each in RANKED]
        wanted = wanted.having(case(*whole, else_=DONE) == state)
    if before is not None:
        wanted = wanted.where(effects.webhook_id < before)
    ids = list((await connection.execute(wanted.order_by(effects.webhook_id.desc()).limit(limit))).scalars())
    return await webhooks_of(connection, tenant, ids)


async def webhook(connection: AsyncConnection, tenant: TenantId, webhook_id: UUID) -> dict[str, Any]:
    """One webhook.

    Raises:
        NotFound: the tenant has no such webhook.
    """
    found = await webhooks_of(connection, tenant, [webhook_id])
    if not found:
        raise NotFound("webhook")
    return found[0]


async def effects_of(connection: AsyncConnection, tenant: TenantId, webhook_id: UUID) -> list[dict[str, Any]]:
    """The effects that a webhook was the first to claim, in their places."""
    wanted = (effects.tenant_id == tenant, effects.webhook_id == webhook_id, effects.source == "vapi")
    return [dict(row) for row in (await connection.execute(select(*COLUMNS).where(*wanted).order_by(effects.place))).mappings()]


async def webhook_of_key(connection: AsyncConnection, tenant: TenantId, key: bytes) -> UUID | None:
    """The webhook that claimed a key."""
    query = select(effects.webhook_id).where(effects.tenant_id == tenant, effects.key == key)
    return (await connection.execute(query)).scalar()


async def webhooks_of(connection: AsyncConnection, tenant: TenantId, ids: list[UUID]) -> list[dict[str, Any]]:
    """These webhooks with their effects, in the order given."""
    query = (
        select(*COLUMNS).where(effects.tenant_id == tenant, effects.webhook_id.in_(ids), effects.source == "vapi").order_by(effects.place)
    )
    grouped: dict[UUID, list[dict[str, Any]]] = {}
    for row in (await connection.execute(query)).mappings():
        grouped.setdefault(row["webhook_id"], []).append(dict(row))
    return [one_webhook(grouped[webhook_id]) for webhook_id in ids if webhook_id in grouped]


def one_webhook(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A webhook from the rows of its effects."""
    first = rows[0]
    answered = [msgspec.json.decode(row["answer"]) for row in rows]
    failed = next((answer["error"] for answer in answered if isinstance(answer, dict) and "error" in answer), None)
    states = {row["state"] for row in rows}
    reasons = [row["reason"] or INTERRUPTED for row in rows if row["state"] == DEAD or row["reason"]]
    return {
        "id": first["webhook_id"],
        "type": first["type"],
        "call_id": first["call_id"],
        "assistant_id": first["assistant_id"],
        "state": next((each for each in RANKED if each in states), DONE),
        "received_at": first["received_at"],
        "duplicates": max(row["duplicates"] for row in rows),
        "results": [answer for answer in answered if answer],
        "message_ids": [row["message_id"] for row in rows if row["message_id"] is not None],
        "error": failed,
        "reason": reasons[0] if reasons else None,
        "replay_of": first["replay_of"],
    }

"""Replaying a webhook by hand: a report or a status is handled again under its own key, a tool call only anew and by explicit wish.

What is dead, or was left by a process that died, is run again under its own key: nothing of it stands.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.database import Database
from runtime.ids import uuid7
from runtime.refusals import Conflict, Forbidden, Invalid, NotFound
from tenants import audit
from tenants.snapshot import Snapshot
from webhooks import keys, records
from webhooks.asked import Asked
from webhooks.bodies import body_of
from webhooks.calls import CallFacts, report_facts
from webhooks.claims import Claims
from webhooks.ingest import facts_fingerprint
from webhooks.modes import ENFORCE
from webhooks.tool_calls import ToolCall
from webhooks.tool_work import ToolWork

TOOLS = ("tool-calls", "function-call")
FACTS = msgspec.json.Decoder(CallFacts)
REPORT, STATUS = "end-of-call-report", "status-update"
NEW = "new"
SETTLED = text("UPDATE processed_webhooks SET state = 'done', reason = NULL WHERE tenant_id = :tenant AND key = :key AND state = 'dead'")

Rows = Sequence[dict[str, Any]]


class Replays:
    """Handles stored webhooks again."""

    def __init__(self, database: Database, claims: Claims, tools: ToolWork) -> None:
        self._database = database
        self._claims = claims
        self._tools = tools

    async def replay(self, tenant: Snapshot, webhook_id: UUID, effects: str | None, actor: str, wish: str | None) -> UUID:
        """Handle a webhook again; gives the id under which to look at what came of it.

        `effects` is None or "new". `wish` (an Idempotency-Key) makes one wish out of several requests.

        Raises:
            NotFound: the tenant has no such webhook. Conflict: it is in flight, or nothing is left to handle it from.
            Invalid: tool calls were done, and new effects were not asked for. Forbidden: the tenant is suspended.
            Unavailable: nothing was stored.
        """
        async with self._database.tenant_scope(tenant.id) as connection:
            rows = await records.effects_of(connection, tenant.id, webhook_id)
            kept = await body_of(connection, tenant.id, webhook_id) if rows else None
        if not rows:
            raise NotFound("webhook")
        if any(row["state"] == records.IN_FLIGHT for row in rows):
            raise Conflict("This webhook is still being handled; wait until it has ended.")
        again = wish or str(uuid7())
        if rows[0]["type"] in TOOLS:
            return await self._tool_calls(tenant, rows, effects, actor, again)
        await self._note(tenant, webhook_id, actor, webhook_id)
        await self._own_key(tenant, rows[0], kept)
        return webhook_id

    async def _tool_calls(self, tenant: Snapshot, rows: Rows, effects: str | None, actor: str, again: str) -> UUID:
        if tenant.status != "active":
            raise Forbidden("This tenant is suspended; nothing is done until the operator resumes it.")
        original: UUID = rows[0]["webhook_id"]
        dead = [row for row in rows if row["state"] == records.DEAD]
        if effects != NEW and not dead:
            raise Invalid.at(
                "/effects", 'These tool calls were done. To do them anew, with new effects and billed anew, send {"effects": "new"}.'
            )
        if effects != NEW:
            await self._note(tenant, original, actor, original)
            await self._tools.do(tenant, [as_it_was(row) for row in dead], ENFORCE, unhurried)
            return original
        fresh = uuid7()
        asked = [anew(row, fresh, again) for row in rows]
        await self._note(tenant, original, actor, fresh)
        claimed = await self._tools.do(tenant, asked, ENFORCE, unhurried)
        if any(each.outcome == "new" for each in claimed):
            return fresh
        async with self._database.tenant_scope(tenant.id) as connection:  # this wish was granted before, or nothing of it could be stored
            return await records.webhook_of_key(connection, tenant.id, asked[0].key) or original

    async def _own_key(self, tenant: Snapshot, row: dict[str, Any], kept: bytes | None) -> None:
        """What a report or a status says fills gaps again; what only informs was recorded, and that is all there is to it."""
        if row["type"] in (REPORT, STATUS) and row["call_id"] is not None:
            facts = facts_of(row, kept)
            await self._claims.record_call(
                tenant.id, row["webhook_id"], row["type"], row["call_id"], row["assistant_id"], row["key"], facts_fingerprint(facts), facts,
                final=row["type"] == REPORT, again=True,
            )  # fmt: skip  # what it is, then how it is taken
        elif row["state"] == records.DEAD:
            async with self._database.tenant_scope(tenant.id) as connection:
                await connection.execute(SETTLED, {"tenant": tenant.id, "key": row["key"]})

    async def _note(self, tenant: Snapshot, original: UUID, actor: str, result: UUID) -> None:
        """Written down before it is done."""
        connection: AsyncConnection
        async with self._database.unscoped() as connection:  # unscoped: the audit trail stands in the schema control
            await audit.record(connection, actor, "webhook.replayed", tenant.id, str(original), result=str(result))


def facts_of(row: dict[str, Any], kept: bytes | None) -> CallFacts:
    """What a report or a status said: as it was stored with its key, else out of its body, if that was kept.

    Raises:
        Conflict: neither is there.
    """
    if row["arguments"]:
        return FACTS.decode(row["arguments"])
    if kept is None or row["type"] != REPORT:
        raise Conflict("Nothing was kept that this webhook could be handled from again.")
    return report_facts(kept)


def as_it_was(row: dict[str, Any]) -> Asked:
    """A stored tool call under its own key."""
    arguments = msgspec.json.decode(row["arguments"]) if row["arguments"] else None
    return Asked(
        webhook_id=row["webhook_id"],
        place=row["place"],
        type=row["type"],
        call_id=row["call_id"],
        assistant_id=row["assistant_id"],
        caller=row["caller"],
        tool=ToolCall(row["tool_call_id"], row["name"] or "", arguments),
        arguments=keys.canonical(arguments),
        key=row["key"],
        replay_of=row["replay_of"],
    )


def anew(row: dict[str, Any], fresh: UUID, again: str) -> Asked:
    """A stored tool call as a new one, linked to the old."""
    return replace(as_it_was(row), webhook_id=fresh, key=keys.replay_key(row["key"], again), replay_of=row["webhook_id"])


def unhurried(_seconds: float) -> None:
    """Nobody is on the phone."""

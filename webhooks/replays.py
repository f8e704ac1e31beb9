"""Replaying a webhook by hand: a report or a status is handled again under its own key, a tool call only anew and by explicit wish.

What is dead, or was left by a process that died, is run again under its own key: nothing of it stands.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.crypto import Keyring
from runtime.database import Database
from runtime.ids import uuid7
from runtime.refusals import Conflict, Forbidden, Invalid, NotFound
from tenants import audit
from tenants.privacy import Privacy
from tenants.snapshot import Snapshot
from webhooks import call_records, keys, records
from webhooks.asked import Asked
from webhooks.bodies import body_of
from webhooks.call_contents import Content, content_of_report, content_of_status
from webhooks.calls import CallFacts, report_facts, status_facts
from webhooks.claims import Claims
from webhooks.dead_letters import settle
from webhooks.envelope import read
from webhooks.ingest import facts_fingerprint
from webhooks.kinds import REPORT, STATUS
from webhooks.modes import ENFORCE
from webhooks.tool_calls import ToolCall
from webhooks.tool_work import ToolWork

TOOLS = ("tool-calls", "function-call")
FACTS = msgspec.json.Decoder(CallFacts)
NEW = "new"

Rows = Sequence[dict[str, Any]]


class Replays:
    """Handles stored webhooks again."""

    def __init__(self, database: Database, keyring: Keyring, claims: Claims, tools: ToolWork) -> None:
        self._database = database
        self._keyring = keyring
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
        if rows[0]["type"] in TOOLS:
            return await self._tool_calls(tenant, rows, effects, actor, wish)
        await self._note(tenant, webhook_id, actor, webhook_id)
        await self._own_key(tenant, rows[0], kept)
        return webhook_id

    async def _tool_calls(self, tenant: Snapshot, rows: Rows, effects: str | None, actor: str, wish: str | None) -> UUID:
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
            done = await self._tools.do(tenant, [as_it_was(row) for row in dead], ENFORCE, unhurried)
            if all(each.outcome == "unfinished" for each in done):
                raise Conflict("The tool that this call asks for is not there any more, so it could not be run.")
            return original
        fresh = uuid7() if wish is None else wished_id(original, wish)
        await self._note(tenant, original, actor, fresh)
        await self._tools.do(tenant, [anew(row, fresh) for row in rows], ENFORCE, unhurried)
        async with self._database.tenant_scope(tenant.id) as connection:
            return fresh if await records.effects_of(connection, tenant.id, fresh) else original  # nothing of it could be stored

    async def _own_key(self, tenant: Snapshot, row: dict[str, Any], kept: bytes | None) -> None:
        """What a report or a status says fills gaps again; what only informs was recorded, and that is all there is to it."""
        if row["type"] in (REPORT, STATUS) and row["call_id"] is not None:
            facts = facts_of(row, kept)
            who = call_records.BY_REPORT if row["type"] == REPORT else call_records.BY_STATUS
            content = content_of_kept(row, kept, tenant.privacy)
            told = await call_records.told_by(who, facts, content, row["assistant_id"], self._keyring, tenant)
            await self._claims.record_call(
                tenant.id, row["webhook_id"], row["type"], row["call_id"], row["assistant_id"], row["key"], facts_fingerprint(facts), told,
                final=row["type"] == REPORT,
            )  # fmt: skip  # what it is, then how it is taken
        elif row["state"] == records.DEAD:
            await settle(self._database, tenant.id, row["key"])

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
    if kept is None:
        raise Conflict("Nothing was kept that this webhook could be handled from again.")
    return report_facts(kept) if row["type"] == REPORT else status_facts(kept)


def content_of_kept(row: dict[str, Any], kept: bytes | None, privacy: Privacy) -> Content:
    """What is personal of a webhook that could not be handled; what was handled has told it."""
    if row["arguments"] or kept is None:
        return Content()
    caller = read(kept).caller
    return content_of_report(kept, caller, privacy) if row["type"] == REPORT else content_of_status(caller, privacy)


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


def anew(row: dict[str, Any], fresh: UUID) -> Asked:
    """A stored tool call as a new one, linked to the old."""
    return replace(as_it_was(row), webhook_id=fresh, key=keys.replay_key(row["key"], str(fresh)), replay_of=row["webhook_id"])


def wished_id(original: UUID, wish: str) -> UUID:
    """The id of what a wish made: the same for the same wish, whoever sends it how often; a UUIDv7 of the original's moment."""
    tail = int.from_bytes(keys.digest("wish", original.bytes, wish)) & ((1 << 74) - 1)
    return UUID(int=(original.int >> 80) << 80 | 0x7 << 76 | (tail >> 62) << 64 | 0x2 << 62 | tail & ((1 << 62) - 1))


def unhurried(_seconds: float) -> None:
    """Nobody is on the phone."""

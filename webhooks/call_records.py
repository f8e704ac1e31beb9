"""What one message tells of a call, with the standing that decides where messages disagree; and what is personal about a call, read back.

The record of a call is a function of the set of messages that told of it. Every message has a standing, and of every field the record
holds what the message of the highest standing that tells it says (migrations/sql/0003/60_calls.sql). A report stands above what Vapi
says when asked, that above a status update, that above a tool call; of one kind the later by its own timestamp; then its mark decides.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.crypto import Keyring, SealBroken
from runtime.ids import TenantId
from tenants.snapshot import Snapshot
from webhooks import keys
from webhooks.call_contents import CUSTOMER, SUMMARY, TRANSCRIPT, Content, sealed, unpacked
from webhooks.calls import CallFacts
from webhooks.tables import call_contents

BY_STATUS, BY_ANSWER, BY_REPORT = "2", "3", "4"  # who tells; a tool call (1) tells its assistant only, see app.note_calls_v2
MARK_CHARACTERS = 16
SMALL = 2_000  # characters: take less time to pack than to hand over to a thread
FIELDS = ("started_at", "ended_at", "seconds", "estimated_seconds", "cost_usd", "ended_reason", "phone_number_id", "call_type")


@dataclass(frozen=True, slots=True)
class Told:
    """What one message tells of a call: `facts` of everybody's kind, and all of it as app.tell_call_v1 takes it (JSON)."""

    facts: CallFacts
    standing: str
    says: str = field(repr=False)
    keep_days: int


async def told_by(who: str, facts: CallFacts, content: Content, assistant_id: str | None, keyring: Keyring, tenant: Snapshot) -> Told:
    """Put together, what is personal sealed; a long transcript is packed in a thread."""
    arguments = (who, facts, content, assistant_id, keyring, tenant)
    long = len(content.transcript or "") + len(content.summary or "") > SMALL
    return await asyncio.to_thread(put_together, *arguments) if long else put_together(*arguments)


def put_together(who: str, facts: CallFacts, content: Content, assistant_id: str | None, keyring: Keyring, tenant: Snapshot) -> Told:
    """The fields that are told, and how the message stands."""
    says: dict[str, object] = {name: value for name in FIELDS if (value := getattr(facts, name)) is not None}
    if assistant_id is not None:
        says["assistant_id"] = assistant_id
    says |= {"state": facts.state, "state_rank": facts.rank} | sealed(keyring, tenant.id, content, tenant.privacy)
    standing = f"{who}{facts.said_ms:012x}{mark(facts, content, assistant_id, keyring)}"
    return Told(facts, standing, msgspec.json.encode(says).decode(), tenant.bodies_days)


def mark(facts: CallFacts, content: Content, assistant_id: str | None, keyring: Keyring) -> str:
    """Tells apart messages of one kind and millisecond; keyed, since it stands in clear and a number could be guessed from it."""
    figures = (*facts.figures, facts.phone_number_id, facts.call_type, assistant_id)
    parts = [None if part is None else str(part) for part in figures]
    hashed = keys.digest(*parts, content.customer, content.transcript, content.summary)
    return keyring.digest(hashed.hex()).hex()[:MARK_CHARACTERS]


async def content_of(connection: AsyncConnection, keyring: Keyring, tenant: TenantId, row: dict[str, Any]) -> dict[str, Any]:
    """Customer, transcript and summary of a stored call, opened. `unreadable` names what was sealed with a key out of service."""
    kept = call_contents.c
    query = select(kept.transcript_sealed, kept.summary_sealed, kept.kept_until).where(
        kept.tenant_id == tenant, kept.call_id == row["call_id"], kept.kept_until > func.app.now()
    )
    row_of_words = (await connection.execute(query)).mappings().one_or_none()
    found: dict[str, Any] = {} if row_of_words is None else dict(row_of_words)
    shown: dict[str, Any] = {"customer": row["customer_masked"], "kept_until": found.get("kept_until"), "unreadable": []}
    for name, stored, column in (
        ("customer", row["customer_sealed"], CUSTOMER),
        ("transcript", found.get("transcript_sealed"), TRANSCRIPT),
        ("summary", found.get("summary_sealed"), SUMMARY),
    ):
        shown.setdefault(name, None)
        if stored is None:
            continue
        try:
            opened = keyring.open(stored, tenant, column)
        except SealBroken:
            shown["unreadable"].append(name)
        else:
            shown[name] = opened if name == "customer" else unpacked(opened)
    return shown

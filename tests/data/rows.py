"""One row of every tenant table, so that a matrix over tables needs no knowledge of any."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from uuid import UUID, uuid4

import asyncpg

from runtime import clock
from runtime.ids import uuid7

PLAN = UUID("01900000-0000-7000-8000-000000000001")
MOMENT = datetime(2026, 3, 1, tzinfo=UTC)
numbers = count()
Row = Mapping[str, object]


@dataclass(frozen=True)
class Ids:
    """What the rows of one tenant are tied together by."""

    tenant: UUID = field(default_factory=uuid7)  # as in production: lists sort by it
    assistant: UUID = field(default_factory=uuid4)
    registration: UUID = field(default_factory=uuid4)
    message: UUID = field(default_factory=uuid4)


def row_of(table: str, ids: Ids) -> Row:
    """A new row of a table for a tenant; it stands on what `seed` wrote."""
    number, fresh = next(numbers), uuid4()
    rows: dict[str, dict[str, object]] = {
        "assistants": {"id": fresh, "vapi_assistant_id": f"a{number}", "name": "Front desk"},
        "webhook_credentials": {"id": fresh, "assistant_id": ids.assistant, "mode": "bearer", "secret_hash": b"h", "secret_sealed": "s"},
        "signing_credentials": {"id": fresh, "assistant_id": ids.assistant, "secret_sealed": "s", "plan": "{}"},
        "registrations": {"id": fresh, "tier": "short_code", "tier_source": "tenant", "segments_per_minute": 6000},
        "registration_holds": {"registration_id": fresh, "held_until": MOMENT, "learned_at": MOMENT},
        "learned_rates": {"registration_id": fresh, "per_minute": 60, "lowered_at": MOMENT, "code": 30022},
        "learned_concurrency": {"account_sid": f"AC{number}", "at_once": 1, "lowered_at": MOMENT, "code": 20429},
        "sender_opt_outs": {"recipient": f"+1907555{number % 10_000:04d}", "sender_id": fresh, "source": "inbound"},
        "consent_settings": {"name": f"n{number}", "stop_covers": "sender"},
        "senders": {
            "id": fresh,
            "registration_id": ids.registration,
            "account_sid": "AC0",
            "auth_token_sealed": "s",
            "from_number": f"+1907555{number % 10_000:04d}",
        },
        "http_tools": {
            "name": f"tool{number}",
            "url": "https://example.com/tool",
            "method": "POST",
            "timeout_ms": 5000,
            "secret_sealed": "s",
            "repeatable": True,
        },
        "inbound_routes": {"phone_number": f"n{number}", "target": '{"error": "Nobody is there."}'},
        "transfer_directory": {"name": f"n{number}", "destination": '{"type": "number", "number": "+12025550101"}'},
        "answerers": {"type": f"t{number}", "url": "https://example.com/a", "method": "POST", "timeout_ms": 3000, "secret_sealed": "s"},
        "opening_hours": {"name": f"n{number}", "hours": "{}"},
        "quiet_hours": {"name": f"n{number}", "setting": "{}"},
        "text_policies": {"name": f"n{number}", "setting": "{}"},
        "text_refusals": {"id": fresh, "at": MOMENT, "reason": "premium", "call_id": f"c{number}", "tool": "send_sms"},
        "vapi_accounts": {"name": f"n{number}", "api_key_sealed": "s", "hint": "abcd"},
        "processed_webhooks": {
            "key": fresh.bytes,
            "fingerprint": b"f",
            "webhook_id": fresh,
            "place": 0,
            "source": "vapi",
            "type": "tool-calls",
            "state": "done",
            "answer": "{}",
            "received_at": MOMENT,
        },
        "webhook_bodies": {"webhook_id": fresh, "kept_days": 30, "kept_on": clock.now().date(), "body": b"b"},  # its day is there
        "calls": {"call_id": f"c{number}", "state": "ended", "state_rank": 3},
        "call_activity": {"call_id": f"c{number}", "type": "model-output", "first_at": MOMENT, "last_at": MOMENT},
        "call_contents": {"call_id": f"c{number}", "summary_sealed": "s", "kept_until": MOMENT},
        "messages": {
            "id": fresh,
            "recipient": "+12025550101",
            "body": "Your table is booked.",
            "class": "transactional",
            "priority": 1,
            "encoding": "gsm7",
            "segments": 1,
            "status": "queued",
            "sender_id": fresh,
            "registration_id": ids.registration,
            "due_at": MOMENT,
            "expected_at": MOMENT,
            "created_at": MOMENT,
            "updated_at": MOMENT,
        },
        "message_events": {"message_id": ids.message, "status": "queued", "receipt": f"r{number}"},
        "opt_outs": {"recipient": f"+1202555{number % 10_000:04d}", "source": "inbound"},
        "usage_events": {"meter": "calls", "source_id": f"call:{number}", "quantity": 1, "occurred_at": MOMENT},
        "subscriptions": {
            "id": fresh,
            "plan_id": PLAN,
            "timezone": "UTC",
            "anchor_day": 1,
            "started_at": MOMENT,
            "ended_at": MOMENT,
        },
    }
    return {"tenant_id": ids.tenant, **rows[table]}


TABLES = (  # parents first
    "assistants",
    "webhook_credentials",
    "signing_credentials",
    "registrations",
    "registration_holds",
    "learned_rates",
    "learned_concurrency",
    "senders",
    "http_tools",
    "inbound_routes",
    "transfer_directory",
    "answerers",
    "opening_hours",
    "quiet_hours",
    "text_policies",
    "text_refusals",
    "vapi_accounts",
    "processed_webhooks",
    "webhook_bodies",
    "calls",
    "call_activity",
    "call_contents",
    "messages",
    "message_events",
    "opt_outs",
    "sender_opt_outs",
    "consent_settings",
    "usage_events",
    "subscriptions",
)
PARENTS = {"assistants": "assistant", "registrations": "registration", "messages": "message"}


def insert_of(table: str, row: Row, conflict: str = "") -> tuple[str, list[object]]:
    """The statement and its values."""
    places = ", ".join(f"${place}" for place in range(1, len(row) + 1))
    return f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places}) {conflict}", list(row.values())


async def seed(owner: "asyncpg.Connection[asyncpg.Record]") -> Ids:
    """A new tenant with one row in every table, written by the owner."""
    ids = Ids()
    async with owner.transaction():
        for table in TABLES:
            row = dict(row_of(table, ids))
            if table in PARENTS:
                row["id"] = getattr(ids, PARENTS[table])
            statement, values = insert_of(table, row)
            await owner.execute(statement, *values)
    return ids


async def digest(owner: "asyncpg.Connection[asyncpg.Record]", table: str, tenant: UUID) -> tuple[int, str]:
    """How many rows of a table a tenant has, and what stands in them, as the owner sees it."""
    query = f"SELECT count(*), coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM {table} AS t WHERE tenant_id = $1"
    found = await owner.fetchrow(query, tenant)
    assert found is not None
    return found[0], found[1]

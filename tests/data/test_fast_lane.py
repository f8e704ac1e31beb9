"""The SQL functions enter the scope themselves: each leaves none behind, on a connection that nobody cleans up in between."""

import json
from uuid import UUID, uuid4

import asyncpg
import pytest

from runtime.database import Database
from tests.data.rows import Ids, digest, row_of, seed

KNOWN = {"accept_v1", "record_call_v1", "tenant_snapshot_v1", "take_due_v3", "lease_v2", "record_outcomes_v2"}
SCOPE = "SELECT current_setting('app.tenant_id', true)"
EFFECT = {"place": 0, "source": "vapi", "type": "tool-calls", "fingerprint": "0c" * 16, "doubtful_answer": "{}"}
ACT: dict[str, object] = {"act": "opt_out", "recipient": "+12135550123", "waiting": ["queued"], "lock": 1, "meter": "tool_calls"}
ACT["says"] = {"stopped": {"state": "done", "answer": "{}"}}
DOCUMENT_KEYS = ("sid", "twilio_status", "class", "code", "detail", "segments")
ENTERS = "SELECT proname, oid::regprocedure::text AS signature, proargnames, proargtypes::regtype[]::text[] AS types, pronargs FROM pg_proc"


def argument(name: str, kind: str, ids: Ids, slug: str) -> object:
    """Something of the right type, with a document that every function finds its tenant in."""
    record = {
        "tenant_id": str(ids.tenant),
        "registration_id": str(ids.registration),
        "message_id": str(ids.message),
        "attempt": 0,
        "outcome": "unknown",
        "paced_for": 0,
        "granted": [{"id": str(ids.message), "wait": 0}],
    } | dict.fromkeys(DOCUMENT_KEYS)
    given: dict[str, object] = {
        "p_tenant": ids.tenant,
        "p_message": ids.message,
        "p_registration": UUID(int=0),
        "p_behind": UUID(int=0),
        "p_slug": slug,
        "p_counts": json.dumps({"00": 1}),
        "p_effects": "[]",
        "p_says": "{}",
        "p_seen": json.dumps([{"call_id": "c", "type": "model-output", "first_at": "2026-03-01", "last_at": "2026-03-01"}]),
        "p_effect": json.dumps(EFFECT | ACT | {"key": uuid4().hex, "webhook_id": str(uuid4())}),
        "p_tenants": 1 if kind == "integer" else [ids.tenant],
        "p_mode": "enforce",
        "p_state_rank": 1,
        "p_verdict": "later",
    }
    by_type: dict[str, object] = {
        "uuid": ids.tenant,
        "jsonb": json.dumps([record]),
        "text": "x",
        "integer": 5,
        "smallint": 1,
        "double precision": 1.0,
        "boolean": False,
        "bytea": b"0123456789abcdef",
        "bigint[]": [1],
    }
    return given.get(name, by_type.get(kind))


async def functions_with_scope(owner: "asyncpg.Connection[asyncpg.Record]") -> list[asyncpg.Record]:
    return list(await owner.fetch(f"{ENTERS} WHERE pronamespace = 'app'::regnamespace AND prosrc LIKE '%set_config%' ORDER BY proname"))


async def busy_tenant(owner: "asyncpg.Connection[asyncpg.Record]") -> tuple[Ids, str]:
    """A tenant that every function finds something to do for, alone in the schedule; and its slug."""
    ids = await seed(owner)
    slug = f"t-{ids.tenant.hex}"
    await owner.execute(
        "INSERT INTO control.tenants (id, slug, name, timezone, plan) VALUES ($1, $2, $2, 'UTC', 'standard')", ids.tenant, slug
    )
    await owner.execute("DELETE FROM control.schedule; DELETE FROM control.arrivals")
    await owner.execute(
        "INSERT INTO control.schedule (tenant_id, registration_id, next_at, check_at, picked_by, picked_until)"
        " VALUES ($1, $2, '-infinity', '-infinity', $1, 'infinity')",
        ids.tenant,
        ids.registration,
    )
    # its queue is over its bound, and marketing may be dropped for it
    await owner.execute("UPDATE control.schedule SET queued_messages = 2 WHERE tenant_id = $1", ids.tenant)
    await owner.execute("DELETE FROM control.queue_bounds")
    await owner.execute("INSERT INTO control.queue_bounds VALUES ($1, 1, 1, 'drop_oldest_marketing')", ids.tenant)
    return ids, slug


def call_of(function: asyncpg.Record, ids: Ids, slug: str) -> tuple[str, list[object]]:
    """A call of a function, and its values."""
    kinds = function["types"]
    names = (function["proargnames"] or [])[: function["pronargs"]]
    places = ", ".join("interval '1 second'" if kind == "interval" else f"${number}" for number, kind in numbered(kinds))
    values = [argument(name, kind, ids, slug) for name, kind in zip(names, kinds, strict=True) if kind != "interval"]
    return f"SELECT * FROM app.{function['proname']}({places})", values


def numbered(kinds: list[str]) -> list[tuple[int, str]]:
    """Each type with the number of its argument; an interval is written out and takes none."""
    number, found = 0, []
    for kind in kinds:
        number += kind != "interval"
        found.append((number, kind))
    return found


async def test_every_function_enters_its_scope_and_leaves_none_behind(
    application: "asyncpg.Connection[asyncpg.Record]", owning: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """They are found in the catalogue, so a new one is called too."""
    functions = await functions_with_scope(owning)
    assert {row["proname"] for row in functions} >= KNOWN
    for function in functions:
        ids, slug = await busy_tenant(owning)
        call, values = call_of(function, ids, slug)
        undone = application.transaction()
        await undone.start()
        await application.fetch(call, *values)
        assert await application.fetchval(SCOPE) == str(ids.tenant), f"{function['proname']} found nothing to do in these arguments"
        await undone.rollback()
        await application.fetch(call, *values)
        assert await application.fetchval(SCOPE) == "", function["proname"]
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="no tenant scope"):
            await application.fetch("SELECT FROM messages")
    await owning.execute("DELETE FROM control.schedule; DELETE FROM control.arrivals")


async def test_a_function_writes_for_its_own_tenant_only(database: Database, owning: "asyncpg.Connection[asyncpg.Record]") -> None:
    one, two = await seed(owning), await seed(owning)
    message = row_of("messages", one)
    effect = {
        "n": 0,
        "webhook_id": str(uuid4()),
        "place": 0,
        "source": "vapi",
        "type": "tool-calls",
        "key": "0b" * 16,
        "fingerprint": "0c" * 16,
        "store": True,
        "state": "done",
        "answer": "{}",
        "meter": "tool_calls",
        "message_id": str(message["id"]),
        "recipient": "+12025550101",
        "body": "Hello",
        "class": "otp",
        "priority": 0,
        "encoding": "gsm7",
        "segments": 1,
        "status": "queued",
        "sender_id": str(uuid4()),
        "registration_id": str(one.registration),
    }
    tables = ("processed_webhooks", "messages", "usage_events")
    before = [await digest(owning, table, two.tenant) for table in tables]
    found = await database.call(one.tenant, "SELECT outcome FROM app.accept_v1($1, $2)", one.tenant, json.dumps([effect]))
    assert [row["outcome"] for row in found] == ["new"]
    assert [(await digest(owning, table, one.tenant))[0] for table in tables] == [2, 2, 2]
    assert [await digest(owning, table, two.tenant) for table in tables] == before

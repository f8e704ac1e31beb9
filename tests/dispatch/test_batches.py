"""A batch of several tenants' outcomes and picks: each is judged by itself, whatever stands beside it."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest

from messaging.beginnings import BEGIN
from messaging.dispatcher import GIVE_BACK, LEASE, TAKE
from messaging.recorder import RECORD, OutcomeRow
from runtime.database import Database
from tests.dispatch.desk import Desk, MakeDesk

Owner = asyncpg.Connection
TAKEN = TAKE.replace("$6", "interval '10 s'")
LEASED = LEASE.replace("$3, $4, $5", "interval '15 s', interval '10 s', 0.05")


async def take(database: Database | Owner, worker: UUID, quantum: int = 50) -> list[dict[str, Any]]:
    """What is due, as the dispatcher's picks without a wait."""
    fetch = database.call_for_many if isinstance(database, Database) else database.fetch
    picks: dict[UUID, dict[str, Any]] = {}
    for row in await fetch(TAKEN, worker, 1000, 64, quantum, 1.0):
        pick = picks.setdefault(
            row["registration_id"],
            {"tenant_id": row["tenant_id"], "registration_id": row["registration_id"], "paced_for": 0, "owed": 0, "granted": []},
        )
        if row["message_id"] is not None:
            pick["granted"].append({"id": row["message_id"], "attempt": row["attempt"], "wait": 0.0})
    return list(picks.values())


async def lease(database: Database | Owner, worker: UUID, picks: list[dict[str, Any]]) -> dict[UUID, Any]:
    fetch = database.call_for_many if isinstance(database, Database) else database.fetch
    return {row["message_id"]: row for row in await fetch(LEASED, worker, json.dumps(picks, default=str))}


async def record(database: Database | Owner, worker: UUID, *rows: OutcomeRow) -> dict[UUID, bool]:
    fetch = database.call_for_many if isinstance(database, Database) else database.fetch
    found = await fetch(RECORD, worker, msgspec.json.encode(rows).decode())
    return {row["message_id"]: row["recorded"] for row in found}


def taken(desk: Desk, message: UUID, attempt: int = 1, **more: Any) -> OutcomeRow:
    return OutcomeRow(desk.tenant, message, attempt, "taken", **{"sid": f"SM{message.hex}", "twilio_status": "queued", **more})


async def test_outcomes_of_all_kinds_and_tenants_in_one_batch(desk: Desk, neighbour: Desk, database: Database) -> None:
    worker = uuid4()
    plain, final, refused, deferred, unknown, lost = [await desk.text(body=f"{number}") for number in range(6)]
    theirs = await neighbour.text(segments=2)
    assert len(await lease(database, worker, await take(database, worker))) == 7
    batch = (
        taken(desk, plain),
        taken(desk, final, segments=2),
        OutcomeRow(desk.tenant, refused, 1, "refused", code=21610, error_class="opt_out", detail="no"),
        OutcomeRow(desk.tenant, deferred, 1, "deferred", code=20429, detail="busy", seconds=5.0),
        OutcomeRow(desk.tenant, unknown, 1, "unknown", detail="cut", seconds=3.0),
        taken(desk, lost, attempt=2),
        taken(neighbour, theirs, segments=2),
    )
    recorded = await record(database, worker, *batch)
    assert recorded == {plain: True, final: True, refused: True, deferred: True, unknown: True, lost: False, theirs: True}
    assert await desk.statuses() == {"sent": 2, "failed": 1, "queued": 1, "unknown": 1, "sending": 1}
    assert (await desk.billed(), await neighbour.billed()) == (1 + 2, 2)
    assert [(await desk.message(each))["twilio_sid"] for each in (plain, lost)] == [f"SM{plain.hex}", None]
    assert [await desk.events(each) for each in (plain, lost)] == [["sent"], ["late"]]
    again = await record(database, worker, *batch)
    assert set(again.values()) == {False}, "to repeat it changes nothing"
    assert (await desk.billed(), await neighbour.billed()) == (3, 2)
    assert await desk.events(plain) == ["sent"]


async def test_a_sid_that_a_list_gave_to_another_text_comes_back_to_its_owner(desk: Desk, database: Database, owner: Owner) -> None:
    worker = uuid4()
    ours, other = await desk.text(), await desk.text()
    await lease(database, worker, await take(database, worker))
    await owner.execute("UPDATE messages SET status = 'sent', twilio_sid = $2 WHERE id = $1", other, f"SM{ours.hex}")
    assert await record(database, worker, taken(desk, ours)) == {ours: True}
    assert (await desk.message(ours))["twilio_sid"] == f"SM{ours.hex}"
    assert (await desk.message(other))["status"] == "unknown"


async def test_an_outcome_that_is_not_counted_gives_the_attempt_back_once(desk: Desk, neighbour: Desk, database: Database) -> None:
    worker = uuid4()
    message = await desk.text()
    await neighbour.text()
    due_at: datetime = (await lease(database, worker, await take(database, worker)))[message]["due_at"]
    uncounted = OutcomeRow(desk.tenant, message, 1, "deferred", counted=False, due_at=due_at)
    assert await record(database, worker, uncounted) == {message: True}
    row = await desk.message(message)
    assert (row["status"], row["attempt"]) == ("queued", 0)
    assert row["due_at"] > due_at
    assert (await lease(database, worker, await take(database, worker)))[message]["attempt"] == 1
    # the same worker, the same number: the repetition of what is written already must not touch what is under way
    assert await record(database, worker, uncounted) == {message: False}
    assert (await desk.message(message))["status"] == "sending"
    assert await neighbour.statuses() == {"sending": 1}


async def test_a_lease_is_given_back_once_and_no_later_one_with_it(desk: Desk, database: Database) -> None:
    worker = uuid4()
    message = await desk.text()
    picks = await take(database, worker)
    await lease(database, worker, picks)
    document = json.dumps(picks, default=str)
    await database.call_for_many(GIVE_BACK, worker, document)
    assert (await desk.message(message))["status"] == "queued"
    await lease(database, worker, await take(database, worker))
    await database.call_for_many(GIVE_BACK, worker, document)  # its first answer was lost
    assert (await desk.message(message))["status"] == "sending"


async def test_only_what_is_still_ours_begins(desk: Desk, neighbour: Desk, database: Database, owner: Owner) -> None:
    worker = uuid4()
    ours, stolen, ending, theirs = await desk.text(), await desk.text(), await desk.text(), await neighbour.text()
    await lease(database, worker, await take(database, worker))
    await owner.execute("UPDATE messages SET sending_at = NULL")
    await owner.execute("UPDATE messages SET lease_owner = gen_random_uuid() WHERE id = $1", stolen)
    await owner.execute("UPDATE messages SET lease_until = app.now() + interval '3 s' WHERE id = $1", ending)
    asked = [{"tenant_id": desk.tenant, "message_id": each, "attempt": 1, "needs": 10.0} for each in (ours, stolen, ending)]
    asked.append({"tenant_id": neighbour.tenant, "message_id": theirs, "attempt": 1, "needs": 10.0})
    begun = {row["message_id"] for row in await database.call_for_many(BEGIN, worker, json.dumps(asked, default=str))}
    assert begun == {ours, theirs}
    assert [(await desk.message(each))["sending_at"] is None for each in (ours, stolen, ending)] == [False, True, True]


async def test_whoever_opted_out_of_one_sender_gets_texts_of_another(desk: Desk, neighbour: Desk, database: Database, owner: Owner) -> None:
    worker = uuid4()
    ours, theirs = await desk.text(), await neighbour.text()
    for tenant, sender in ((desk.tenant, desk.sender), (neighbour.tenant, uuid4())):
        await owner.execute(
            "INSERT INTO sender_opt_outs (tenant_id, recipient, sender_id, source) VALUES ($1, '+12025550101', $2, 'inbound')",
            tenant,
            sender,
        )
    assert set(await lease(database, worker, await take(database, worker))) == {theirs}
    row = await desk.message(ours)
    assert (row["status"], row["error_code"], row["attempt"]) == ("failed", 21610, 0)


async def test_classes_go_in_order_and_none_starves(make_desk: MakeDesk, database: Database) -> None:
    """A registration with two texts a turn, and more of each class than can leave."""
    desk, worker = await make_desk(per_minute=60), uuid4()
    for kind in ("marketing", "transactional", "otp"):
        for number in range(40):
            await desk.text(body=f"{kind} {number}", kind=kind)
    order = []
    for _ in range(16):
        (pick,) = await take(database, worker)
        assert len(pick["granted"]) == 2
        pick["granted"] = pick["granted"][:1]  # one slot in each turn
        (message,) = (await lease(database, worker, [pick])).values()
        order.append(message["body"])
        await record(database, worker, taken(desk, message["message_id"]))
    assert order[:8] == ["otp 0", "otp 1", "otp 2", "transactional 0", "otp 3", "otp 4", "otp 5", "marketing 0"]
    assert Counter(body.split()[0] for body in order) == {"otp": 12, "transactional": 2, "marketing": 2}


async def test_a_turn_without_a_slot_is_not_used_up(make_desk: MakeDesk, database: Database, owner: Owner) -> None:
    desk, worker = await make_desk(per_minute=6000), uuid4()
    await desk.text(kind="otp")
    await desk.text(body="low", kind="marketing")
    await owner.execute("SELECT app.fold_arrivals_v1(100)")
    await owner.execute("UPDATE control.schedule SET turns = 7")
    for _ in range(2):
        (pick,) = await take(database, worker)
        assert len(pick["granted"]) == 2
        first = pick["granted"][0]["id"]
        assert (await desk.message(first))["body"] == "low"
        await lease(database, worker, [{**pick, "granted": []}])
    assert (await desk.schedule())["turns"] == 7


@asynccontextmanager
async def replaced(owner: Owner, *functions: str) -> AsyncIterator[None]:
    """With other bodies of what another room fills in, undone at the end."""
    undone = owner.transaction()
    await undone.start()
    try:
        for function in functions:
            await owner.execute(function)
        yield
    finally:
        await undone.rollback()


async def test_what_was_learned_holds_in_picks_and_leases(desk: Desk, neighbour: Desk, owner: Owner) -> None:
    worker = uuid4()
    await desk.text()
    await neighbour.text()
    rate = (
        "CREATE OR REPLACE FUNCTION app.rate_now_v1(p_tenant uuid, p_registration uuid, p_granted integer) RETURNS integer LANGUAGE sql AS"
    )
    calls = "CREATE OR REPLACE FUNCTION app.at_once_v1(p_tenant uuid, p_account text) RETURNS integer LANGUAGE sql AS"
    async with replaced(
        owner,
        f"{rate} $$ SELECT CASE p_registration WHEN '{desk.registration}' THEN 7 ELSE p_granted END $$",
        f"{calls} $$ SELECT CASE p_account WHEN '{desk.account}' THEN 3 END $$",
    ):
        rows = {row["tenant_id"]: row["per_minute"] for row in await owner.fetch(TAKEN, worker, 1000, 64, 50, 1.0)}
        assert rows == {desk.tenant: 7, neighbour.tenant: 13_500}
        await owner.execute("UPDATE control.schedule SET picked_until = '-infinity', next_at = app.now()")
        found = (await lease(owner, worker, await take(owner, worker))).values()
        assert {row["tenant_id"]: row["at_once"] for row in found} == {desk.tenant: 3, neighbour.tenant: None}


async def test_an_answer_with_an_action_teaches_and_others_do_not(desk: Desk, neighbour: Desk, owner: Owner) -> None:
    worker = uuid4()
    slow, busy, plain, theirs = await desk.text(), await desk.text(), await desk.text(), await neighbour.text()
    learn = """
    CREATE OR REPLACE FUNCTION app.learn_v1(p_tenant uuid, p_registration uuid, p_sender uuid, p_code integer, p_action text,
      p_left_at timestamptz, p_seconds double precision) RETURNS timestamptz LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO registration_holds (tenant_id, registration_id, held_until, learned_at, reason, code)
      VALUES (p_tenant, gen_random_uuid(), p_left_at, app.now(), concat_ws(' ', p_action, p_registration, p_sender, p_seconds), p_code);
      RETURN NULL;
    END $$"""
    async with replaced(owner, learn):
        await lease(owner, worker, await take(owner, worker))
        await record(
            owner, worker,
            OutcomeRow(desk.tenant, slow, 1, "deferred", code=30022, seconds=2.0, action="slow_down"),
            OutcomeRow(desk.tenant, busy, 1, "deferred", code=20429, action="retry_backoff"),
            OutcomeRow(desk.tenant, plain, 1, "deferred", code=20500, action="retry_backoff"),
            taken(neighbour, theirs),
        )  # fmt: skip
        rows = await owner.fetch(
            "SELECT tenant_id, code, reason FROM registration_holds WHERE tenant_id = ANY ($1) ORDER BY code DESC",
            [desk.tenant, neighbour.tenant],
        )
        told = f"{desk.registration} {desk.sender}"
        assert [tuple(row) for row in rows] == [
            (desk.tenant, 30022, f"slow_down {told} 2"),
            (desk.tenant, 20429, f"retry_backoff {told}"),
        ]


async def test_a_hold_says_why_and_costs_no_further_look(desk: Desk, neighbour: Desk, database: Database, owner: Owner) -> None:
    worker = uuid4()
    await desk.text()
    theirs = await neighbour.text()
    await owner.execute(
        "INSERT INTO registration_holds (tenant_id, registration_id, held_until, learned_at, reason, code)"
        " VALUES ($1, $2, app.now() + interval '1 h', app.now(), 'the circuit is open', 20003)",
        desk.tenant, desk.registration,
    )  # fmt: skip
    picks = await take(database, worker)
    assert [each["id"] for pick in picks for each in pick["granted"]] == [theirs]
    assert (await desk.schedule())["hold_reason"] == "the circuit is open"
    await desk.text()
    assert await take(database, worker) == []


@pytest.mark.parametrize("wait", [0.0, 30.0])
async def test_a_lease_tells_what_sending_needs(wait: float, desk: Desk, neighbour: Desk, database: Database, owner: Owner) -> None:
    """Whether it is begun, until when it is worth sending, and whether some rule of hours may hold it."""
    worker = uuid4()
    code, offer, note, theirs = [
        *[await desk.text(kind=kind) for kind in ("otp", "marketing", "transactional")],
        await neighbour.text(),
    ]
    await owner.execute("UPDATE messages SET expires_at = created_at + interval '10 min' WHERE id = $1", code)
    await owner.execute("INSERT INTO quiet_hours (tenant_id, name, setting) VALUES ($1, 'default', '{}')", desk.tenant)
    picks = await take(database, worker)
    for pick in picks:
        pick["owed"] = 100.0
        for each in pick["granted"]:
            each["wait"] = wait
    found = await lease(database, worker, picks)
    assert {row["message_id"]: row["timed"] for row in found.values()} == {code: False, offer: True, note: True, theirs: False}
    assert {row["begun"] for row in found.values()} == {wait == 0.0}
    assert [row["expires_at"] is not None for row in (found[code], found[note])] == [True, False]
    assert ((await desk.message(note))["sending_at"] is None) == (wait > 0)
    owed = await owner.fetchval("SELECT extract(epoch FROM owed_until - app.now()) FROM control.schedule WHERE tenant_id = $1", desk.tenant)
    assert 60 < owed <= 100

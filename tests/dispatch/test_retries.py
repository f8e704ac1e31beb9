"""Texts that are tried again, sent again, or given up in time: one message, one bill, whatever the order of what Twilio says."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from messaging.beginnings import Beginnings
from messaging.dispatcher import Dispatcher
from messaging.outbox import error_of, get_message
from messaging.outcomes import Accepted, Deferred
from messaging.pacer import Pacer
from messaging.putting_off import PuttingOff
from messaging.reconcile import Doubtful
from messaging.recorder import OutcomeRecorder
from messaging.sending import Leased, Sending, Slot, outcome_row
from messaging.twilio_client import Twilio
from messaging.twilio_http import TwilioHttp
from runtime import clock
from runtime.crypto import Keyring
from runtime.database import Database
from sandbox.twilio import TwilioSandbox
from sandbox.twilio.faults import AcceptThenReset, DropCallback, ResetBefore, Undelivered
from tenants.snapshot import TenantBook
from tests.dispatch.desk import BRISK, Desk, MakeDispatcher, at_work, until
from tests.dispatch.test_receipts import form, receive
from tests.dispatch.test_reconcile import MakeReconciler, settled, taken

Owner = asyncpg.Connection
DAY = timedelta(days=1)


async def lively(desk: Desk, kind: str = "transactional", left: timedelta = DAY) -> UUID:
    """A text that is good for so long."""
    message = await desk.text(kind=kind)
    await desk.owner.execute("UPDATE messages SET expires_at = app.now() + $2 WHERE id = $1", message, left)
    return message


async def hurry(desk: Desk) -> None:
    """What waits is due now."""
    await desk.owner.execute("UPDATE messages SET due_at = app.now() WHERE tenant_id = $1 AND status = 'queued'", desk.tenant)
    await desk.owner.execute("UPDATE control.arrivals SET due_at = app.now() WHERE tenant_id = $1", desk.tenant)
    await desk.owner.execute("UPDATE control.schedule SET next_at = app.now() WHERE tenant_id = $1", desk.tenant)


async def arrivals(desk: Desk) -> list[int]:
    rows = await desk.owner.fetch("SELECT segments FROM control.arrivals WHERE tenant_id = $1 ORDER BY segments", desk.tenant)
    return [row[0] for row in rows]


async def test_a_passing_failure_sends_the_same_message_once_more_and_bills_it_once(
    desk: Desk, neighbour: Desk, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox, callbacks: str, database: Database
) -> None:
    twilio.faults.arm(Undelivered(error_code=30022, times=1))
    message = await lively(desk)
    dispatcher = await make_dispatcher(public=callbacks)

    async def waits() -> bool:
        await dispatcher.dispatch_once()
        row = await desk.message(message)
        return (row["status"], row["retries"]) == ("queued", 1)

    await until(waits, 30.0)
    row = await desk.message(message)
    assert (row["twilio_sid"], row["twilio_status"], row["error_code"], row["sent_at"]) == (None, None, None, None)
    assert row["due_at"] > row["created_at"] + timedelta(seconds=4)
    theirs = await lively(neighbour)
    await hurry(desk)

    async def delivered() -> bool:
        return {(await desk.message(message))["status"], (await neighbour.message(theirs))["status"]} == {"delivered"}

    async with at_work(dispatcher):
        await until(delivered, 30.0)
    row = await desk.message(message)
    sids = [text.sid for text in twilio.box if text.account_sid == desk.account]
    assert (len(sids), sids.index(row["twilio_sid"]), row["retries"]) == (2, 1, 1)
    assert (await desk.billed(), await neighbour.billed(), taken(twilio, neighbour)) == (1, 1, 1)
    async with database.tenant_scope(desk.tenant) as connection:
        history = (await get_message(connection, desk.tenant, message))["history"]
    assert [step.get("detail") for step in history if step["status"] == "queued"] == [None, "sent again: error 30022"]


@pytest.mark.parametrize(("kind", "code", "left"), [
    ("transactional", "30007", DAY),
    ("transactional", "30003", timedelta(minutes=30)),  # it would come after its time
    ("otp", "30003", DAY),
    ("marketing", "30008", DAY),
])  # fmt: skip
async def test_what_would_not_help_is_not_sent_again(kind: str, code: str, left: timedelta, desk: Desk, database: Database) -> None:
    message = await lively(desk, kind, left)
    await receive(database, desk, message, form("undelivered", ErrorCode=code))
    row = await desk.message(message)
    assert (row["status"], row["error_code"], row["retries"]) == ("undelivered", int(code), 0)


async def test_the_budget_of_a_failure_is_used_up_once(desk: Desk, neighbour: Desk, database: Database) -> None:
    message, theirs = await lively(desk), await lively(neighbour)
    await receive(database, neighbour, theirs, form("sent", "SM1"))
    for number in range(4):
        await receive(database, desk, message, form("failed", f"SM{number}", ErrorCode="30001"))
    row = await desk.message(message)
    assert (row["status"], row["error_code"], row["retries"], row["twilio_sid"]) == ("failed", 30001, 3, "SM3")
    assert (await desk.events(message)).count("queued") == 3
    assert ((await neighbour.message(theirs))["retries"], await desk.billed()) == (0, 1)


async def test_a_failure_told_many_times_at_once_sends_again_once(desk: Desk, database: Database) -> None:
    message = await lively(desk)
    failed = form("failed", ErrorCode="30022")
    outcomes = await asyncio.gather(*(receive(database, desk, message, failed) for _ in range(8)))
    assert sorted(outcome for [outcome] in outcomes) == ["moved"] + ["repeated"] * 7
    assert ((await desk.message(message))["retries"], await arrivals(desk)) == (1, [-1, 1, 1])


async def test_the_older_text_changes_nothing_any_more_unless_it_arrived(desk: Desk, database: Database) -> None:
    message = await lively(desk)
    await receive(database, desk, message, form("failed", "SM1", ErrorCode="30022"))
    older = [form("sent", "SM1"), form("failed", "SM1", ErrorCode="30022"), form("undelivered", "SM1", ErrorCode="30003")]
    assert await receive(database, desk, message, *older) == ["late", "repeated", "late"]
    assert ((await desk.message(message))["status"], (await desk.message(message))["twilio_sid"]) == ("queued", None)
    assert await receive(database, desk, message, form("sent", "SM2"), form("delivered", "SM1")) == ["moved", "late"]
    row = await desk.message(message)
    assert (row["status"], row["twilio_sid"], await desk.billed()) == ("sent", "SM2", 1)


async def test_one_that_arrived_after_all_is_not_sent_again(
    desk: Desk, database: Database, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox
) -> None:
    message = await lively(desk)
    await receive(database, desk, message, form("sent", "SM1"), form("failed", "SM1", ErrorCode="30022"))
    assert await receive(database, desk, message, form("delivered", "SM1")) == ["moved"]
    row = await desk.message(message)
    assert (row["status"], row["twilio_sid"], row["error_code"], await arrivals(desk)) == ("delivered", "SM1", None, [-1, -1, 1, 1])
    await hurry(desk)
    await (await make_dispatcher()).dispatch_once()
    assert (len(twilio.attempts), await desk.billed()) == (0, 1)


async def leased(desk: Desk, message: UUID, worker: UUID) -> Leased:
    """The message as a worker holds it."""
    await desk.owner.execute(
        "UPDATE messages SET status = 'sending', attempt = attempt + 1, lease_owner = $2, sending_at = app.now(),"
        " lease_until = app.now() + interval '1 minute' WHERE id = $1", message, worker,
    )  # fmt: skip
    row = await desk.message(message)
    token = await desk.owner.fetchval("SELECT auth_token_sealed FROM senders WHERE tenant_id = $1", desk.tenant)
    return Leased(
        desk.tenant, message, desk.registration, row["recipient"], row["body"], row["class"], row["attempt"], row["due_at"],
        desk.slug, "standard", desk.account, token, None, None, desk.number, None, begun=True, expires_at=row["expires_at"],
    )  # fmt: skip


async def test_our_slower_record_of_the_text_that_failed_does_not_end_the_waiting(desk: Desk, database: Database) -> None:
    worker, message = uuid4(), await lively(desk)
    held = await leased(desk, message, worker)
    await receive(database, desk, message, form("failed", "SM1", ErrorCode="30022"))
    row = outcome_row(held, Accepted("SM1", "queued", 1, None, None, None))
    assert not await OutcomeRecorder(database, worker).record(row)
    assert ((await desk.message(message))["status"], (await desk.message(message))["twilio_sid"]) == ("queued", None)
    assert await desk.billed() == 1


@pytest.mark.parametrize("kind", ["otp", "marketing"])
async def test_a_text_that_waited_too_long_is_not_sent(
    kind: str, desk: Desk, neighbour: Desk, database: Database, redis_url: str, keyring: Keyring, twilio: TwilioSandbox
) -> None:
    worker = uuid4()
    late, fresh = await lively(desk, kind, timedelta(seconds=-1)), await lively(neighbour, kind)
    pacer = Pacer.at(redis_url)
    refunded: list[str] = []

    async def refund(*asked: object) -> None:
        refunded.append(str(asked[2]))

    pacer.refund = refund  # type: ignore[method-assign, assignment]
    async with TwilioHttp(twilio.url, total=2.0) as http:
        sending = Sending(
            Twilio(http), pacer, OutcomeRecorder(database, worker), Beginnings(database, worker), keyring, "",
            PuttingOff(database, TenantBook(database), worker), call_seconds=2.0,
        )  # fmt: skip
        for one, message in ((desk, late), (neighbour, fresh)):
            now = clock.monotonic()
            await sending.send(await leased(one, message, worker), Slot(now + 0.1, now + 30.0, str(message)))
    await pacer.close()
    row = await desk.message(late)
    assert (row["status"], row["error_code"], row["error_class"]) == ("failed", None, "expired")
    assert error_of(None, "expired")["reason"] == "It waited longer than it is good for, so it was not sent."  # type: ignore[index]
    assert (refunded, taken(twilio, desk), taken(twilio, neighbour), await desk.billed()) == ([str(late)], 0, 1, 0)


async def test_a_refusal_that_passes_is_a_dead_letter_once_its_budget_or_its_life_is_over(desk: Desk, database: Database) -> None:
    worker, message = uuid4(), await lively(desk)
    held = await leased(desk, message, worker)
    refused = Deferred(63017, "rate_signal", "slow_down", None, "Too fast.")
    assert outcome_row(replace(held, attempt=19), refused).outcome == "deferred"
    ended = outcome_row(replace(held, attempt=20), refused)
    assert (ended.outcome, ended.code, ended.error_class) == ("refused", 63017, "exhausted")
    stale = outcome_row(replace(held, expires_at=clock.now()), refused)
    assert (stale.outcome, stale.code, stale.error_class) == ("refused", 63017, "expired")
    assert await OutcomeRecorder(database, worker).record(stale)
    row = await desk.message(message)
    assert (row["status"], row["error_code"], row["error_class"], await desk.billed()) == ("failed", 63017, "expired", 0)


async def test_to_be_put_off_moves_the_deadline_as_far(desk: Desk, neighbour: Desk, database: Database) -> None:
    worker, message, theirs = uuid4(), await lively(desk, "marketing"), await lively(neighbour, "marketing")
    held, before, other = await leased(desk, message, worker), await desk.message(message), await neighbour.message(theirs)
    until_then: datetime = clock.now() + timedelta(hours=9)
    sql = "SELECT app.put_off_v2($1, $2, $3, $4, $5, $6, 'outside')"
    values = (worker, desk.tenant, message, held.attempt, held.due_at, until_then)
    assert [(await database.call_for_many(sql, *values))[0][0] for _ in range(2)] == [True, False]
    after = await desk.message(message)
    assert (after["status"], after["due_at"]) == ("scheduled", until_then)
    assert after["expires_at"] - before["expires_at"] == after["due_at"] - before["due_at"] > timedelta(hours=8)
    assert (await neighbour.message(theirs))["expires_at"] == other["expires_at"]


@pytest.fixture
async def prompt(make_dispatcher: MakeDispatcher) -> Dispatcher:
    return await make_dispatcher(measures=replace(BRISK, check=0.1))


async def failed_once(desk: Desk, database: Database, dispatcher: Dispatcher) -> tuple[UUID, str]:
    """A message whose first text Twilio took and failed, due again now; and the Sid of that text."""
    message = await lively(desk)

    async def left() -> bool:
        await dispatcher.dispatch_once()
        return bool((await desk.message(message))["twilio_sid"])

    await until(left, 30.0)
    sid = (await desk.message(message))["twilio_sid"]
    await receive(database, desk, message, form("failed", sid, ErrorCode="30022"))
    await hurry(desk)
    return message, sid


async def test_a_newer_text_in_doubt_is_not_taken_for_the_older_one(
    desk: Desk, database: Database, prompt: Dispatcher, make_reconciler: MakeReconciler, twilio: TwilioSandbox
) -> None:
    twilio.faults.arm(DropCallback())
    message, older = await failed_once(desk, database, prompt)
    twilio.faults.arm(ResetBefore(times=1))
    async with at_work(prompt, make_reconciler()):
        await until(lambda: settled(desk), 30.0)
    row = await desk.message(message)
    assert row["twilio_sid"] != older
    assert (taken(twilio, desk), len(twilio.attempts), await desk.billed()) == (2, 3, 1)


async def test_a_newer_text_whose_answer_was_lost_is_found_by_its_own_sid(
    desk: Desk, database: Database, prompt: Dispatcher, make_reconciler: MakeReconciler, twilio: TwilioSandbox
) -> None:
    twilio.faults.arm(DropCallback())
    message, older = await failed_once(desk, database, prompt)
    twilio.faults.arm(AcceptThenReset(times=1))
    async with at_work(prompt, make_reconciler()):
        await until(lambda: settled(desk), 30.0)
    row = await desk.message(message)
    assert row["twilio_sid"] in {text.sid for text in twilio.box} - {older}
    assert (taken(twilio, desk), len(twilio.attempts), await desk.billed()) == (2, 2, 1)


async def test_an_older_text_is_not_given_to_a_twin_either(
    desk: Desk, database: Database, prompt: Dispatcher, make_reconciler: MakeReconciler, twilio: TwilioSandbox
) -> None:
    twilio.faults.arm(DropCallback())
    _, older = await failed_once(desk, database, prompt)
    await desk.owner.execute("UPDATE messages SET due_at = app.now() + interval '1 hour' WHERE tenant_id = $1", desk.tenant)
    twin = await lively(desk)
    row = await desk.message(twin)
    doubtful = Doubtful(desk.tenant, twin, desk.sender, row["recipient"], row["body"], row["class"], 1, 0, False, row["created_at"] - DAY)
    assert (await make_reconciler()._look(doubtful)).word == "absent"
    assert older in {text.sid for text in twilio.box}


async def test_what_is_given_up_after_it_was_taken_once_stays_billed(
    desk: Desk, database: Database, prompt: Dispatcher, make_reconciler: MakeReconciler, twilio: TwilioSandbox
) -> None:
    twilio.faults.arm(DropCallback())
    message, _ = await failed_once(desk, database, prompt)
    twilio.faults.arm(ResetBefore())

    async def given_up() -> bool:
        return bool((await desk.message(message))["error_class"] == "ambiguous")

    async with at_work(prompt, make_reconciler()):
        await until(given_up, 30.0)
    assert (taken(twilio, desk), await desk.billed()) == (1, 1)

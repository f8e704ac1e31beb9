"""Answers and callbacks that come late, or in the other order: what Twilio counted is billed, once."""

from decimal import Decimal
from uuid import UUID, uuid4

import asyncpg
import pytest

from messaging.receipts import record_receipt
from messaging.recorder import OutcomeRecorder, OutcomeRow
from runtime.database import Database
from sandbox.twilio import TwilioSandbox
from sandbox.twilio.faults import AcceptThenDelay
from tests.dispatch.desk import Desk, MakeDispatcher, at_work, until

LEDGER = "SELECT source_id, quantity, occurred_at FROM usage_events WHERE tenant_id = $1 AND source_id LIKE $2 ORDER BY source_id"
SETTLE = "SELECT app.settle_v1($1, $2, $3, 'given_up', 0, NULL, NULL, NULL, NULL, NULL)"


async def ledger(desk: Desk, message: UUID) -> list[asyncpg.Record]:
    """What a text costs, event by event."""
    found: list[asyncpg.Record] = await desk.owner.fetch(LEDGER, desk.tenant, f"message:{message}%")
    return found


def quantities(events: list[asyncpg.Record], message: UUID) -> dict[str, Decimal]:
    """By what follows the message in their source."""
    return {event["source_id"].removeprefix(f"message:{message}"): event["quantity"] for event in events}


async def callback(database: Database, desk: Desk, message: UUID, status: str, sid: str) -> str:
    async with database.tenant_scope(desk.tenant) as connection:
        return await record_receipt(connection, desk.tenant, message, {"MessageSid": sid, "MessageStatus": status})


async def answered(database: Database, desk: Desk, message: UUID, sid: str, segments: int) -> bool:
    """The create's answer, written down by a worker."""
    row = OutcomeRow(desk.tenant, message, 0, "taken", sid=sid, twilio_status="queued", segments=segments)
    return await OutcomeRecorder(database, uuid4()).record(row)


async def test_a_count_that_comes_after_the_callback_corrects_the_bill(
    desk: Desk, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox, callbacks: str
) -> None:
    twilio.faults.arm(AcceptThenDelay(seconds=0.7, times=1))
    message = await desk.text(segments=3)  # we counted three, Twilio counts one
    dispatcher = await make_dispatcher(public=callbacks)

    async def delivered() -> bool:
        return set(await desk.statuses()) == {"delivered"}

    async with at_work(dispatcher):
        await until(delivered)
        assert quantities(await ledger(desk, message), message) == {"": 3}  # the callback was first, and says no count
        await until(lambda: idle(dispatcher))
    assert quantities(await ledger(desk, message), message) == {"": 3, ":final": -2}
    row = await desk.message(message)
    assert (row["status"], row["final_segments"], await desk.billed(), len(twilio.attempts)) == ("delivered", 1, 1, 1)


async def idle(dispatcher: object) -> bool:
    """Whether every answer was heard and written down."""
    return getattr(dispatcher, "in_flight", None) == 0


@pytest.mark.parametrize(("told", "correction"), [(3, {":final": 2}), (1, {}), (0, {})], ids=["more", "the same", "not known yet"])
async def test_a_late_answer_corrects_once_and_moves_nothing(told: int, correction: dict[str, int], desk: Desk, database: Database) -> None:
    message = await desk.text()
    assert await callback(database, desk, message, "delivered", "SM1") == "moved"
    for _ in range(2):
        assert await answered(database, desk, message, "SM1", told) is False
    assert quantities(await ledger(desk, message), message) == {"": 1, **correction}
    assert ((await desk.message(message))["status"], await desk.events(message)) == ("delivered", ["delivered"])


async def test_a_late_answer_about_another_sid_corrects_nothing(desk: Desk, database: Database) -> None:
    message = await desk.text()
    await callback(database, desk, message, "delivered", "SM1")
    assert await answered(database, desk, message, "SM2", 3) is False
    assert quantities(await ledger(desk, message), message) == {"": 1}


async def test_a_text_given_up_that_had_left_is_owed_again_and_dated_like_the_original(desk: Desk, database: Database) -> None:
    first, twin = await desk.text(segments=2), await desk.text(segments=2)
    await callback(database, desk, first, "sent", "SM1")
    await callback(database, desk, twin, "delivered", "SM1")  # the Sid was the twin's: the first one is in doubt
    assert await desk.owner.fetchval(SETTLE, desk.tenant, first, 0) is True
    assert quantities(await ledger(desk, first), first) == {"": 2, ":void": -2}
    assert (await desk.message(first))["status"] == "failed"

    assert await callback(database, desk, first, "delivered", "SM2") == "moved"

    events = await ledger(desk, first)
    assert quantities(events, first) == {"": 2, ":void": -2, ":void:back": 2}
    assert len({event["occurred_at"] for event in events}) == 1
    assert ((await desk.message(first))["status"], await desk.billed()) == ("delivered", 4)
    assert await callback(database, desk, first, "read", "SM2") == "moved"
    assert len(await ledger(desk, first)) == 3  # owed once

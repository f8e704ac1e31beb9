import asyncio
from collections.abc import Callable
from dataclasses import replace

import asyncpg
import pytest

from messaging.dispatcher import Dispatcher
from messaging.reconcile import Reconciler
from sandbox.twilio import TwilioSandbox
from sandbox.twilio.faults import AcceptThenReset, DropCallback, Match, ResetBefore, Status
from tests.dispatch.desk import BRISK, Desk, MakeDispatcher, at_work, until

Owner = asyncpg.Connection
MakeReconciler = Callable[..., Reconciler]


def taken(twilio: TwilioSandbox, desk: Desk) -> int:
    """How many texts of a desk the sandbox took."""
    return sum(message.account_sid == desk.account for message in twilio.box)


async def rests(desk: Desk, status: str) -> bool:
    """Whether every text of the desk has this status."""
    return set(await desk.statuses()) == {status}


async def settled(desk: Desk) -> bool:
    """Whether Twilio is known to have every text of the desk."""
    return set(await desk.statuses()) <= {"sent", "delivered"}


@pytest.fixture
async def prompt(make_dispatcher: MakeDispatcher) -> Dispatcher:
    """A dispatcher after whose leases Twilio is asked soon."""
    return await make_dispatcher(measures=replace(BRISK, check=0.1))


async def test_an_accepted_text_whose_answer_was_lost_is_settled_by_its_callback(
    desk: Desk, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox, callbacks: str
) -> None:
    twilio.faults.arm(AcceptThenReset(times=1))
    message = await desk.text()
    async with at_work(await make_dispatcher(public=callbacks)):
        await until(lambda: rests(desk, "delivered"))
    row = await desk.message(message)
    assert (taken(twilio, desk), await desk.billed()) == (1, 1)
    assert row["twilio_sid"] == next(iter(twilio.box)).sid
    assert row["delivered_at"] is not None


async def test_with_its_callbacks_lost_too_it_is_found_in_the_list(
    desk: Desk, neighbour: Desk, prompt: Dispatcher, make_reconciler: MakeReconciler, twilio: TwilioSandbox
) -> None:
    for fault in (AcceptThenReset(times=1, match=Match(account=desk.account)), DropCallback()):
        twilio.faults.arm(fault)
    message = await desk.text()
    await neighbour.text()
    await prompt.dispatch_once()
    assert (await desk.message(message))["status"] == "unknown"
    async with at_work(make_reconciler()):
        await until(lambda: settled(desk))
    row = await desk.message(message)
    assert row["twilio_sid"] in [text.sid for text in twilio.box if text.account_sid == desk.account]
    assert (taken(twilio, desk), await desk.billed(), await neighbour.billed()) == (1, 1, 1)


@pytest.mark.parametrize("kind", ["otp", "transactional"])
async def test_listed_in_neither_look_a_code_or_a_notice_is_sent_again_once(
    kind: str, desk: Desk, prompt: Dispatcher, make_reconciler: MakeReconciler, twilio: TwilioSandbox
) -> None:
    twilio.faults.arm(ResetBefore(times=1))
    message = await desk.text(kind=kind)
    async with at_work(prompt, make_reconciler()):
        await until(lambda: settled(desk))
    row = await desk.message(message)
    assert (row["resent"], row["attempt"], len(twilio.attempts), taken(twilio, desk)) == (True, 2, 2, 1)
    assert await desk.billed() == 1
    assert await desk.events(message) == ["unknown", "queued", "sent"]


async def test_a_text_that_stays_unknown_after_it_was_sent_again_is_given_up(
    desk: Desk, prompt: Dispatcher, make_reconciler: MakeReconciler, twilio: TwilioSandbox
) -> None:
    twilio.faults.arm(ResetBefore())
    message = await desk.text(kind="otp")
    async with at_work(prompt, make_reconciler()):
        await until(lambda: rests(desk, "failed"))
    row = await desk.message(message)
    assert (row["error_class"], row["attempt"], len(twilio.attempts)) == ("ambiguous", 2, 2)
    assert await desk.billed() == 0


async def test_marketing_is_given_up_and_says_so(
    desk: Desk, prompt: Dispatcher, make_reconciler: MakeReconciler, twilio: TwilioSandbox
) -> None:
    twilio.faults.arm(ResetBefore())
    message = await desk.text(kind="marketing")
    async with at_work(prompt, make_reconciler()):
        await until(lambda: rests(desk, "failed"))
    row = await desk.message(message)
    assert (row["error_class"], row["error_code"], row["resent"], len(twilio.attempts)) == ("ambiguous", None, False, 1)


async def test_a_look_that_failed_is_no_look(
    desk: Desk, prompt: Dispatcher, make_reconciler: MakeReconciler, twilio: TwilioSandbox
) -> None:
    twilio.faults.arm(ResetBefore(times=1))
    outage = twilio.faults.arm(Status(status=503, match=Match(operation="list")))
    message = await desk.text()
    async with at_work(make_reconciler()):
        await prompt.dispatch_once()
        await asyncio.sleep(1.5)
        row = await desk.message(message)
        assert (row["status"], row["looks"], len(twilio.attempts)) == ("unknown", 0, 1)
        twilio.faults.disarm(outage)
        await until(lambda: looked(desk, message))
        assert len(twilio.attempts) == 1
        await until(lambda: rests(desk, "queued"))


async def looked(desk: Desk, message: object) -> bool:
    """Whether one look without the text was counted."""
    return bool((await desk.message(message))["looks"] == 1)  # type: ignore[arg-type]  # a UUID


async def test_two_equal_texts_to_one_person_never_share_a_sid(
    desk: Desk, prompt: Dispatcher, make_reconciler: MakeReconciler, twilio: TwilioSandbox
) -> None:
    twilio.faults.arm(AcceptThenReset(times=1))
    twilio.faults.arm(ResetBefore(times=1))
    await desk.text()
    await desk.text()
    async with at_work(prompt, make_reconciler(), make_reconciler()):
        await until(lambda: settled(desk))
    rows = await desk.owner.fetch("SELECT twilio_sid FROM messages WHERE tenant_id = $1", desk.tenant)
    assert {row[0] for row in rows} == {text.sid for text in twilio.box}
    assert (len(rows), taken(twilio, desk), await desk.billed()) == (2, 2, 2)


async def test_a_text_with_the_same_words_from_before_is_not_taken_for_it(
    desk: Desk, prompt: Dispatcher, make_reconciler: MakeReconciler, twilio: TwilioSandbox
) -> None:
    await desk.text()
    await prompt.dispatch_once()
    twilio.faults.arm(ResetBefore(times=1))
    await desk.text()
    async with at_work(prompt, make_reconciler()):
        await until(lambda: settled(desk))
    assert (taken(twilio, desk), len(twilio.attempts)) == (2, 3)


async def test_what_a_killed_worker_leased_becomes_unknown_and_is_settled_not_repeated(
    desk: Desk, make_dispatcher: MakeDispatcher, make_reconciler: MakeReconciler, twilio: TwilioSandbox, owner: Owner
) -> None:
    twilio.faults.arm(AcceptThenReset(times=1))
    sent, unsent = await desk.text(body="sent before the crash"), await desk.text(body="only leased")
    worker = await make_dispatcher()
    picks = await worker._take()
    granted = [await worker._grant(pick) for pick in picks]
    leased = await worker._lease(granted)
    assert {message.id for message in leased} == {sent, unsent}
    first = next(message for message in leased if message.id == sent)
    await worker._sending._attempt(first, granted[0].slots[sent])  # and then it dies, before it can say what happened
    await owner.execute("UPDATE messages SET lease_until = app.now() WHERE tenant_id = $1", desk.tenant)
    await owner.execute("UPDATE control.schedule SET check_at = app.now()")
    async with at_work(await make_dispatcher(), make_reconciler()):
        await until(lambda: settled(desk))
    assert sorted(text.body for text in twilio.box) == ["only leased", "sent before the crash"]
    assert ((await desk.message(sent))["resent"], (await desk.message(unsent))["resent"]) == (False, True)
    assert await desk.billed() == 2

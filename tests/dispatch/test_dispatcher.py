import asyncio
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import asyncpg
import msgspec
import pytest

from messaging.outcomes import Deferred
from messaging.sending import pause
from runtime.database import Database
from sandbox.twilio import TwilioSandbox
from sandbox.twilio.faults import AcceptThenDelay, Delay, Match, Status
from tests.dispatch.desk import BRISK, Desk, MakeDesk, MakeDispatcher, at_work, until

Owner = asyncpg.Connection


def texts(twilio: TwilioSandbox, desk: Desk) -> list[str]:
    """The bodies that the sandbox took from a desk, oldest first."""
    return [message.body for message in twilio.box if message.account_sid == desk.account]


async def test_each_text_leaves_once_and_is_billed_once_to_its_own_tenant(
    desk: Desk, neighbour: Desk, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox
) -> None:
    for number in range(5):
        await desk.text(body=f"ours {number}")
    await neighbour.text(body="theirs in two parts " * 9, segments=2)
    workers = [await make_dispatcher() for _ in range(3)]
    async with at_work(*workers):
        await until(lambda: all_sent(desk, 5))
        await until(lambda: all_sent(neighbour, 1))
    assert sorted(texts(twilio, desk)) == [f"ours {number}" for number in range(5)]
    assert texts(twilio, neighbour) == ["theirs in two parts " * 9]
    assert (await desk.billed(), await neighbour.billed()) == (5, 2)
    assert (await desk.schedule())["queued_segments"] == 0


async def all_sent(desk: Desk, count: int) -> bool:
    """Whether so many of the desk's texts are sent, and no other is left."""
    return await desk.statuses() == {"sent": count}


async def test_texts_leave_at_the_pace_of_the_registration(
    make_desk: MakeDesk, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox
) -> None:
    desk = await make_desk(per_minute=600)
    for _ in range(15):
        await desk.text()
    workers = [await make_dispatcher() for _ in range(2)]
    async with at_work(*workers):
        await until(lambda: all_sent(desk, 15))
    arrivals = [message.arrived_at for message in twilio.box]
    assert arrivals[-1] - arrivals[0] >= 1.4 - 0.2  # 14 intervals of 100 ms, the first may arrive late
    assert arrivals[-1] - arrivals[0] <= 1.4 * 1.25
    assert sorted(later - earlier for earlier, later in pairwise(arrivals))[3] > 0.05


async def test_an_idle_senders_text_reaches_twilio_quickly(desk: Desk, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox) -> None:
    dispatcher = await make_dispatcher(measures=replace(BRISK, look=20.0))
    waits = []
    async with at_work(dispatcher):
        await asyncio.sleep(0.3)
        for number in range(15):
            began = asyncio.get_running_loop().time()
            await desk.text(body=f"now {number}")
            dispatcher.woken.set()
            await until(lambda: is_last(twilio, f"now {number}"))  # noqa: B023  awaited within the turn
            waits.append(next(reversed(list(twilio.box))).arrived_at - began)
            await asyncio.sleep(0.02)
    assert sorted(waits)[7] < 2, "it is woken: the next look would come after 20 s"
    assert max(waits) < 10


async def is_last(twilio: TwilioSandbox, body: str) -> bool:
    """Whether the newest text has this body."""
    newest = next(iter(twilio.box.newest()), None)
    return newest is not None and newest.body == body


async def test_one_tenants_backlog_does_not_delay_another(
    make_desk: MakeDesk, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox, neighbour: Desk
) -> None:
    slow = await make_desk(per_minute=60)
    for _ in range(200):
        await slow.text()
    dispatcher = await make_dispatcher()
    async with at_work(dispatcher):
        await until(lambda: any_from(twilio, slow))
        await neighbour.text(body="me first")
        await until(lambda: any_from(twilio, neighbour), seconds=1.0)
    assert len(texts(twilio, slow)) <= 3


async def any_from(twilio: TwilioSandbox, desk: Desk) -> bool:
    """Whether the sandbox took a text of the desk."""
    return bool(texts(twilio, desk))


async def test_a_slow_account_does_not_take_everybodys_places(
    desk: Desk, neighbour: Desk, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox
) -> None:
    twilio.faults.arm(Delay(seconds=1.5, match=Match(account=desk.account)))
    for _ in range(30):
        await desk.text()
    dispatcher = await make_dispatcher(measures=replace(BRISK, in_flight=20, per_tenant=5))
    async with at_work(dispatcher):
        await until(lambda: in_flight(dispatcher, 5))
        await neighbour.text()
        await until(lambda: any_from(twilio, neighbour), seconds=1.0)
        assert dispatcher.in_flight <= 6
        await desk.owner.execute("DELETE FROM control.schedule")  # the rest need not leave


async def in_flight(dispatcher: object, count: int) -> bool:
    """Whether so many are on their way."""
    return getattr(dispatcher, "in_flight", 0) >= count


async def test_what_twilio_refused_as_too_many_is_tried_again_and_leaves_once(
    desk: Desk, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox
) -> None:
    twilio.faults.arm(Status(status=429, code=20429, times=3))
    message = await desk.text()
    async with at_work(await make_dispatcher()):
        await until(lambda: all_sent(desk, 1), seconds=30)
    assert [attempt["status"] for attempt in twilio.attempts] == [429, 429, 429, 201]
    assert len(texts(twilio, desk)) == 1
    assert await desk.billed() == 1
    assert await desk.events(message) == ["queued", "queued", "queued", "sent"]


def test_four_attempts_fit_in_a_minute_even_with_the_longest_pauses() -> None:
    busy = Deferred(20429, "not_sent", "retry_backoff", None, "busy")
    pauses = [pause(busy, attempt, lambda _, longest: longest) for attempt in (1, 2, 3)]
    assert sum(pauses) < 60
    full = Deferred(21611, "backpressure", "pause_sender", None, "full")
    assert pause(full, 1, lambda shortest, _: shortest) > 10


async def test_a_refused_text_fails_with_its_code_and_costs_nothing(desk: Desk, make_dispatcher: MakeDispatcher) -> None:
    message = await desk.text(to="+15005550001")
    await (await make_dispatcher()).dispatch_once()
    row = await desk.message(message)
    assert (row["status"], row["error_code"], row["error_class"]) == ("failed", 21211, "recipient")
    assert await desk.billed() == 0


async def test_twilios_opt_out_is_kept_as_ours(desk: Desk, neighbour: Desk, make_dispatcher: MakeDispatcher, owner: Owner) -> None:
    message = await desk.text(to="+15005550004")
    await (await make_dispatcher()).dispatch_once()
    assert (await desk.message(message))["error_code"] == 21610
    rows = await owner.fetch(
        "SELECT tenant_id, recipient, source FROM opt_outs WHERE tenant_id = ANY ($1)", [desk.tenant, neighbour.tenant]
    )
    assert [tuple(row) for row in rows] == [(desk.tenant, "+15005550004", "twilio")]


async def test_whoever_opted_out_meanwhile_is_not_texted(
    desk: Desk, neighbour: Desk, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox, owner: Owner
) -> None:
    message = await desk.text()
    await neighbour.text()
    await owner.execute("INSERT INTO opt_outs (tenant_id, recipient, source) VALUES ($1, '+12025550101', 'api')", desk.tenant)
    await (await make_dispatcher()).dispatch_once()
    row = await desk.message(message)
    assert (row["status"], row["error_code"], row["attempt"]) == ("failed", 21610, 0)
    assert (texts(twilio, desk), len(texts(twilio, neighbour))) == ([], 1)


async def test_a_canceled_text_never_leaves_and_a_leased_one_cannot_be_canceled(
    desk: Desk, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox, database: Database
) -> None:
    from messaging.outbox import cancel_message  # noqa: PLC0415  beside its use: this test alone cancels
    from runtime.refusals import Conflict  # noqa: PLC0415  the same

    messages = [await desk.text(body=f"race {number}") for number in range(20)]
    refused = []

    async def cancel(message: object) -> None:
        async with database.tenant_scope(desk.tenant) as connection:
            try:
                await cancel_message(connection, desk.tenant, message)  # type: ignore[arg-type]  # a UUID
            except Conflict:
                refused.append(message)

    async with at_work(await make_dispatcher(), await make_dispatcher()):
        await asyncio.gather(*map(cancel, messages))
        await until(lambda: none_waits(desk))
    statuses = await desk.statuses()
    assert statuses.get("sent", 0) == len(refused) == len(texts(twilio, desk))
    assert statuses.get("canceled", 0) == 20 - len(refused)


async def none_waits(desk: Desk) -> bool:
    """Whether every text of the desk has come to rest."""
    return set(await desk.statuses()) <= {"sent", "canceled", "failed"}


async def test_a_suspended_tenant_and_a_held_one_send_nothing_until_released(
    desk: Desk, neighbour: Desk, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox, owner: Owner, database: Database
) -> None:
    from messaging.repairs import release_holds  # noqa: PLC0415  beside its use: this test alone releases

    await desk.text()
    await neighbour.text()
    await owner.execute("UPDATE control.tenants SET status = 'suspended' WHERE id = $1", desk.tenant)
    await owner.execute("INSERT INTO control.switches (name, tenant_id, mode) VALUES ('sending', $1, 'hold')", neighbour.tenant)
    dispatcher = await make_dispatcher()
    await dispatcher.dispatch_once()
    assert len(twilio.attempts) == 0
    assert (await desk.schedule())["hold_reason"] == "suspended"
    assert (await neighbour.schedule())["hold_reason"] == "sending held"
    await owner.execute("UPDATE control.tenants SET status = 'active' WHERE id = $1", desk.tenant)
    assert await release_holds(database) == 1
    await dispatcher.dispatch_once()
    assert (len(texts(twilio, desk)), len(texts(twilio, neighbour))) == (1, 0)


@pytest.mark.parametrize("lost", ["lease_owner = gen_random_uuid()", "attempt = attempt + 1"])
async def test_a_worker_that_lost_its_lease_changes_nothing(
    lost: str, desk: Desk, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox, owner: Owner
) -> None:
    twilio.faults.arm(AcceptThenDelay(seconds=0.5, times=1))
    message = await desk.text()
    dispatcher = await make_dispatcher()
    sending = asyncio.create_task(dispatcher.dispatch_once())
    await until(lambda: any_from(twilio, desk))
    await owner.execute(f"UPDATE messages SET {lost} WHERE tenant_id = $1", desk.tenant)
    await sending
    row = await desk.message(message)
    assert (row["status"], row["twilio_sid"]) == ("sending", None)
    assert await desk.events(message) == ["late"]
    assert await desk.billed() == 0


async def test_a_lost_wake_up_and_a_lost_flag_are_mended(
    desk: Desk, make_dispatcher: MakeDispatcher, owner: Owner, database: Database
) -> None:
    from messaging.repairs import repair_schedule  # noqa: PLC0415  beside its use

    await desk.text()
    dispatcher = await make_dispatcher()
    await owner.execute("SELECT app.fold_arrivals_v1(100)")
    await owner.execute("UPDATE control.schedule SET has_work = false, next_at = 'infinity'")
    assert await dispatcher.dispatch_once() == 0
    assert await repair_schedule(database, timedelta(0)) == 1
    assert await repair_schedule(database, timedelta(0)) == 0
    assert await dispatcher.dispatch_once() == 1
    assert await all_sent(desk, 1)


async def test_a_lease_whose_answer_was_lost_is_given_back_and_the_text_leaves_once(
    desk: Desk, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox
) -> None:
    message = await desk.text(kind="marketing")
    dispatcher = await make_dispatcher()
    granted = [await dispatcher._grant(pick) for pick in await dispatcher._take()]
    assert len(await dispatcher._lease(granted)) == 1
    assert (await desk.message(message))["status"] == "sending"
    document = msgspec.json.encode([each.as_pick() for each in granted]).decode()
    await dispatcher._give_back(document)
    await dispatcher._give_back(document)  # twice is once
    assert (await desk.message(message))["status"] == "queued"
    async with at_work(dispatcher):
        await until(lambda: all_sent(desk, 1))
    assert (len(twilio.attempts), await desk.billed(), (await desk.schedule())["queued_segments"]) == (1, 1, 0)

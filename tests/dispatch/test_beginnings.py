"""A lost lease tells two cases apart: the request was begun, or nothing left."""

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import asyncpg

from messaging.dispatcher import Dispatcher
from messaging.reconcile import Reconciler
from messaging.sending import Leased
from sandbox.twilio import TwilioSandbox
from tests.dispatch.desk import BRISK, Desk, MakeDesk, MakeDispatcher, at_work, until

Owner = asyncpg.Connection
MakeReconciler = Callable[..., Reconciler]
SLOW = 60  # segments per minute: the second text's slot is a second ahead


async def leased_ahead(desk: Desk, worker: Dispatcher) -> list[Leased]:
    """What a worker leased of a desk: the first text for now, the second for its slot."""
    granted = [await worker._grant(pick) for pick in await worker._take()]
    return [message for message in await worker._lease(granted) if message.tenant == desk.tenant]


async def lose_leases(desk: Desk, owner: Owner) -> None:
    await owner.execute("UPDATE messages SET lease_until = app.now() WHERE tenant_id = $1", desk.tenant)
    await owner.execute("UPDATE control.schedule SET check_at = app.now() WHERE tenant_id = $1", desk.tenant)


async def test_what_was_leased_for_later_and_never_begun_is_queued_again_and_nobody_is_asked(
    make_desk: MakeDesk, make_dispatcher: MakeDispatcher, make_reconciler: MakeReconciler, twilio: TwilioSandbox, owner: Owner
) -> None:
    desk = await make_desk(per_minute=SLOW)
    now, later = await desk.text(body="for now"), await desk.text(body="for later")
    dead = await make_dispatcher(measures=replace(BRISK, horizon=1.0))
    leased = await leased_ahead(desk, dead)
    assert {message.id: message.begun for message in leased} == {now: True, later: False}
    await lose_leases(desk, owner)
    await make_reconciler().look_once()
    assert [(await desk.message(each))["status"] for each in (now, later)] == ["unknown", "queued"]
    async with at_work(await make_dispatcher()):
        await until(lambda: sent(desk, later))
    assert [text.body for text in twilio.box] == ["for later"]
    assert (await desk.message(later))["resent"] is False
    assert (await desk.events(later))[:2] == ["queued", "sent"]


async def test_whoever_lost_its_lease_can_no_longer_begin(
    make_desk: MakeDesk, make_dispatcher: MakeDispatcher, make_reconciler: MakeReconciler, twilio: TwilioSandbox, owner: Owner
) -> None:
    desk = await make_desk(per_minute=SLOW)
    await desk.text(body="for now")
    later = await desk.text(body="for later")
    slow = await make_dispatcher(measures=replace(BRISK, horizon=1.0))
    (message,) = [each for each in await leased_ahead(desk, slow) if each.id == later]
    assert await slow._sending._begin(message) is True
    await lose_leases(desk, owner)
    assert await slow._sending._begin(message) is False, "a lease that ends before the call could must not be used"
    await make_reconciler().look_once()
    assert await slow._sending._begin(message) is False
    assert not twilio.attempts


async def sent(desk: Desk, message: UUID) -> bool:
    return (await desk.message(message))["status"] in ("sent", "delivered")

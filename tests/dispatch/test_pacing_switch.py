"""The switch pacing, mode by mode, beside a tenant that nobody turned."""

from dataclasses import replace

import asyncpg
import pytest

from messaging.pacer import Pacer
from runtime import metrics
from sandbox.twilio import TwilioSandbox
from sandbox.twilio.faults import Delay, Match
from tests.dispatch.desk import BRISK, Desk, MakeDesk, MakeDispatcher, at_work, until
from tests.dispatch.test_worker import at_rest
from tests.dispatch.valkey import Valkey

Owner = asyncpg.Connection
TURN = "INSERT INTO control.switches (name, tenant_id, mode) VALUES ('pacing', $1, $2)"
TEXTS = 5


@pytest.fixture
async def slow(make_desk: MakeDesk) -> Desk:
    return await make_desk(per_minute=6)


@pytest.fixture
async def enforced(make_desk: MakeDesk) -> Desk:
    return await make_desk(per_minute=6)


async def test_observed_texts_leave_at_once_and_what_would_have_waited_is_counted(
    slow: Desk, enforced: Desk, make_dispatcher: MakeDispatcher, owner: Owner, redis_url: str
) -> None:
    await owner.execute(TURN, slow.tenant, "observe")
    for _ in range(TEXTS):
        await slow.text()
        await enforced.text()
    before = metrics.PACING_OBSERVED._value.get()
    await (await make_dispatcher()).dispatch_once()
    assert await slow.statuses() == {"sent": TEXTS}
    assert await enforced.statuses() == {"sent": 1, "queued": TEXTS - 1}
    assert metrics.PACING_OBSERVED._value.get() == before + TEXTS - 1
    pacer = Pacer.at(redis_url, quarantine=0.0)
    assert (await pacer.peek(slow.tenant, slow.registration, 6)).next_in > 0, "its slot is recorded"
    await pacer.close()


async def test_with_pacing_off_texts_leave_while_redis_is_away(
    slow: Desk, enforced: Desk, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox, owner: Owner, valkey: Valkey
) -> None:
    await owner.execute(TURN, slow.tenant, "off")
    dispatcher = await make_dispatcher(redis=valkey.url)
    valkey.stop()
    for _ in range(TEXTS):
        await slow.text()
        await enforced.text()
    async with at_work(dispatcher):
        await until(lambda: at_rest(slow, sent=TEXTS), seconds=30)
    assert await enforced.statuses() == {"queued": TEXTS}
    assert len(twilio.attempts) == TEXTS


async def test_with_pacing_off_no_slot_is_recorded_and_a_tenant_has_no_more_in_flight_than_it_may(
    slow: Desk, neighbour: Desk, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox, owner: Owner, redis_url: str
) -> None:
    await owner.execute(TURN, slow.tenant, "off")
    twilio.faults.arm(Delay(seconds=0.5, match=Match(account=slow.account)))
    for _ in range(TEXTS):
        await slow.text()
    await neighbour.text()
    dispatcher, most = await make_dispatcher(measures=replace(BRISK, per_tenant=2)), 0
    async with at_work(dispatcher):
        while not await at_rest(slow, sent=TEXTS):
            most = max(most, (await slow.statuses()).get("sending", 0))
    assert most == 2
    assert await neighbour.statuses() == {"sent": 1}
    pacer = Pacer.at(redis_url, quarantine=0.0)
    assert (await pacer.peek(slow.tenant, slow.registration, 6)).next_in <= 0, "nothing was asked"
    assert (await pacer.peek(neighbour.tenant, neighbour.registration, 1)).next_in > 0
    await pacer.close()


async def test_everybodys_switch_and_a_tenants_own_the_farther_one_holds(slow: Desk, enforced: Desk, owner: Owner) -> None:
    async def modes() -> list[str]:
        return [await owner.fetchval("SELECT app.pacing_mode_v1($1)", desk.tenant) for desk in (slow, enforced)]

    assert await modes() == ["enforce", "enforce"]
    undone = owner.transaction()
    await undone.start()
    await owner.execute(TURN, slow.tenant, "off")
    await owner.execute(TURN, None, "observe")
    assert await modes() == ["off", "observe"]
    await owner.execute("UPDATE control.switches SET mode = 'enforce' WHERE name = 'pacing' AND tenant_id = $1", slow.tenant)
    assert await modes() == ["observe", "observe"]
    await undone.rollback()


async def test_a_registration_that_may_send_nothing_sends_nothing_whatever_the_switch_says(
    make_desk: MakeDesk, make_dispatcher: MakeDispatcher, owner: Owner
) -> None:
    desk = await make_desk(per_minute=0)
    await owner.execute(TURN, desk.tenant, "off")
    await desk.text()
    await (await make_dispatcher()).dispatch_once()
    assert await desk.statuses() == {"queued": 1}

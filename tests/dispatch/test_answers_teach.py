"""What Twilio answers to a create is learned where its outcome is recorded: end to end, and for its own tenant only."""

import pytest

from runtime.database import Database
from sandbox.twilio import TwilioSandbox
from sandbox.twilio.faults import Match, Status
from tests.dispatch.desk import Desk, MakeDesk, MakeDispatcher

HELD = "SELECT code, reason, held_until > app.now() AS holds FROM registration_holds WHERE tenant_id = $1"


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (401, 20003, "Twilio refuses the sender's credentials (20003)"),
        (400, 21611, None),
        (429, 63038, None),
        (400, 30023, "the brand's day at T-Mobile is used up"),
    ],
)
async def test_what_concerns_the_sender_holds_its_registration_and_costs_no_attempt(
    status: int, code: int, reason: str | None, desk: Desk, neighbour: Desk, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox
) -> None:
    twilio.faults.arm(Status(status=status, code=code, match=Match(account=desk.account)))
    dispatcher = await make_dispatcher()
    first, theirs = await desk.text(), await neighbour.text()
    await dispatcher.dispatch_once()
    row = await desk.message(first)
    assert (row["status"], row["attempt"]) == ("queued", 0)
    held = await desk.owner.fetchrow(HELD, desk.tenant)
    assert held is not None
    assert (held["code"], held["holds"]) == (code, True)
    assert reason in (None, held["reason"])
    assert (await neighbour.message(theirs))["status"] in ("sent", "delivered")
    assert await neighbour.owner.fetchrow(HELD, neighbour.tenant) is None
    # what comes later waits too, and nothing is asked of Twilio
    await desk.owner.execute("UPDATE messages SET due_at = app.now() WHERE tenant_id = $1", desk.tenant)
    await desk.owner.execute("UPDATE control.schedule SET next_at = app.now(), paced_until = '-infinity' WHERE tenant_id = $1", desk.tenant)
    second = await desk.text()
    await dispatcher.dispatch_once()
    assert (await desk.message(second))["attempt"] == 0
    schedule = await desk.schedule()
    assert schedule["hold_reason"] == held["reason"]
    assert schedule["held_until"] is not None


async def test_too_many_at_once_lowers_what_the_account_has_in_flight(
    desk: Desk, neighbour: Desk, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox, database: Database
) -> None:
    twilio.faults.arm(Status(status=429, code=20429, match=Match(account=desk.account), times=1))
    text = await desk.text()
    await (await make_dispatcher()).dispatch_once()
    assert (await desk.message(text))["attempt"] == 0
    lowered = "SELECT at_once FROM learned_concurrency WHERE tenant_id = $1 AND account_sid = $2"
    assert await desk.owner.fetchval(lowered, desk.tenant, desk.account) == 25
    assert await desk.owner.fetchval(lowered, neighbour.tenant, neighbour.account) is None
    async with database.tenant_scope(desk.tenant) as connection:
        now = (await connection.exec_driver_sql("SELECT app.at_once_v1($1, $2)", (desk.tenant, desk.account))).scalar_one()
    assert 25 <= now <= 50


async def test_a_text_that_is_past_its_life_is_not_sent_and_its_slot_is_free(
    make_desk: MakeDesk, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox
) -> None:
    desk = await make_desk(60)
    stale, fresh = await desk.text(kind="otp"), await desk.text()
    await desk.owner.execute("UPDATE messages SET expires_at = app.now() - interval '1 second' WHERE id = $1", stale)
    await (await make_dispatcher()).dispatch_once()
    row = await desk.message(stale)
    assert (row["status"], row["error_class"], row["twilio_sid"]) == ("failed", "expired", None)
    assert (await desk.message(fresh))["status"] in ("sending", "sent", "delivered", "queued")
    assert await desk.billed() == len(twilio.attempts), "the one that was not asked of Twilio is not billed"

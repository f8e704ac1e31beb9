"""Holds that Twilio's answers teach: refused credentials, stopped senders, caps, full queues; how they end, and whose they are."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError

from messaging.day_counts import day_count
from messaging.faults import fault
from messaging.outcomes import Deferred, classify
from messaging.repairs import release_holds
from messaging.sending import Leased, outcome_row
from runtime.database import Database
from sandbox.twilio import TwilioSandbox
from sandbox.twilio.faults import Status
from tests.dispatch.desk import Desk, MakeDispatcher
from tests.dispatch.school import HOUR, TEACH, School
from tests.dispatch.test_receipts import form, receive

Owner = asyncpg.Connection


@pytest.mark.usefixtures("still")
async def test_refused_credentials_open_the_circuit_and_each_strike_in_a_row_holds_longer(school: School, next_door: School) -> None:
    held = []
    for _ in range(8):
        taught, span = await school.teach(20003)
        assert (taught, span is not None) == ("held", True)
        assert (await school.teach(20003))[0] is None  # of the same handful that was tried
        held.append((await school.hold())["span"].total_seconds())
        await school.pass_time(held[-1] + 20)
    assert held == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    row = await school.hold()
    assert (row["reason"], row["code"], row["strikes"]) == ("Twilio refuses the sender's credentials (20003)", 20003, 8)
    assert await school.teach(20003, ago=3_700) == (None, None)  # it left before the last one was known
    await school.pass_time(2 * HOUR)
    assert (await school.teach(20005))[0] == "held"  # it has worked meanwhile, or nobody tried: the first strike again
    row = await school.hold()
    assert (row["span"], row["strikes"]) == (timedelta(minutes=1), 1)
    assert row["reason"] == "the Twilio account is not active (20005)"
    assert await next_door.learned() == 0


@pytest.mark.usefixtures("still")
async def test_a_sender_that_was_renewed_meanwhile_is_not_stopped_for_its_old_credentials(school: School, owner: Owner) -> None:
    await school.pass_time(100)
    assert (await school.teach(20003, ago=50))[0] == "held"
    await owner.execute("DELETE FROM registration_holds WHERE tenant_id = $1", school.desk.tenant)
    await owner.execute("UPDATE senders SET updated_at = app.now() WHERE tenant_id = $1", school.desk.tenant)
    assert await school.teach(20003, ago=50) == (None, None)
    assert await school.teach(30034, ago=50) == (None, None)
    assert (await school.teach(20003))[0] == "held"


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize("code", [20404, 21704, 30032, 30033, 30034])
async def test_a_sender_that_twilio_does_not_send_for_is_tried_hourly_then_daily(code: int, school: School) -> None:
    held = []
    for _ in range(7):
        assert (await school.teach(code))[0] == "held"
        held.append((await school.hold())["span"] / timedelta(hours=1))
        await school.pass_time(held[-1] * HOUR + 60)
    assert held == [1, 2, 4, 8, 16, 24, 24]
    assert (await school.hold())["reason"] == f"Twilio does not send for this sender ({code})"


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize(("code", "seconds", "held"), [
    (60728, None, HOUR),
    (63038, 3.0, 24 * HOUR),
    (21611, 37.5, 37.5),
    (21611, None, 45.0),
    (21611, 1e9, HOUR),
])  # fmt: skip
async def test_caps_and_full_queues_hold_the_registration_for_a_while(
    code: int, seconds: float | None, held: float, school: School, next_door: School
) -> None:
    taught, span = await school.teach(code, seconds=seconds)
    assert taught == "held"
    assert span == held
    assert (await school.teach(code, seconds=seconds))[0] is None
    assert str(code) in (await school.hold())["reason"]
    assert await next_door.learned() == 0


async def test_a_used_up_day_that_an_answer_tells_holds_until_midnight_pacific(school: School) -> None:
    taught, _ = await school.teach(30023)
    assert (taught, (await school.hold())["held_until"]) == ("held", day_count(school.desk.registration).resets_at)
    assert (await school.teach(30027))[0] is None


@pytest.mark.usefixtures("still")
async def test_the_longer_hold_stays_with_its_reason(school: School) -> None:
    assert (await school.teach(63038))[0] == "held"
    _, span = await school.teach(20003)
    assert span == 24 * HOUR
    assert (await school.hold())["code"] == 63038
    await school.pass_time(24 * HOUR - 30)
    assert (await school.teach(20003))[0] == "held"
    assert ((await school.hold())["code"], (await school.hold())["strikes"]) == (20003, 1)


@pytest.mark.parametrize("code", [21211, 21408, 21606, 21608, 21610, 21612, 21703, 30003, 30005, 30007, 30008, 14107, 99999])
async def test_what_concerns_one_text_or_recipient_teaches_nothing(code: int, school: School) -> None:
    assert await school.teach(code) == (None, None)
    assert await school.learned() == 0


@pytest.mark.parametrize(("code", "action"), [(30002, "open_circuit"), (30034, "stop_sender")])
async def test_a_callback_can_open_the_circuit_too(code: int, action: str, desk: Desk, neighbour: Desk, database: Database) -> None:
    message = await desk.text()
    assert await receive(database, desk, message, form("failed", ErrorCode=str(code)), form("failed", ErrorCode=str(code))) == [
        "moved",
        "repeated",
    ]
    row = await School(database, desk).hold()
    assert (row["action"], row["code"], row["strikes"]) == (action, code, 1)
    assert await School(database, neighbour).learned() == 0


async def test_a_renewed_sender_closes_the_circuit_for_what_waits_and_leaves_other_holds(
    desk: Desk, neighbour: Desk, database: Database, owner: Owner, make_dispatcher: MakeDispatcher
) -> None:
    school, next_door = School(database, desk), School(database, neighbour)
    waiting, theirs = await desk.text(), await neighbour.text()
    for one in (school, next_door):
        assert (await one.teach(20003))[0] == "held"
    dispatcher = await make_dispatcher()
    await dispatcher.dispatch_once()
    assert [(await desk.message(waiting))["status"], (await neighbour.message(theirs))["status"]] == ["queued", "queued"]
    assert (await desk.schedule())["hold_reason"] is not None
    assert await release_holds(database) == 0
    close = "SELECT app.close_circuit_v1(:t, :a, :n, NULL, NULL)"
    assert await school.ask(close, t=desk.tenant, a=desk.account, n=desk.number) == 1
    assert ((await desk.schedule())["hold_reason"], await school.hold()) == (None, {})
    assert (await neighbour.schedule())["hold_reason"] is not None
    await dispatcher.dispatch_once()
    assert [(await desk.message(waiting))["status"], (await neighbour.message(theirs))["status"]] == ["sent", "queued"]
    await school.teach(60728)
    await owner.execute(
        "UPDATE control.schedule SET hold_reason = 'a cap', held_until = app.now() + '1 hour' WHERE tenant_id = $1", desk.tenant
    )
    assert await school.ask(close, t=desk.tenant, a=desk.account, n=desk.number) == 0
    assert ((await school.hold())["code"], (await desk.schedule())["hold_reason"]) == (60728, "a cap")


async def test_one_tenants_signal_cannot_touch_anothers_rows(school: School, next_door: School) -> None:
    foreign = {**next_door.whose, "code": 30022, "action": "slow_down", "ago": 0.0, "seconds": None}
    async with school.database.tenant_scope(school.desk.tenant) as connection:
        assert (await connection.execute(TEACH, foreign)).one().taught is None  # it sees no such registration
    for code in (20003, 63038):
        with pytest.raises(DBAPIError, match="row-level security"):
            async with school.database.tenant_scope(school.desk.tenant) as connection:
                await connection.execute(TEACH, {**foreign, "code": code, "action": fault(code).action})
    assert (await next_door.learned(), await school.learned()) == (0, 0)


async def test_whoever_teaches_waits_for_nobody(school: School, next_door: School) -> None:
    """Outcomes are recorded in batches that hold messages: two of them must not wait for each other's lessons."""
    values = {"code": 30022, "action": "slow_down", "ago": 0.0, "seconds": None}
    async with school.database.tenant_scope(school.desk.tenant) as connection:
        assert (await connection.execute(TEACH, {**school.whose, **values})).one().taught == "slower"
        assert await school.teach(30022) == (None, None)
        assert await school.teach(20003) == (None, None)
        assert await next_door.teach(30022) == ("slower", None)
    assert (await school.teach(20003))[0] == "held"


async def test_a_text_whose_credentials_were_refused_waits_and_costs_nothing(
    desk: Desk, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox
) -> None:
    twilio.faults.arm(Status(status=401, code=20003))
    message = await desk.text()
    await (await make_dispatcher()).dispatch_once()
    row = await desk.message(message)
    assert (row["status"], row["error_code"], row["error_class"]) == ("queued", 20003, "config")
    assert await desk.billed() == 0
    assert twilio.attempts


def leased(attempt: int = 1) -> Leased:
    whose: list[object] = [uuid4(), uuid4(), uuid4(), "+12025550101", "Hi", "otp", attempt, datetime.now(UTC), "desk", "none", "AC0"]
    return Leased.of(dict(enumerate([*whose, None, None, None, None, None, True])))


def sync(status: int, code: int | None) -> Callable[[], Any]:
    body = b"Forbidden" if code is None else b'{"code": %d}' % code
    return lambda: classify(status, body, {})


@pytest.mark.parametrize(("answer", "action", "counted"), [
    (sync(401, 20003), "open_circuit", False),
    (sync(403, None), "open_circuit", False),
    (sync(429, 20429), "retry_backoff", False),
    (sync(400, 21611), "pause_sender", False),
    (sync(429, 63038), "hold_24h", False),
    (sync(429, 63018), "slow_down", True),
    (sync(404, 20404), "stop_sender", True),
    (sync(400, 21211), "mark_number", True),
    (lambda: Deferred(None, "not_sent", "retry_backoff", None, "away"), "retry_backoff", True),
])  # fmt: skip
def test_an_outcome_tells_what_it_teaches_and_whether_it_counts(answer: Callable[[], Any], action: str, counted: bool) -> None:
    row = outcome_row(leased(), answer(), draw=max)
    assert (row.action, row.counted) == (action, counted)
    assert row.seconds <= 60

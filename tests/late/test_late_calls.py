"""A call whose report never came is filled from what Vapi says of it, and billed once, whoever comes first."""

import asyncio
from datetime import timedelta
from itertools import permutations

import pytest

from runtime.database import Database
from sandbox.vapi.server import Fault
from tests.late.lines import BILLED, ENDED, Line, MakeDuty
from webhooks import late_reports
from webhooks.late_reports import Rules

KEY = "key-of-the-tenant-1"
OTHER_KEY = "key-of-the-neighbour"
MINUTES = timedelta(minutes=1)


async def test_a_call_that_only_said_that_it_ended_is_filled_and_billed(line: Line, make_duty: MakeDuty) -> None:
    await line.takes_key(KEY)
    await line.heard("call-1")
    line.told("call-1")
    assert await make_duty().reconcile() == 1
    call = await line.call("call-1")
    assert (call["state"], float(call["seconds"]), float(call["cost_usd"])) == ("ended", 58.72, 0.0691)
    assert (call["ended_at"], call["ended_reason"], call["reported_by"]) == (ENDED, "customer-ended-call", "vapi")
    assert call["assistant_id"] == line.assistant
    assert await line.usage() == BILLED
    events = await line.owner.fetch("SELECT DISTINCT occurred_at, source_id FROM usage_events WHERE tenant_id = $1", line.tenant)
    assert [tuple(row) for row in events] == [(ENDED, "call:call-1")]  # dated by when it happened
    assert await make_duty().reconcile() == 0
    assert line.vapi.asked == ["call-1"]


async def test_equal_calls_of_two_tenants_are_two(line: Line, neighbour: Line, make_duty: MakeDuty) -> None:
    for each, key, cost in ((line, KEY, 0.5), (neighbour, OTHER_KEY, 0.25)):
        await each.takes_key(key)
        await each.heard("call-1")
        each.told("call-1", key, cost=cost)
    assert await make_duty().reconcile() == 2
    assert [(await each.usage())["vapi_cost_usd"] for each in (line, neighbour)] == [(1, 0.5), (1, 0.25)]
    assert [(await each.call("call-1"))["assistant_id"] for each in (line, neighbour)] == [line.assistant, neighbour.assistant]


async def test_a_call_that_only_tool_calls_spoke_of_is_found(line: Line, make_duty: MakeDuty) -> None:
    await line.takes_key(KEY)
    for _ in range(3):
        await line.tool_call("call-1")
    await line.tool_call("call-2", ago=MINUTES)  # its row may not be the last of its time yet
    await line.tool_call("not a call", source="api")
    await line.tool_call("long ago", ago=timedelta(days=30))
    line.told("call-1")
    assert await make_duty().reconcile() == 1
    rows = await line.owner.fetch("SELECT call_id FROM calls WHERE tenant_id = $1", line.tenant)
    assert [row[0] for row in rows] == ["call-1"]
    assert await line.usage() == BILLED


async def test_webhooks_are_walked_once_and_in_bounded_steps(line: Line, database: Database) -> None:
    few = Rules(effects=4)
    webhooks = sorted([await line.tool_call(f"call-{number}") for number in range(10)])
    noted = [await late_reports.note_calls(database, few) for _ in range(4)]
    assert noted == [4, 4, 2, 0]
    until = await line.owner.fetchval("SELECT watched_until FROM control.call_watch WHERE tenant_id = $1", line.tenant)
    assert until == webhooks[-1]
    await line.owner.execute("DELETE FROM calls WHERE tenant_id = $1", line.tenant)
    assert await late_reports.note_calls(database, few) == 0  # what was walked is not walked again
    await line.tool_call("call-11", ago=10 * MINUTES)
    assert await late_reports.note_calls(database, few) == 1


async def test_one_round_trip_is_bounded_whatever_there_is_to_catch_up_with(line: Line, neighbour: Line, database: Database) -> None:
    for each in (line, neighbour):
        for number in range(4):
            await each.tool_call(f"call-{number}")
    values = (500, 4, 5 * MINUTES, timedelta(days=14))
    ((following, noted),) = await database.call_for_many(late_reports.NOTE, line.tenant, *values)
    assert (following, noted) == (neighbour.tenant, 4)
    ((_, noted),) = await database.call_for_many(late_reports.NOTE, following, *values)
    assert noted == 4


async def test_a_call_that_a_status_spoke_of_is_not_noted_over(line: Line, database: Database) -> None:
    await line.heard("call-1", "in-progress", ago=MINUTES)
    await line.tool_call("call-1", ago=30 * MINUTES)
    before = await line.call("call-1")
    assert await late_reports.note_calls(database, Rules()) == 0
    assert await line.call("call-1") == before


@pytest.mark.parametrize(
    ("state", "minutes", "due"), [("ended", 4, 0), ("ended", 6, 1), ("in-progress", 119, 0), ("in-progress", 121, 1)], ids=str
)
async def test_a_report_has_its_time_to_come(state: str, minutes: int, due: int, line: Line, make_duty: MakeDuty) -> None:
    await line.takes_key(KEY)
    await line.heard("call-1", state, ago=minutes * MINUTES)
    line.told("call-1")
    assert await make_duty().reconcile() == due


async def test_what_vapi_does_not_tell_stays_unknown(line: Line, make_duty: MakeDuty) -> None:
    """Nobody answered: no start, no cost."""
    await line.takes_key(KEY)
    await line.heard("call-1")
    line.told("call-1", startedAt=None, cost=None, costs=[])
    await make_duty().reconcile()
    call = await line.call("call-1")
    assert (call["started_at"], call["seconds"], call["cost_usd"], call["reported_by"]) == (None, None, None, "vapi")
    assert await line.usage() == {"calls": (1, 1.0)}


async def test_a_call_under_way_tells_nothing_yet(line: Line, make_duty: MakeDuty) -> None:
    await line.takes_key(KEY)
    await line.heard("call-1", "in-progress")
    line.told("call-1", status="in-progress")
    duty = make_duty()
    await duty.reconcile()
    call = await line.call("call-1")
    assert (call["looks"], call["reported_at"], call["started_at"], await line.usage()) == (1, None, None, {})
    line.told("call-1")
    assert await duty.reconcile() == 0  # not before its pause is over
    await line.due_again()
    assert await duty.reconcile() == 1
    assert await line.usage() == BILLED


async def test_looks_that_tell_nothing_come_at_growing_pauses_and_end(line: Line, make_duty: MakeDuty) -> None:
    await line.takes_key(KEY)
    await line.heard("call-1", "in-progress")
    line.told("call-1", status="in-progress")
    duty, pauses = make_duty(), []
    for _ in range(5):
        await duty.reconcile()
        pauses.append(await line.pause("call-1"))
        await line.due_again()
    assert pauses == [5, 15, 60, 360, 1440]
    await duty.reconcile()
    assert ((await line.call("call-1"))["reported_by"], len(line.vapi.asked)) == ("nobody", 6)
    await line.due_again()
    assert await duty.reconcile() == 0
    assert await line.usage() == {}


async def test_a_call_that_vapi_does_not_know_is_asked_about_twice(line: Line, make_duty: MakeDuty) -> None:
    await line.takes_key(KEY)
    await line.heard("call-1")
    duty = make_duty()
    for _ in range(3):
        await duty.reconcile()
        await line.due_again()
    assert ((await line.call("call-1"))["reported_by"], line.vapi.asked, await line.usage()) == ("nobody", ["call-1"] * 2, {})


async def test_a_report_that_comes_after_all_still_fills_a_call_that_was_given_up(line: Line, make_duty: MakeDuty) -> None:
    await line.takes_key(KEY)
    await line.heard("call-1")
    duty = make_duty()
    for _ in range(2):
        await duty.reconcile()
        await line.due_again()
    await line.reported("call-1")
    call = await line.call("call-1")
    assert (call["reported_by"], float(call["seconds"])) == ("report", 58.72)
    assert await line.usage() == BILLED


@pytest.mark.parametrize("order", list(permutations(["report", "vapi", "status"])), ids="-".join)
async def test_report_and_answer_in_any_order_are_one_bill(order: tuple[str, ...], line: Line, make_duty: MakeDuty) -> None:
    """Each carries other figures: the report's stand, and where Vapi's answer was billed before it, the bill is corrected."""
    await line.takes_key(KEY)
    await line.heard("call-1", "in-progress")
    line.told("call-1", cost=0.5)
    taken, _ = await late_reports.take(line.database, line.tenant, Rules())
    duty = make_duty()
    for step in order:
        if step == "report":
            await line.reported("call-1", cost=0.25)
        elif step == "vapi":
            await duty._settle(line.tenant, taken, end=float("inf"))
        else:
            await line.heard("call-1", "ended")
    call = await line.call("call-1")
    assert (call["reported_by"], call["state"], float(call["cost_usd"])) == ("report", "ended", 0.25)
    assert await line.usage() == BILLED | {"vapi_cost_usd": (1 if order.index("report") < order.index("vapi") else 2, 0.25)}


async def test_a_report_while_vapi_is_asked_is_one_bill(line: Line, make_duty: MakeDuty) -> None:
    await line.takes_key(KEY)
    await line.heard("call-1")
    line.told("call-1")
    line.vapi.faults[""] = Fault(seconds=0.3)
    asking = asyncio.create_task(make_duty().reconcile())
    await asyncio.sleep(0.15)
    await asyncio.gather(*(line.reported("call-1") for _ in range(3)))
    await asking
    assert ((await line.call("call-1"))["reported_by"], await line.usage()) == ("report", BILLED)


async def test_workers_at_once_ask_once_and_bill_once(line: Line, neighbour: Line, make_duty: MakeDuty) -> None:
    for each, key in ((line, KEY), (neighbour, OTHER_KEY)):
        await each.takes_key(key)
        for number in range(20):
            await each.heard(f"call-{number}")
            each.told(f"call-{number}", key)
    taken = await asyncio.gather(*(make_duty().reconcile() for _ in range(4)))
    assert (sum(taken), len(line.vapi.asked)) == (40, 40)
    for each in (line, neighbour):
        assert {meter: lines for meter, (lines, _) in (await each.usage()).items()} == dict.fromkeys(BILLED, 20)


async def test_who_asks_twice_at_once_bills_once(line: Line, make_duty: MakeDuty) -> None:
    """A claim that ended while its holder was slow: two workers have an answer, and both record it."""
    await line.takes_key(KEY)
    await line.heard("call-1")
    line.told("call-1")
    claims = []
    for _ in range(2):
        claims.append((await late_reports.take(line.database, line.tenant, Rules()))[0])
        await line.due_again()
    await asyncio.gather(*(make_duty()._settle(line.tenant, claim, end=float("inf")) for claim in claims))
    assert (len(line.vapi.asked), await line.usage()) == (2, BILLED)


async def test_a_worker_that_dies_while_asking_leaves_the_call_to_the_next(line: Line, make_duty: MakeDuty) -> None:
    await line.takes_key(KEY)
    await line.heard("call-1")
    line.told("call-1")
    line.vapi.faults[""] = Fault(seconds=0.5)
    dying = asyncio.create_task(make_duty().reconcile())
    await asyncio.sleep(0.25)
    assert line.vapi.asked == ["call-1"]
    dying.cancel()
    await asyncio.wait([dying])
    line.vapi.faults.clear()
    call = await line.call("call-1")
    assert (call["looks"], call["reported_at"], await line.pause("call-1")) == (0, None, 5)
    assert await make_duty().reconcile() == 0
    await line.due_again()
    assert await make_duty().reconcile() == 1
    assert await line.usage() == BILLED


async def test_who_lost_its_claim_changes_nothing_but_what_it_knows(line: Line) -> None:
    """Its 'not there' is old news: the call may have been found since."""
    await line.takes_key(KEY)
    await line.heard("call-1")
    (late,), _ = await late_reports.take(line.database, line.tenant, Rules())
    await line.due_again()
    await late_reports.take(line.database, line.tenant, Rules())
    before = await line.call("call-1")
    for seen in ("absent", "open", "later"):
        assert not await late_reports.record(line.database, late, late_reports.verdict(seen, late))  # type: ignore[arg-type]  # of the literals
    assert await line.call("call-1") == before


async def test_a_call_that_was_erased_meanwhile_does_not_come_back(line: Line, make_duty: MakeDuty) -> None:
    await line.takes_key(KEY)
    await line.heard("call-1")
    line.told("call-1")
    taken, _ = await late_reports.take(line.database, line.tenant, Rules())
    await line.owner.execute("DELETE FROM calls WHERE tenant_id = $1", line.tenant)
    await make_duty()._settle(line.tenant, taken, end=float("inf"))
    assert await line.owner.fetchval("SELECT count(*) FROM calls WHERE tenant_id = $1", line.tenant) == 0
    assert await line.usage() == {}

"""Whose key asks, and what its answer may tell whom: an id is text that a tenant posted, and may be another's call."""

from datetime import timedelta
from uuid import uuid4

import pytest

from runtime import metrics
from runtime.crypto import Keyring, new_master_key
from runtime.database import Database
from sandbox.vapi import VapiSandbox
from sandbox.vapi.server import Fault
from tenants import vapi_accounts
from tests.late.conftest import OPERATOR_KEY
from tests.late.lines import BILLED, Line, MakeDuty

KEY = "key-of-the-tenant-1"
SECRET_COST = 77.0


def counted(outcome: str) -> float:
    return metrics.LATE_CALLS.labels(outcome)._value.get()


async def settled(line: Line) -> tuple[object, ...]:
    call = await line.call("call-1")
    return call["reported_by"], call["looks"], call["cost_usd"], call["assistant_id"]


async def test_the_operators_key_serves_an_assistant_that_is_this_tenants_alone(line: Line, make_duty: MakeDuty) -> None:
    await line.heard("call-1")
    line.told("call-1", OPERATOR_KEY)
    await make_duty(OPERATOR_KEY).reconcile()
    assert ((await line.call("call-1"))["reported_by"], await line.usage()) == ("vapi", BILLED)


@pytest.mark.parametrize("whose", ["the neighbour's", "both's", "nobody's", "a transient one"])
@pytest.mark.parametrize("status", ["ended", "in-progress"])
async def test_with_the_operators_key_nobody_learns_of_anothers_call(
    whose: str, status: str, line: Line, neighbour: Line, make_duty: MakeDuty
) -> None:
    """The tenant posted the id of a call of the neighbour's. It sees what an id that Vapi does not know shows, and nothing else."""
    assistant = {"the neighbour's": neighbour.assistant, "both's": neighbour.assistant, "nobody's": str(uuid4())}.get(whose)
    if whose == "both's":
        await line.registers(neighbour.assistant)
    await line.heard("call-1")
    await line.heard("unknown-1")
    neighbour.vapi.calls["", "call-1"] = {"id": "call-1", "status": status, "assistantId": assistant, "cost": SECRET_COST}
    before, duty = counted("foreign"), make_duty(OPERATOR_KEY)
    for _ in range(2):
        await duty.reconcile()
        call, unknown = [await line.call(name) for name in ("call-1", "unknown-1")]
        apart = {name for name in call if call[name] != unknown[name]}
        assert apart <= {"call_id", "created_at", "updated_at", "look_at", "reported_at"}  # moments of their own
        await line.due_again()
    assert (call["reported_by"], call["cost_usd"], call["assistant_id"], await line.usage()) == ("nobody", None, None, {})
    assert counted("foreign") - before == 1  # and one that counts as nobody


async def test_a_call_that_names_anothers_assistant_is_not_even_asked_about(line: Line, neighbour: Line, make_duty: MakeDuty) -> None:
    await line.heard("call-1", assistant=neighbour.assistant)
    await make_duty(OPERATOR_KEY).reconcile()
    assert (line.vapi.asked, await settled(line)) == ([], (None, 0, None, neighbour.assistant))


async def test_the_tenants_own_key_goes_before_the_operators_and_needs_no_assistant(line: Line, make_duty: MakeDuty) -> None:
    """What its own account knows is its own: squads and transient assistants too."""
    await line.takes_key(KEY)
    await line.heard("call-1")
    line.told("call-1", KEY, assistantId=None)
    line.told("call-1", OPERATOR_KEY, cost=SECRET_COST)
    await make_duty(OPERATOR_KEY).reconcile()
    assert await line.usage() == BILLED


async def test_a_call_that_the_tenants_account_does_not_know_may_be_one_of_the_operators(line: Line, make_duty: MakeDuty) -> None:
    """It has a key of its own, and an assistant that lives in the operator's account."""
    await line.takes_key(KEY)
    await line.heard("call-1")
    line.told("call-1", OPERATOR_KEY)
    await make_duty(OPERATOR_KEY).reconcile()
    assert ((await line.call("call-1"))["reported_by"], await line.usage()) == ("vapi", BILLED)


async def test_with_a_key_of_its_own_a_tenant_learns_no_more_of_anothers_call(line: Line, neighbour: Line, make_duty: MakeDuty) -> None:
    await line.takes_key(KEY)
    await line.heard("call-1")
    line.told("call-1", OPERATOR_KEY, assistantId=neighbour.assistant, cost=SECRET_COST)
    for _ in range(2):
        await make_duty(OPERATOR_KEY).reconcile()
        await line.due_again()
    call = await line.call("call-1")
    assert (call["reported_by"], call["cost_usd"], await line.usage()) == ("nobody", None, {})


async def test_a_tenants_key_asks_for_this_tenant_only(line: Line, neighbour: Line, make_duty: MakeDuty) -> None:
    await line.takes_key(KEY)
    await neighbour.heard("call-1")
    line.told("call-1")
    await make_duty().reconcile()
    assert (line.vapi.asked, await neighbour.usage()) == ([], {})


async def test_without_a_key_nobody_is_asked_and_it_shows(line: Line, make_duty: MakeDuty) -> None:
    await line.heard("call-1")
    line.told("call-1")
    before, duty = counted("keyless"), make_duty()
    assert await duty.reconcile() == 1
    assert (line.vapi.asked, await settled(line), await line.pause("call-1")) == ([], (None, 0, None, None), 60)
    assert counted("keyless") == before + 1
    await line.takes_key(KEY)
    assert await make_duty().reconcile() == 1  # at once, not after the pause
    assert await line.usage() == BILLED


async def test_a_call_nobody_could_ask_about_for_a_week_is_given_up_and_a_key_brings_it_back(line: Line, make_duty: MakeDuty) -> None:
    await line.heard("call-1")
    line.told("call-1")
    await line.grows_old(timedelta(days=7, minutes=1))
    await make_duty().reconcile()
    assert (await line.call("call-1"))["reported_by"] == "nobody"
    await line.takes_key(KEY)
    await make_duty().reconcile()
    assert ((await line.call("call-1"))["reported_by"], await line.usage()) == ("vapi", BILLED)


async def test_a_new_key_leaves_what_is_settled_alone(line: Line, make_duty: MakeDuty) -> None:
    await line.takes_key(KEY)
    for name in ("told", "reported"):
        await line.heard(name)
    line.told("told")
    await line.reported("reported")
    await make_duty().reconcile()
    before = [await line.call(name) for name in ("told", "reported")]
    await line.takes_key("another-key-of-it")
    assert [await line.call(name) for name in ("told", "reported")] == before


@pytest.mark.parametrize("status", [401, 403])
async def test_a_wrong_key_is_tried_once_and_costs_no_look(status: int, line: Line, make_duty: MakeDuty) -> None:
    await line.takes_key(KEY)
    for number in range(1, 6):
        await line.heard(f"call-{number}")
        line.told(f"call-{number}")
    line.vapi.faults[""] = Fault(status=status)
    before = counted("refused")
    assert await make_duty().reconcile() == 5
    assert (len(line.vapi.asked), counted("refused") - before) == (1, 5)
    assert (await settled(line), await line.pause("call-5")) == ((None, 0, None, None), 60)
    line.vapi.faults.clear()
    await line.takes_key("the-right-key-now")
    await make_duty().reconcile()
    assert (await line.usage())["calls"] == (5, 5.0)


async def test_a_key_that_does_not_open_is_no_key_and_not_the_operators_turn(
    line: Line, database: Database, vapi: VapiSandbox, make_duty: MakeDuty
) -> None:
    await line.heard("call-1")
    line.told("call-1")
    async with database.tenant_scope(line.tenant) as connection:
        lost = Keyring.parse(new_master_key("lost1"))
        await vapi_accounts.put_account(connection, lost, line.tenant, KEY, "admin")
    before = counted("unopened")
    await make_duty(OPERATOR_KEY).reconcile()
    assert (vapi.asked, await settled(line), counted("unopened") - before) == ([], (None, 0, None, None), 1)


async def test_a_closed_tenant_is_not_asked_for(line: Line, make_duty: MakeDuty) -> None:
    await line.takes_key(KEY)
    await line.heard("call-1")
    await line.owner.execute("UPDATE control.tenants SET status = 'closed' WHERE id = $1", line.tenant)
    assert await make_duty().reconcile() == 0

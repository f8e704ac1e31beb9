"""Calls in flight of an account that was told it has too many: never more than it may have, and a missed turn is no attempt."""

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messaging.sending import Leased, Slot
from messaging.turns import Turns
from runtime.ids import TenantId, uuid7
from sandbox.twilio import TwilioSandbox
from sandbox.twilio.faults import Delay, Match
from tests.dispatch.desk import Desk, MakeDispatcher

ONE, OTHER = TenantId(uuid7()), TenantId(uuid7())


@given(at_once=st.integers(1, 5), calls=st.lists(st.integers(0, 3), min_size=1, max_size=30))
@settings(deadline=None, max_examples=60)
def test_never_more_than_an_account_may_have_and_everybody_has_a_turn(at_once: int, calls: list[int]) -> None:
    async def run() -> tuple[int, list[int]]:
        turns, order, most = Turns(), list[int](), 0

        async def call(number: int, steps: int) -> None:
            nonlocal most
            async with turns.turn(ONE, "AC1", at_once, 10) as mine:
                assert mine
                most = max(most, turns.in_flight(ONE, "AC1"))
                order.append(number)
                for _ in range(steps):
                    await asyncio.sleep(0)

        await asyncio.gather(*(call(number, steps) for number, steps in enumerate(calls)))
        assert turns.in_flight(ONE, "AC1") == 0
        return most, order

    most, order = asyncio.run(run())
    assert most <= at_once
    assert order == sorted(order), "in the order in which they came"


async def test_whoever_waits_too_long_has_no_turn_and_takes_nobody_elses() -> None:
    turns = Turns()
    async with turns.turn(ONE, "AC1", 1, 1) as first:
        async with turns.turn(ONE, "AC1", 1, 0.02) as late:
            assert (first, late) == (True, False)
        async with turns.turn(OTHER, "AC1", None, 0) as neighbour:
            assert neighbour, "another tenant's calls are its own"
        canceled = asyncio.create_task(turns.turn(ONE, "AC1", 1, 10).__aenter__())
        await asyncio.sleep(0)
        canceled.cancel()
        await asyncio.gather(canceled, return_exceptions=True)
        assert turns.in_flight(ONE, "AC1") == 1
    async with turns.turn(ONE, "AC1", 1, 0) as again:
        assert again


async def test_a_limit_that_is_raised_lets_those_go_who_wait() -> None:
    turns = Turns()
    async with turns.turn(ONE, "AC1", 1, 1):
        waiting = asyncio.create_task(turns.turn(ONE, "AC1", 1, 10).__aenter__())
        await asyncio.sleep(0)
        async with turns.turn(ONE, "AC1", 3, 0) as mine:
            assert mine
            assert await waiting


async def leased(dispatcher: object, at_once: int | None) -> list[tuple[Leased, Slot]]:
    """What is due, leased, as if its account had learned a limit."""
    granted = [await dispatcher._grant(pick) for pick in await dispatcher._take() if pick.messages]  # type: ignore[attr-defined]
    slots = {message: slot for each in granted for message, slot in each.slots.items()}
    return [(replace(message, at_once=at_once), slots[message.id]) for message in await dispatcher._lease(granted)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("at_once", [1, None])
async def test_calls_wait_for_their_turn_while_their_slots_last(
    at_once: int | None, desk: Desk, neighbour: Desk, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox
) -> None:
    twilio.faults.arm(Delay(seconds=1.2, match=Match(account=desk.account)))
    ours = [await desk.text(body=f"{number}") for number in range(4)]
    await neighbour.text()
    dispatcher = await make_dispatcher()
    await asyncio.gather(*(dispatcher._sending.send(message, slot) for message, slot in await leased(dispatcher, at_once)))
    rows = [await desk.message(message) for message in ours]
    left = sum(row["status"] == "sent" for row in rows)
    assert (await neighbour.statuses()) == {"sent": 1}
    if at_once is None:
        assert left == 4
        return
    assert 1 <= left <= 2, "the others' slots were over before their turn came"
    times = sorted(attempt["at"] for attempt in twilio.attempts if attempt["account"] == desk.account)
    assert all(later - earlier >= 1.1 for earlier, later in pairwise(times)), "never two in flight"
    waiting = [row for row in rows if row["status"] == "queued"]
    assert [row["attempt"] for row in waiting] == [0] * (4 - left), "no attempt is counted"
    assert all(row["due_at"] > row["created_at"] for row in waiting)

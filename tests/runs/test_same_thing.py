"""The same thing under two ids: the second waits for the first, gets its words under its own id, and costs nothing."""

import asyncio
from typing import Any

import pytest

from tests.runs.conftest import KEY, OTHER_KEY, Desk, MakeRuns, wanted, work
from webhooks.runs import Ran, Wanted

FIRST, SAME = '{"result":"first"}', '{"result":"the same as first"}'
LINE = f"effect:{KEY}"
THING = b"b" * 16


def thing(key: str = KEY, **changes: Any) -> Wanted:
    return wanted(key, **{"business": THING, "business_seconds": 60, **changes})


async def test_another_id_gets_the_same_words_and_no_line(desk: Desk, make_runs: MakeRuns) -> None:
    second = work("second")
    assert await desk.once(make_runs(), work(), thing()) == Ran("new", FIRST)
    assert await desk.once(make_runs(1), second, thing(OTHER_KEY)) == Ran("new", SAME)
    assert [await desk.once(make_runs(), second, thing(key)) for key in (KEY, OTHER_KEY)] == [Ran("replay", FIRST), Ran("replay", SAME)]
    assert (second.begun, await desk.bill()) == (0, [LINE])


async def test_another_id_waits_for_the_one_in_flight(desk: Desk, make_runs: MakeRuns) -> None:
    doing, second = work(slow=True), work("second")
    first = desk.begins(make_runs(0), doing, thing())
    await doing.started.wait()
    waits = desk.begins(make_runs(1), second, thing(OTHER_KEY))
    await asyncio.sleep(0.2)
    assert not waits.done()
    doing.may_end.set()
    assert (await first, await waits) == (Ran("new", FIRST), Ran("new", SAME))
    assert (second.begun, await desk.bill()) == (0, [LINE])


async def test_thirty_ids_at_once_over_two_processes_are_one(desk: Desk, make_runs: MakeRuns) -> None:
    doing, both = work(), [make_runs(process) for process in (0, 1)]
    ran = await asyncio.gather(*(desk.once(both[number % 2], doing, thing(f"{number:032x}")) for number in range(30)))
    assert sorted(str(each.answer) for each in ran) == sorted([FIRST, *[SAME] * 29])
    assert (doing.begun, len(await desk.bill())) == (1, 1)


@pytest.mark.parametrize(("ago", "begun"), [("59 seconds", 0), ("61 seconds", 1)])
async def test_after_its_window_it_is_a_thing_of_its_own(desk: Desk, make_runs: MakeRuns, ago: str, begun: int) -> None:
    await desk.once(make_runs(), work(), thing())
    await desk.owner.execute(
        "UPDATE processed_webhooks SET received_at = received_at - $2::text::interval WHERE tenant_id = $1", desk.tenant, ago
    )
    second = work("second")
    await desk.once(make_runs(), second, thing(OTHER_KEY))
    assert second.begun == begun


@pytest.mark.parametrize("ended", ["failed", "dead"])
async def test_what_came_to_nothing_is_done_under_the_next_id(desk: Desk, make_runs: MakeRuns, ended: str) -> None:
    await desk.once(make_runs(), work("nothing", state=ended), thing())
    second = work()
    assert await desk.once(make_runs(), second, thing(OTHER_KEY)) == Ran("new", FIRST)
    assert (second.begun, await desk.bill()) == (1, [f"effect:{OTHER_KEY}"])


async def test_another_thing_does_not_wait(desk: Desk, make_runs: MakeRuns) -> None:
    doing, other = work(slow=True), work("other")
    first = desk.begins(make_runs(), doing, thing())
    await doing.started.wait()
    assert await desk.once(make_runs(1), other, thing(OTHER_KEY, business=b"c" * 16)) == Ran("new", '{"result":"other"}')
    doing.may_end.set()
    await first

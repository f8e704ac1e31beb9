"""The same thing under two ids: the second waits for the first, gets its words under its own id, and costs nothing."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from tests.runs.conftest import DOUBTFUL, KEY, OTHER_KEY, Desk, MakeRuns, wanted, work
from trunkline.dev.databases import DatabaseUrls
from webhooks.runs import CLAIM, Ran, Wanted

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


async def test_two_ids_of_one_thing_meet_before_either_claims(desk: Desk, urls: DatabaseUrls) -> None:
    """The second looks when the first has committed, and so finds it."""
    first, second = [await asyncpg.connect(urls.app_url) for _ in range(2)]

    async def claims(connection: "asyncpg.Connection[asyncpg.Record]", key: str) -> str:
        effect, minute = msgspec.json.encode(wanted(key).effect).decode(), timedelta(minutes=1)
        outcome: str = await connection.fetchval(CLAIM, desk.tenant, effect, uuid4(), minute, THING, minute, True)
        return outcome

    async with first.transaction():
        assert await claims(first, KEY) == "run"
        other = asyncio.create_task(claims(second, OTHER_KEY))
        await asyncio.sleep(0.3)
    assert await other == "wait"
    assert await desk.row(OTHER_KEY) == {}
    for each in (first, second):
        await each.close()


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


async def test_the_window_counts_from_the_first(desk: Desk, make_runs: MakeRuns) -> None:
    await desk.once(make_runs(), work(), thing())
    await desk.once(make_runs(), work("second"), thing(OTHER_KEY))
    await desk.owner.execute(
        "UPDATE processed_webhooks SET received_at = received_at - interval '61 s' WHERE tenant_id = $1 AND key = $2",
        desk.tenant,
        bytes.fromhex(KEY),
    )
    third = work("third")
    await desk.once(make_runs(), third, thing("0c" * 16))
    assert third.begun == 1


async def test_what_is_done_is_answered_while_the_same_thing_is_under_way_again(desk: Desk, make_runs: MakeRuns) -> None:
    await desk.once(make_runs(), work(), thing())
    await desk.owner.execute("UPDATE processed_webhooks SET received_at = received_at - interval '61 s' WHERE tenant_id = $1", desk.tenant)
    doing = work("second", slow=True)
    second = desk.begins(make_runs(), doing, thing(OTHER_KEY))
    await doing.started.wait()
    assert await asyncio.wait_for(desk.once(make_runs(1), work("third"), thing()), 2) == Ran("replay", FIRST)
    doing.may_end.set()
    await second


async def test_while_nobody_knows_whether_it_was_done_another_id_does_not_do_it(desk: Desk, make_runs: MakeRuns) -> None:
    await desk.left_by_the_dead(thing(repeatable=False))
    second = work("second")
    assert await desk.once(make_runs(), second, thing(OTHER_KEY, repeatable=False)) == Ran("new", DOUBTFUL)
    assert await desk.once(make_runs(), second, thing(OTHER_KEY, repeatable=False)) == Ran("replay", DOUBTFUL)
    assert (second.begun, (await desk.row(OTHER_KEY))["state"], await desk.bill()) == (0, "failed", [])


async def test_what_was_never_done_is_not_done_while_the_same_thing_is_in_doubt(desk: Desk, make_runs: MakeRuns) -> None:
    await desk.once(make_runs(), work("nobody there", state="dead"), thing())
    await desk.left_by_the_dead(thing(OTHER_KEY))
    again = work("second")
    assert await desk.once(make_runs(), again, thing()) == Ran("replay", DOUBTFUL)
    assert (again.begun, (await desk.row())["state"], await desk.bill()) == (0, "failed", [])


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

import asyncio
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.turns import Turns


async def test_a_free_turn_is_not_waited_for() -> None:
    turns = Turns()
    began = asyncio.create_task(turns.next("a"))
    await asyncio.sleep(0)
    assert began.done()


async def test_one_comes_in_between_many_of_another() -> None:
    turns, order = Turns(), list[str]()

    async def work(key: str) -> None:
        await turns.next(key)
        order.append(key)

    flood = [asyncio.create_task(work("flood")) for _ in range(100)]
    await asyncio.sleep(0)
    await asyncio.gather(*(asyncio.create_task(work("quiet")) for _ in range(3)), *flood)
    assert len(order) == 103
    places = [place for place, key in enumerate(order) if key == "quiet"]
    assert max(places) <= 9  # at worst behind the one whose turn it was, then every second one is its own


async def test_whoever_goes_away_keeps_nobody_waiting() -> None:
    turns, order = Turns(), list[str]()

    async def work(key: str) -> None:
        await turns.next(key)
        order.append(key)

    tasks = {name: asyncio.create_task(work(name)) for name in ("first", "gone", "last")}
    await asyncio.sleep(0)
    tasks["gone"].cancel()
    await asyncio.wait(tasks.values())
    assert order == ["first", "last"]
    assert not turns._waiting


@settings(deadline=None)
@given(st.lists(st.sampled_from("abc"), max_size=30))
def test_every_turn_comes_and_keys_take_turns(keys: list[str]) -> None:
    async def run() -> list[str]:
        turns, order = Turns(), list[str]()

        async def work(key: str) -> None:
            await turns.next(key)
            order.append(key)

        await asyncio.gather(*(work(key) for key in keys))
        return order

    order = asyncio.run(run())
    assert Counter(order) == Counter(keys)
    for place in range(1, len(order) - 1):  # a key that waits is not passed over twice by another one
        waiting = set(order[place + 2 :])
        assert not (order[place] == order[place + 1] and waiting - {order[place]} and place > 1)

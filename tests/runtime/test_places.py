import asyncio
from collections.abc import Awaitable, Callable

import pytest

from runtime import clock
from runtime.places import Place, Places

Enter = Callable[[str], Awaitable[Place]]


async def waiting(task: "asyncio.Task[Place]") -> bool:
    for _ in range(3):
        await asyncio.sleep(0)
    return not task.done()


async def test_whoever_is_alone_has_no_bound() -> None:
    places = Places(2)
    held = [await places.enter("a") for _ in range(50)]
    for place in held:
        place.leave()


async def test_beside_others_a_key_has_its_share_and_no_more() -> None:
    places = Places(2)
    other = await places.enter("b")
    first, second = await places.enter("a"), await places.enter("a")
    third = asyncio.create_task(places.enter("a"))
    assert await waiting(third)
    another = await places.enter("b")  # a's line keeps nobody else waiting
    first.leave()
    first.leave()  # once is enough, and twice is once
    assert not await waiting(third)
    fourth = asyncio.create_task(places.enter("a"))
    assert await waiting(fourth)
    second.leave()
    assert not await waiting(fourth)
    for place in (other, another, await third, await fourth):
        place.leave()
    assert not places._lines


async def test_whoever_goes_away_keeps_nobody_waiting() -> None:
    places = Places(1)
    await places.enter("b")
    held = await places.enter("a")
    gone, last = asyncio.create_task(places.enter("a")), asyncio.create_task(places.enter("a"))
    assert await waiting(gone)
    gone.cancel()
    held.leave()
    assert not await waiting(last)


async def test_one_that_is_let_in_as_it_goes_away_lets_the_next_one_in() -> None:
    places = Places(1)
    await places.enter("b")
    held = await places.enter("a")
    gone, last = asyncio.create_task(places.enter("a")), asyncio.create_task(places.enter("a"))
    assert await waiting(gone)
    held.leave()
    gone.cancel()  # the place was given to it, and it had not run yet
    assert not await waiting(last)


async def test_when_the_others_have_gone_the_bound_goes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    places, now = Places(1), [100.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    await places.enter("b")
    held = await places.enter("a")
    late = asyncio.create_task(places.enter("a"))
    assert await waiting(late)
    now[0] += 1.1
    await asyncio.wait_for(places.enter("a"), 1)  # b came more than a second ago
    held.leave()
    assert not await waiting(late)


async def test_whoever_was_let_in_and_has_not_run_yet_is_in() -> None:
    """Else its line would be forgotten under it, and a third one would get in beside it."""
    places = Places(1)
    await places.enter("b")
    held = await places.enter("a")
    second = asyncio.create_task(places.enter("a"))
    assert await waiting(second)
    held.leave()
    third = asyncio.create_task(places.enter("a"))
    assert await waiting(third)
    (await second).leave()
    (await third).leave()
    assert "a" not in places._lines

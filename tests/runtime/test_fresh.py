"""The cache's promise, on a clock that the test moves: no answer is older than two seconds."""

import asyncio
from collections.abc import Callable

import pytest

from runtime import clock, fresh
from runtime.fresh import FreshCache


class Hands:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    hands = Hands()
    monkeypatch.setattr(clock, "monotonic", hands)
    return hands


class Source:
    """What is cached: the time when it was asked, a failure or a wait to order."""

    def __init__(self, hands: Callable[[], float]) -> None:
        self.hands = hands
        self.loads: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.fault: Exception | None = None
        self.refuse = False

    async def load(self, key: str) -> float | None:
        self.loads.append(key)
        asked, fault = self.hands(), self.fault
        await self.gate.wait()
        if fault is not None:
            raise fault
        return None if self.refuse else asked


@pytest.fixture
def source(hands: Hands) -> Source:
    return Source(hands)


@pytest.fixture
def cache(source: Source) -> FreshCache[str, float | None]:
    return FreshCache(source.load)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_no_answer_is_older_than_two_seconds(hands: Hands, source: Source, cache: FreshCache[str, float | None]) -> None:
    for step in range(400):
        value = await cache.get("k")
        assert value is not None
        assert 0 <= hands.at - value < 2.0
        hands.at += 0.013 * (step % 40)
        if step % 3:
            await settle()
    assert len(source.loads) < 400


async def test_a_fresh_answer_asks_nobody(hands: Hands, source: Source, cache: FreshCache[str, float | None]) -> None:
    await cache.get("k")
    hands.at += 0.999
    assert await cache.get("k") == 1000.0
    await settle()
    assert source.loads == ["k"]


async def test_from_one_second_on_it_is_refreshed_behind_whoever_asks(
    hands: Hands, source: Source, cache: FreshCache[str, float | None]
) -> None:
    await cache.get("k")
    hands.at += 1.0
    source.gate.clear()
    assert await cache.get("k") == 1000.0  # not kept waiting
    assert await cache.get("k") == 1000.0
    await settle()
    assert source.loads == ["k", "k"]  # one refresh, though two asked
    source.gate.set()
    await settle()
    assert await cache.get("k") == 1001.0


async def test_at_two_seconds_it_is_not_answered_any_more(hands: Hands, source: Source, cache: FreshCache[str, float | None]) -> None:
    await cache.get("k")
    hands.at += 2.0
    assert await cache.get("k") == 1002.0
    assert len(source.loads) == 2


async def test_an_answer_is_as_old_as_its_question(hands: Hands, source: Source, cache: FreshCache[str, float | None]) -> None:
    """It may have been changed right after it was read, while the answer was on its way."""
    source.gate.clear()
    asked = asyncio.create_task(cache.get("k"))
    await settle()
    hands.at += 1.5
    source.gate.set()
    assert await asked == 1000.0
    hands.at += 0.5
    assert await cache.get("k") == 1002.0


async def test_all_who_wait_share_one_load(source: Source, cache: FreshCache[str, float | None]) -> None:
    source.gate.clear()
    waiting = [asyncio.create_task(cache.get("k")) for _ in range(50)]
    await settle()
    source.gate.set()
    assert set(await asyncio.gather(*waiting)) == {1000.0}
    assert source.loads == ["k"]


async def test_whoever_asks_long_after_a_slow_load_began_gets_a_load_of_his_own(
    hands: Hands, source: Source, cache: FreshCache[str, float | None]
) -> None:
    source.gate.clear()
    first = asyncio.create_task(cache.get("k"))
    await settle()
    hands.at += 2.5
    second = asyncio.create_task(cache.get("k"))
    await settle()
    source.gate.set()
    assert (await first, await second) == (1000.0, 1002.5)
    assert await cache.get("k") == 1002.5  # and the old answer has not replaced the new one


async def test_a_refusal_is_remembered_too(source: Source, cache: FreshCache[str, float | None]) -> None:
    source.refuse = True
    assert [await cache.get("nobody") for _ in range(5)] == [None] * 5
    assert source.loads == ["nobody"]


async def test_a_failure_is_raised_to_all_who_wait_and_not_remembered(source: Source, cache: FreshCache[str, float | None]) -> None:
    source.fault = ConnectionError("away")
    source.gate.clear()
    waiting = [asyncio.create_task(cache.get("k")) for _ in range(3)]
    await settle()
    source.gate.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each) for each in found] == [ConnectionError] * 3
    source.fault = None
    assert await cache.get("k") == 1000.0


async def test_a_refresh_that_fails_leaves_the_old_answer_until_its_end(
    hands: Hands, source: Source, cache: FreshCache[str, float | None]
) -> None:
    await cache.get("k")
    source.fault = ConnectionError("away")
    hands.at += 1.5
    assert await cache.get("k") == 1000.0
    await settle()
    assert await cache.get("k") == 1000.0
    await settle()
    hands.at += 0.5
    with pytest.raises(ConnectionError):
        await cache.get("k")


async def test_one_who_gives_up_does_not_take_the_answer_from_the_others(source: Source, cache: FreshCache[str, float | None]) -> None:
    source.gate.clear()
    impatient, patient = asyncio.create_task(cache.get("k")), asyncio.create_task(cache.get("k"))
    await settle()
    impatient.cancel()
    await settle()
    source.gate.set()
    assert await patient == 1000.0
    assert source.loads == ["k"]


async def test_forgetting_reaches_a_load_that_began_before(hands: Hands, source: Source, cache: FreshCache[str, float | None]) -> None:
    """This process changed the thing while somebody was reading it: the next use must see the change."""
    source.gate.clear()
    before = asyncio.create_task(cache.get("k"))
    await settle()
    hands.at += 0.1
    cache.forget("k")
    after = asyncio.create_task(cache.get("k"))
    await settle()
    source.gate.set()
    assert (await before, await after) == (1000.0, 1000.1)
    assert await cache.get("k") == 1000.1
    cache.forget("never seen")


async def test_it_holds_no_more_than_its_measure(
    source: Source, cache: FreshCache[str, float | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh, "MOST_ENTRIES", 3)
    for key in "abcd":
        await cache.get(key)
    source.loads.clear()
    await cache.get("d")
    assert source.loads == []
    await cache.get("a")  # the oldest went
    assert source.loads == ["a"]

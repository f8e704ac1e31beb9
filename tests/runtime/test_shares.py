import asyncio

import pytest

from runtime.shares import Shares


async def peak(shares: Shares, keys: str) -> dict[str, int]:
    """The most holders at once that each key had."""
    holding: dict[str, int] = {}
    most: dict[str, int] = {}

    async def hold(key: str) -> None:
        async with shares.of(key):
            holding[key] = holding.get(key, 0) + 1
            most[key] = max(most.get(key, 0), holding[key])
            await asyncio.sleep(0.001)
            holding[key] -= 1

    await asyncio.gather(*map(hold, keys))
    return most


async def test_each_key_has_its_share_and_no_more() -> None:
    assert await peak(Shares(2), "aaaaaaab") == {"a": 2, "b": 1}


async def test_a_key_that_waits_keeps_no_other_waiting() -> None:
    shares = Shares(1)
    async with shares.of("busy"), asyncio.timeout(1), shares.of("other"):
        waiting = asyncio.create_task(shares.of("busy").__aenter__())
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_a_place_is_given_back_whatever_happens() -> None:
    shares = Shares(1)

    async def cancelled() -> None:
        async with shares.of("k"):
            await asyncio.sleep(60)

    task = asyncio.create_task(cancelled())
    await asyncio.sleep(0)
    queued = asyncio.create_task(cancelled())
    await asyncio.sleep(0)
    queued.cancel()
    task.cancel()
    await asyncio.gather(task, queued, return_exceptions=True)
    with pytest.raises(LookupError):
        async with shares.of("k"):
            raise LookupError
    async with asyncio.timeout(1), shares.of("k"):
        pass


async def test_keys_that_nobody_holds_cost_nothing() -> None:
    shares = Shares(2)
    await peak(shares, "abcdefgh" * 3)
    assert shares._open == {}

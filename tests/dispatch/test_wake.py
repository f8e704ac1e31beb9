import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from messaging.wake import CHANNEL, WakeHint, WakeListener
from runtime.clock import monotonic
from runtime.redis import open_redis
from tests.dispatch.valkey import Valkey


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = open_redis(redis_url)
    yield client
    await client.aclose()


async def heard(woken: asyncio.Event, seconds: float = 5.0) -> float:
    """Seconds until the next hint."""
    began = monotonic()
    async with asyncio.timeout(seconds):
        await woken.wait()
    woken.clear()
    return monotonic() - began


async def test_a_hint_is_heard_at_once(redis: Redis) -> None:
    woken = asyncio.Event()
    listening = asyncio.create_task(WakeListener(redis, woken).run())
    await heard(woken)  # it begins with one: something may have been missed
    WakeHint(redis).publish()
    assert await heard(woken) < 2
    listening.cancel()


async def test_a_thousand_hints_are_few_messages_and_the_last_one_is_among_them(redis: Redis) -> None:
    async with redis.pubsub(ignore_subscribe_messages=True) as channel:
        await channel.subscribe(CHANNEL)
        await channel.get_message(timeout=1)
        hint = WakeHint(redis, pause=0.05)
        for _ in range(1000):
            hint.publish()
            await asyncio.sleep(0)
        last = monotonic()
        await asyncio.sleep(0.2)
        received, latest = 0, 0.0
        while await channel.get_message(timeout=0.1):
            received, latest = received + 1, monotonic()
        assert 2 <= received <= 10
        assert latest > last


async def test_without_redis_a_hint_is_nothing_and_a_listener_waits_for_its_return(valkey: Valkey) -> None:
    client, woken = open_redis(valkey.url), asyncio.Event()
    listening = asyncio.create_task(WakeListener(client, woken, pause=0.05).run())
    await heard(woken)
    valkey.stop()
    hint = WakeHint(client)
    hint.publish()
    await asyncio.sleep(0.1)
    valkey.start()
    await heard(woken)
    await asyncio.sleep(1.0)  # a failed hint is followed by a second of quiet
    hint.publish()
    await heard(woken)
    listening.cancel()
    await client.aclose()

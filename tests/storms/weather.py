"""The storms: each lasts so many seconds, cleans up after itself, and gives figures of what it did."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from tests.kills.client import Http
from tests.kills.installation import Installation, Part

Fault = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a storm blows: the accounts at Twilio that texts flow through."""

    http: Http
    house: Installation
    accounts: Sequence[str]


Storm = Callable[[Scene, float], Awaitable[dict[str, float]]]

chance = random.Random()  # noqa: S311  moments, no secrets

LOST_ANSWER: Fault = {"action": "accept_then_reset"}
BROKEN = '{"sid": "SM'
JSON = "application/json"


def at_twilio(*variants: Sequence[Fault]) -> Storm:
    """Faults of the sandbox; the tenants get the variants in turn."""

    async def blow(scene: Scene, seconds: float) -> dict[str, float]:
        url = f"{scene.house.twilio_url}/control/faults"
        faults = [
            {**fault, "match": {"account": account}}
            for number, account in enumerate(scene.accounts)
            for fault in variants[number % len(variants)]
        ]
        ids = [(await scene.http.right("POST", url, fault))["id"] for fault in faults]
        await asyncio.sleep(seconds)
        listed = (await scene.http.right("GET", url))["faults"]
        for number in ids:
            await scene.http.right("DELETE", f"{url}/{number}")
        return {"hits": sum(fault["hits"] for fault in listed if fault["id"] in ids)}

    return blow


def killing(part: Part, every: float) -> Storm:
    """SIGKILL for a process, again and again, about so many seconds after it came back; the supervisor starts it again."""

    async def blow(scene: Scene, seconds: float) -> dict[str, float]:
        ends = time.monotonic() + seconds
        downs: list[float] = []
        while not downs or time.monotonic() < ends:
            downs.append(await scene.house.kill(part))
            await asyncio.sleep(min(chance.uniform(0.5, 1.5) * every, max(0.0, ends - time.monotonic())))
        return {"kills": len(downs), "longest_restart_s": round(max(downs), 2)}

    return blow


async def flushing(scene: Scene, seconds: float) -> dict[str, float]:
    """Everything that Redis knows is gone, again and again."""
    async with redis_of(scene) as redis:
        ends, flushes = time.monotonic() + seconds, 0
        while not flushes or time.monotonic() < ends:
            await redis.flushall()
            flushes += 1
            await asyncio.sleep(min(chance.uniform(1.0, 5.0), max(0.0, ends - time.monotonic())))
    return {"flushes": flushes}


async def slowing(scene: Scene, seconds: float) -> dict[str, float]:
    """Redis answers nobody for a while, then works off what waited: often too late for a patience of one second."""
    async with redis_of(scene) as redis:
        ends = time.monotonic() + seconds
        pauses: list[float] = []
        while not pauses or time.monotonic() < ends:
            pauses.append(chance.choice([0.1, 0.4, 0.8, 1.5, 2.5]))
            await redis.client_pause(round(pauses[-1] * 1000))
            await asyncio.sleep(min(pauses[-1] + chance.uniform(0.05, 0.5), max(0.0, ends - time.monotonic())))
        with suppress(RedisError):  # the last pause ends by itself
            await redis.client_unpause()
    return {"pauses": len(pauses), "paused_s": round(sum(pauses), 1)}


def redis_of(scene: Scene) -> Redis:
    """The installation's Redis, asked with patience."""
    return Redis.from_url(scene.house.dev["redis_url"], socket_timeout=10.0, retry=Retry(NoBackoff(), 3))


STORMS: Mapping[str, Storm] = {
    "twilio-429": at_twilio([{"action": "status", "status": 429, "code": 20429}]),
    "twilio-500": at_twilio([{"action": "status", "status": 500}], [{"action": "status", "status": 500, "accept": True}]),
    "twilio-reset": at_twilio([LOST_ANSWER]),
    "twilio-slow": at_twilio([{"action": "accept_then_delay", "seconds": 5}], [{"action": "delay", "seconds": 5}]),
    "twilio-wrong-json": at_twilio(
        [{"action": "not_json", "status": 201, "text": BROKEN, "content_type": JSON, "accept": True}],
        [{"action": "not_json", "status": 200, "text": BROKEN, "content_type": JSON}],
    ),
    "redis-killed": killing("valkey", 4.0),
    "redis-flushed": flushing,
    "redis-slow": slowing,
    "postgres-restarted": killing("postgres", 6.0),
    "worker-killed": killing("worker", 4.0),
    "callbacks-dropped": at_twilio([{"action": "drop_callback"}], [{"action": "drop_callback"}, LOST_ANSWER]),
    "callbacks-reordered": at_twilio([{"action": "reorder_callbacks"}], [{"action": "reorder_callbacks"}, LOST_ANSWER]),
    "callbacks-repeated": at_twilio(
        [{"action": "repeat_callback", "copies": 5}], [{"action": "repeat_callback", "copies": 5}, LOST_ANSWER]
    ),
}

"""Python's other rate limiters under the pacer's load: one process of a run, on the packages of requirements/peers.txt alone.

Reads one JSON object as benchmarks/pacer_worker.py does, with the number of each side; writes one JSON object: what failed, by side.
"""

import asyncio
import json
import struct
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

PYRATE, BUCKET, GCRA = "pyrate-limiter", "throttled-py token bucket", "throttled-py GCRA"
RECORD = struct.Struct("!BI")
PATIENCE = 10.0  # seconds that one message waits for its turn before it asks anew
Acquire = Callable[[], Awaitable[bool]]


def skew_clocks(seconds: float) -> None:
    """Before the libraries are imported: some bind the functions they ask for the time."""
    real, real_ns = time.time, time.time_ns
    time.time = lambda: real() + seconds
    time.time_ns = lambda: real_ns() + round(seconds * 1e9)


def window_of(per_minute: int) -> tuple[int, int]:
    """A rate as whole messages in whole seconds, as all these libraries want it: (messages, seconds)."""
    return (per_minute // 60, 1) if per_minute % 60 == 0 else (per_minute * 4 // 60, 4)


async def pyrate(redis_url: str, key: str, per_minute: int) -> Acquire:
    """Its sliding log in a Redis bucket; `try_acquire_async` waits by itself."""
    from pyrate_limiter import Limiter, Rate, RedisBucket  # noqa: PLC0415  after the clock was set, and its failure is its own
    from redis.asyncio import Redis  # noqa: PLC0415

    messages, seconds = window_of(per_minute)
    bucket = await RedisBucket.init([Rate(messages, seconds * 1000)], Redis.from_url(redis_url), key)
    limiter = Limiter(bucket)

    async def acquire() -> bool:
        try:
            return bool(await limiter.try_acquire_async(key, timeout=PATIENCE))
        except TimeoutError:
            return False

    return acquire


def throttled(using: str, burst: int | None) -> Callable[[str, str, int], Awaitable[Acquire]]:
    """One of its algorithms on its Redis store, in its waiting mode; without `burst` its default, which is the limit."""

    async def make(redis_url: str, key: str, per_minute: int) -> Acquire:
        from throttled.asyncio import Throttled, rate_limiter, store  # noqa: PLC0415

        messages, seconds = window_of(per_minute)
        quota = rate_limiter.per_duration(timedelta(seconds=seconds), messages, burst=burst)
        limiter = Throttled(key=key, using=using, quota=quota, store=store.RedisStore(server=redis_url), timeout=PATIENCE)

        async def acquire() -> bool:
            return not (await limiter.limit()).limited

        return acquire

    return make


SIDES = {PYRATE: pyrate, BUCKET: throttled("token_bucket", None), GCRA: throttled("gcra", 1)}
AT_ONCE = {
    PYRATE: 1,
    BUCKET: 8,
    GCRA: 32,
}  # messages that ask together in one process: more do not help a limiter that lets one ask at a time


async def main() -> None:
    """One run of one process."""
    wanted = json.load(sys.stdin)
    skew_clocks(wanted["skew"])
    start, door = await asyncio.open_connection("127.0.0.1", wanted["door"])
    await start.readexactly(1)
    until = time.monotonic() + wanted["seconds"]
    failed: dict[str, str] = {}

    async def run(side: str, rate: int, number: int) -> None:
        async def ask(acquire: Acquire) -> None:
            while time.monotonic() < until:
                if await acquire() and time.monotonic() < until:
                    door.write(RECORD.pack(number, rate))

        try:
            acquire = await SIDES[side](wanted["redis"], f"{side.replace(' ', '-')}-{rate}", rate)
            async with asyncio.timeout(until - time.monotonic() + PATIENCE + 5), asyncio.TaskGroup() as group:
                for _ in range(min(AT_ONCE[side], 1 + rate // 60)):
                    group.create_task(ask(acquire))
        except BaseException as error:  # noqa: BLE001  whatever a library does, it is reported under its name
            failed[side] = told(error)

    await asyncio.gather(*(run(*each) for each in wanted["sides"]))
    await door.drain()
    door.close()
    json.dump(failed, sys.stdout)


def told(error: BaseException) -> str:
    """An error in a line."""
    first: Any = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error
    return f"{type(first).__name__}: {first}"[:200]


if __name__ == "__main__":
    asyncio.run(main())

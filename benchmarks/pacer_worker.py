"""One of the processes that ask for slots without end and send in them: `python -m benchmarks.pacer_worker` reads one JSON object.

{redis, door, skew, horizon, seconds, sides: [[side, per_minute], …]}: `skew` seconds are added to what it takes for the time of day. It
begins when the door sends a byte, and writes one JSON object: per side and rate its slots, in microseconds of Redis' clock.
"""

import asyncio
import json
import struct
import sys
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from math import ceil

from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter

from messaging.pacer import Pacer
from runtime import clock

TENANT = "00000000-0000-0000-0000-000000000001"
AGAIN = 0.4  # of a horizon, as the dispatcher waits before it asks again
OURS, WINDOW = "trunkline", "limits moving window"
SIDES = (OURS, WINDOW)
RECORD = struct.Struct("!BI")  # which side, at which rate


class Worker:
    """Asks for all sides of a run at once, each on a task of its own."""

    def __init__(self, redis: str, door: asyncio.StreamWriter, horizon: float, until: float) -> None:
        self._pacer = Pacer.at(redis)
        self._window = MovingWindowRateLimiter(RedisStorage(f"async+{redis}", implementation="redispy"))
        self._door = door
        self._horizon = horizon
        self._until = until
        self.slots: dict[str, list[int]] = defaultdict(list)

    async def run(self, sides: list[tuple[str, int]]) -> None:
        """Until the time is over."""
        ways = {OURS: self.paced, WINDOW: self.windowed}
        await asyncio.gather(*(ways[side](rate) for side, rate in sides))
        await self._pacer.close()

    async def paced(self, rate: int) -> None:
        """As the dispatcher does it: as many slots as lie within the horizon, then a pause until a good part of it is free again."""
        wanted = [1] * min(50, 1 + ceil(rate / 60 * self._horizon))
        sending = set[asyncio.Task[None]]()
        while clock.monotonic() < self._until:
            grant = await self._pacer.reserve(TENANT, f"r{rate}", rate, wanted, horizon=self._horizon)
            now = clock.monotonic()
            for slot in grant.slots:
                self.slots[f"{OURS} {rate}"].append(int(slot.reservation.split(":")[1]))
                sending.add(asyncio.create_task(self.send(OURS, rate, now + slot.wait)))
            if grant.retry_in is not None:
                await asyncio.sleep(grant.retry_in + (0 if grant.refused else AGAIN * self._horizon))
            sending = {task for task in sending if not task.done()}
        await asyncio.gather(*sending)

    async def windowed(self, rate: int) -> None:
        """As its documentation has it: `hit`, and another try a little later where it refuses."""
        item = RateLimitItemPerSecond(rate // 60) if rate % 60 == 0 else RateLimitItemPerSecond(rate * 4 // 60, 4)
        while clock.monotonic() < self._until:
            if await self._window.hit(item, TENANT, f"r{rate}"):
                await self.send(WINDOW, rate, 0)
            else:
                await asyncio.sleep(min(0.25, 15 / rate))

    async def send(self, side: str, rate: int, at: float) -> None:
        """Wait for the slot and knock at the door."""
        await asyncio.sleep(at - clock.monotonic())
        self._door.write(RECORD.pack(SIDES.index(side), rate))


async def main() -> None:
    """One run of one worker."""
    wanted = json.load(sys.stdin)
    real = clock.now
    clock.now = lambda: real() + timedelta(seconds=wanted["skew"])
    assert abs((clock.now() - datetime.now(UTC)).total_seconds() - wanted["skew"]) < 1  # noqa: S101  this worker's clock is off
    start, door = await asyncio.open_connection("127.0.0.1", wanted["door"])
    await start.readexactly(1)
    worker = Worker(wanted["redis"], door, wanted["horizon"], clock.monotonic() + wanted["seconds"])
    await worker.run([(side, rate) for side, rate in wanted["sides"]])
    await door.drain()
    door.close()
    json.dump(worker.slots, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())

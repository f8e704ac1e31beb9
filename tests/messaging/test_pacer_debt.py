"""What a Redis forgets of a debt longer than its quarantine is told to it by whoever remembers: no window over the rate."""

import asyncio
import socket
from collections.abc import Callable
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from messaging.pacer import Pacer
from tests.messaging.conftest import Valkey
from tests.messaging.test_pacer import at, exceeds

QUARANTINE = 0.3
SLOW, LONG = (20, [1]), (60, [3])  # a slow registration, and a long text: each owes three seconds


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


async def killed(start: Callable[..., Valkey], ask: Callable[[Pacer], object]) -> Valkey:
    """A server that is killed after the question, and comes back with nothing."""
    server = start()
    await answered(server, ask)
    server.stop()
    server.start()
    return server


async def flushed(start: Callable[..., Valkey], ask: Callable[[Pacer], object]) -> Valkey:
    """A server that is emptied after the question, while it runs."""
    server = start()
    await asyncio.sleep(2.2)  # it tells its age in whole seconds; a young one is careful anyway
    await answered(server, ask)
    async with Redis.from_url(server.url) as redis:
        await redis.flushall()
    return server


async def promoted(start: Callable[..., Valkey], ask: Callable[[Pacer], object]) -> Valkey:
    """A replica that knows an earlier state, and not the question."""
    port = free_port()
    master = start("--port", str(port))
    replica = start("--replicaof", f"127.0.0.1 {port}")
    async with Redis.from_url(replica.url) as redis:
        pacer = Pacer.at(master.url, quarantine=QUARANTINE)
        await granted(pacer, "known", 6000, [1], 0.0)
        for _ in range(200):
            if await redis.exists("LIMITS:pacer:{t1}:known:state"):
                break
            await asyncio.sleep(0.05)
        else:
            raise AssertionError("the replica does not follow")
        await redis.execute_command("REPLICAOF", "NO", "ONE")
        await pacer.close()
    await answered(master, ask)
    master.stop()
    return replica


async def answered(server: Valkey, ask: Callable[[Pacer], object]) -> None:
    pacer = Pacer.at(server.url, quarantine=QUARANTINE)
    await ask(pacer)  # type: ignore[misc]  # it is a coroutine
    await pacer.close()


async def granted(pacer: Pacer, registration: str, per_minute: int, segments: list[int], owed: float) -> tuple[int, float]:
    """The slot of a message, on the server's clock, once one is granted; and what is owed from then on."""
    while True:
        grant = await pacer.reserve("t1", registration, per_minute, segments, horizon=QUARANTINE, owed=owed)
        if grant.slots:
            return at(grant.slots[0]), grant.owed
        assert grant.retry_in is not None
        owed = max(0.0, owed - grant.retry_in)
        await asyncio.sleep(grant.retry_in + 0.005)


@pytest.mark.parametrize("loses", [killed, flushed, promoted])
@pytest.mark.parametrize(("per_minute", "segments"), [SLOW, LONG])
async def test_no_window_is_over_the_rate_when_redis_forgets_a_debt(
    loses: Callable[..., "asyncio.Future[Valkey]"], per_minute: int, segments: list[int], another_valkey: Callable[..., Valkey]
) -> None:
    slots: list[int] = []
    debts: list[float] = []

    async def ask(pacer: Pacer) -> None:
        slot, owed = await granted(pacer, "known", per_minute, segments, 0.0)
        slots.append(slot)
        debts.append(asyncio.get_running_loop().time() + owed)
        assert owed == pytest.approx(3.0, abs=QUARANTINE + 0.1)

    pacer = Pacer.at((await loses(another_valkey, ask)).url, quarantine=QUARANTINE)
    left = debts[0] - asyncio.get_running_loop().time()
    refused = await pacer.reserve("t1", "known", per_minute, segments, horizon=0, owed=left)
    assert (refused.slots, refused.refused) == ((), "restarted")
    assert (await pacer.peek("t1", "known", per_minute, owed=left)).next_in == pytest.approx(left, abs=0.3)
    neighbour, _ = await granted(pacer, "another", per_minute, segments, 0.0)  # who owes nothing waits for the quarantine alone
    again, _ = await granted(pacer, "known", per_minute, segments, left)
    slots.append(again)
    assert exceeds([(slot, segments[0]) for slot in slots], per_minute) <= 0
    assert neighbour < again
    await pacer.close()


async def test_a_debt_that_redis_remembers_is_not_counted_twice(another_valkey: Callable[..., Valkey]) -> None:
    pacer = Pacer.at(another_valkey().url, quarantine=QUARANTINE)
    registration = f"r-{uuid4()}"
    first, owed = await granted(pacer, registration, 60, [1], 0.0)
    second, _ = await granted(pacer, registration, 60, [1], owed + 100)  # whatever the caller says: the state is there
    assert second - first == 1_000_000
    await pacer.close()

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import uuid4

import aiohttp
import asyncpg
import pytest

from messaging.reconcile import Reconciler
from messaging.wake import WakeHint
from runtime.clock import monotonic
from runtime.redis import open_redis
from sandbox.twilio import TwilioSandbox
from sandbox.twilio.faults import AcceptThenDelay, Delay, DropCallback
from tests.dispatch.desk import BRISK, Desk, MakeDesk, MakeDispatcher, at_work, until
from tests.dispatch.valkey import Valkey
from trunkline.dev.databases import DatabaseUrls

Owner = asyncpg.Connection
StartWorker = Callable[..., "asyncio.Future[asyncio.subprocess.Process]"]
PROGRAM = "import asyncio; from runtime.settings import load; from trunkline.worker import work; asyncio.run(work(load()))"


@pytest.fixture
def environment(urls: DatabaseUrls, redis_url: str, twilio: TwilioSandbox, master_key: str) -> dict[str, str]:
    return {
        "TRUNKLINE_DATABASE_URL": urls.app_url,
        "TRUNKLINE_REDIS_URL": redis_url,
        "TRUNKLINE_TWILIO_BASE_URL": twilio.url,
        "TRUNKLINE_SECRET_KEYS": master_key,
        "TRUNKLINE_ENVIRONMENT": "test",
        "PATH": os.environ["PATH"],
    }


@asynccontextmanager
async def worker_process(environment: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """`trunkline worker` as a process; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, env=environment, stderr=asyncio.subprocess.DEVNULL)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def attempted(twilio: TwilioSandbox, count: int) -> bool:
    return len(twilio.attempts) >= count


async def at_rest(desk: Desk, **statuses: int) -> bool:
    return await desk.statuses() == statuses


async def test_a_worker_sends_and_on_sigterm_finishes_the_call_under_way(
    desk: Desk, twilio: TwilioSandbox, environment: dict[str, str]
) -> None:
    await desk.text(body="first")
    async with worker_process(environment) as process:
        await until(lambda: at_rest(desk, sent=1), seconds=20)
        twilio.faults.arm(AcceptThenDelay(seconds=1.0))
        await desk.text(body="under way")
        await until(lambda: attempted(twilio, 2))
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    assert await at_rest(desk, sent=2)
    assert await desk.billed() == 2


async def test_a_hint_brings_an_idle_tenants_text_to_twilio_at_once(
    desk: Desk, twilio: TwilioSandbox, environment: dict[str, str], redis_url: str
) -> None:
    redis = open_redis(redis_url)
    hint, waits = WakeHint(redis), []
    async with worker_process(environment):
        await desk.text()
        await until(lambda: attempted(twilio, 1), seconds=20)
        for count in range(2, 22):
            await asyncio.sleep(0.05)
            await desk.text()
            accepted = monotonic()
            hint.publish()
            await until(lambda: attempted(twilio, count))  # noqa: B023  awaited within the turn
            waits.append(twilio.attempts[-1]["at"] - accepted)
    await redis.aclose()
    assert sorted(waits)[10] < 0.1
    assert max(waits) < 5


async def test_a_killed_workers_text_is_settled_by_the_next_one(
    desk: Desk, twilio: TwilioSandbox, environment: dict[str, str], make_reconciler: Callable[..., Reconciler], owner: Owner
) -> None:
    twilio.faults.arm(AcceptThenDelay(seconds=5.0))
    twilio.faults.arm(DropCallback())
    message = await desk.text()
    async with worker_process(environment) as process:
        await until(lambda: attempted(twilio, 1), seconds=20)
        process.kill()
        await process.wait()
    assert (await desk.message(message))["status"] == "sending"
    await owner.execute("UPDATE messages SET lease_until = app.now() WHERE tenant_id = $1", desk.tenant)
    await owner.execute("UPDATE control.schedule SET check_at = app.now()")
    async with at_work(make_reconciler()):
        await until(lambda: settled(desk))
    assert (len(twilio.box), len(twilio.attempts), await desk.billed()) == (1, 1, 1)


async def settled(desk: Desk) -> bool:
    return set(await desk.statuses()) <= {"sent", "delivered"}


async def test_probes_and_metrics(environment: dict[str, str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with worker_process({**environment, "TRUNKLINE_WORKER_PORT": str(port)}), aiohttp.ClientSession() as session:

        async def status(path: str) -> int:
            try:
                async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                    return answer.status
            except aiohttp.ClientError:
                return 0

        async def ready() -> bool:
            return await status("/health/ready") == 200

        await until(ready, seconds=20)
        assert await status("/health/live") == 200
        async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
            page = await answer.text()
            assert "trunkline_sends_in_flight" in page
            assert "trunkline_queued_messages 0.0" in page


async def test_with_redis_away_nothing_leaves_and_with_its_return_everything_does(
    desk: Desk, neighbour: Desk, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox, valkey: Valkey
) -> None:
    async with at_work(await make_dispatcher(redis=valkey.url)):
        await desk.text()
        await until(lambda: at_rest(desk, sent=1))
        valkey.stop()
        for one in (desk, neighbour):
            await one.text(body="while Redis is away")
        await asyncio.sleep(1.5)
        assert len(twilio.attempts) == 1
        assert await at_rest(neighbour, queued=1)
        valkey.start()
        await until(lambda: at_rest(desk, sent=2), seconds=15)
        await until(lambda: at_rest(neighbour, sent=1))
    assert len(twilio.box) == 3


async def test_every_backend_terminated_again_and_again_loses_and_doubles_nothing(
    make_desk: MakeDesk,
    make_dispatcher: MakeDispatcher,
    make_reconciler: Callable[..., Reconciler],
    twilio: TwilioSandbox,
    urls: DatabaseUrls,
) -> None:
    application = await asyncpg.connect(urls.app_url)  # a role may end its own backends
    desk = await make_desk(per_minute=3000)
    twilio.faults.arm(Delay(seconds=0.05))
    for number in range(150):
        await desk.text(body=f"{number} {uuid4()}")
    workers = [await make_dispatcher(measures=replace(BRISK, lease=10.0)) for _ in range(2)]
    async with at_work(*workers, make_reconciler(every=0.2)):
        for _ in range(6):
            await asyncio.sleep(0.3)
            await application.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid()"
            )
        await until(lambda: settled(desk), seconds=40)
    await application.close()
    bodies = [message.body for message in twilio.box]
    assert (len(bodies), len(set(bodies)), await desk.billed()) == (150, 150, 150)

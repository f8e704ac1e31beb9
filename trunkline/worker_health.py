"""What a worker tells its supervisor: it lives, it is ready, its metrics."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from redis.asyncio import Redis

from messaging.queue_statistics import queue_totals
from runtime import metrics as queue_metrics
from runtime.database import Database
from runtime.settings import Settings

PROBE_SECONDS = 2.0


@asynccontextmanager
async def serving_health(settings: Settings, database: Database, redis: Redis) -> AsyncIterator[None]:
    """Serve the probes on `worker_port` until the block ends; nothing when it is 0."""
    if not settings.worker_port:
        yield
        return
    runner = web.AppRunner(application(database, redis), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.worker_port).start()
        yield
    finally:
        await runner.cleanup()


def application(database: Database, redis: Redis) -> web.Application:
    """The probes: alive without asking anybody, ready when Postgres and Redis answer."""

    async def live(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def ready(_: web.Request) -> web.Response:
        checks = {
            "database": await answers(database.call_for_many("SELECT 1")),
            "redis": await answers(redis.ping()),
        }
        return web.json_response(
            {"status": "ok" if all(checks.values()) else "unavailable", **checks}, status=200 if all(checks.values()) else 503
        )

    async def metrics(_: web.Request) -> web.Response:
        await answers(measure_queues(database))  # while storage is away the last figures stand
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/health/live", live)
    app.router.add_get("/health/ready", ready)
    app.router.add_get("/metrics", metrics)
    return app


async def measure_queues(database: Database) -> None:
    """What waits now; each worker tells the same."""
    totals = await queue_totals(database)
    queue_metrics.QUEUED_MESSAGES.set(totals.queued_messages)
    queue_metrics.QUEUED_SEGMENTS.set(totals.queued_segments)
    queue_metrics.HELD_REGISTRATIONS.set(totals.held_registrations)
    queue_metrics.LATE_SECONDS.set(totals.late_seconds)


async def answers(question: Awaitable[object]) -> bool:
    """Whether it is answered in time."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await question
    except Exception:  # noqa: BLE001  whatever it is, the answer is no
        return False
    return True

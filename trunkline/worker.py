"""The worker: dispatcher, reconciler and duties in one process, until SIGTERM. Any number of them share the work.

A loop that crashes is reported and begun again; Postgres and Redis may go away and come back. SIGTERM ends leasing at once,
finishes the calls under way and records them.
"""

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

from redis.asyncio import Redis

from messaging import legal_hours
from messaging.beginnings import Beginnings
from messaging.dispatcher import Dispatcher, Measures
from messaging.pacer import Pacer
from messaging.prices import Prices
from messaging.putting_off import PuttingOff
from messaging.reconcile import Reconciler, Rules
from messaging.recorder import OutcomeRecorder
from messaging.sending import Sending
from messaging.twilio_client import Twilio
from messaging.twilio_http import TwilioHttp
from messaging.wake import WakeListener
from runtime import clock, sentry
from runtime.database import Database, open_database, passing_condition
from runtime.logs import log
from runtime.redis import open_redis
from runtime.settings import Settings
from tenants.senders import SenderBook
from tenants.snapshot import TenantBook
from tenants.vapi_accounts import VapiKeys
from trunkline.duties import Duty, DutyRoster, long_duties, standing_duties, wait_for
from trunkline.worker_health import serving_health
from webhooks.late_calls import LateCalls
from webhooks.vapi_client import VapiClient

CALL_SECONDS = 10.0  # the longest a call to Twilio or a question to Vapi takes
CONNECTIONS = 1000  # to Twilio: as many as messages may be in flight, so that none waits for one
FINISH_SECONDS = 25.0  # calls under way, their slots and their outcomes; Kubernetes waits 30
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
STEADY_SECONDS = 60.0  # a loop that ran so long begins again without waiting long

Loop = Callable[[asyncio.Event], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Worker:
    """The parts of one worker, connected."""

    id: UUID
    database: Database
    redis: Redis
    dispatcher: Dispatcher
    reconciler: Reconciler
    rosters: tuple[DutyRoster, ...]
    listener: WakeListener


async def work(settings: Settings, stopping: asyncio.Event | None = None) -> None:
    """Run a worker until SIGTERM, SIGINT or `stopping`."""
    legal_hours.use(settings.quiet_hours_file)
    stopping = stopping or asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with connected(settings, stopping) as worker:
        if worker is None:
            return
        async with serving_health(settings, worker.database, worker.redis):
            log.info("worker started", worker=str(worker.id))
            spare_the_collector()
            await run_until_stopped(worker, stopping)
            log.info("worker stopped", worker=str(worker.id))


@asynccontextmanager
async def connected(settings: Settings, stopping: asyncio.Event) -> AsyncIterator[Worker | None]:
    """The parts of a worker, closed at the end; None when told to stop before Postgres was there."""
    database = await database_once_there(settings, stopping)
    if database is None:
        yield None
        return
    redis = open_redis(settings.redis_url)
    pacer = Pacer.at(settings.redis_url)
    try:
        async with (
            TwilioHttp(settings.twilio_base_url, total=CALL_SECONDS, connections=CONNECTIONS) as http,
            VapiClient(settings.vapi_base_url, total=CALL_SECONDS) as vapi,
        ):
            yield assembled(settings, database, redis, pacer, Twilio(http), vapi)
    finally:
        await pacer.close()
        await redis.aclose()
        await database.close()


def spare_the_collector() -> None:
    """What was loaded stays; and with a thousand calls under way a collection that looks at each of them finds nothing, again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def assembled(settings: Settings, database: Database, redis: Redis, pacer: Pacer, twilio: Twilio, vapi: VapiClient) -> Worker:
    """A worker of these parts, under a name of its own."""
    worker, keyring = uuid4(), settings.keyring
    tenants = TenantBook(database)
    sending = Sending(
        twilio,
        pacer,
        OutcomeRecorder(database, worker),
        Beginnings(database, worker),
        keyring,
        settings.public_base_url,
        PuttingOff(database, tenants, worker),
        call_seconds=CALL_SECONDS,
    )
    late_calls = LateCalls(database, keyring, vapi, VapiKeys(database, keyring), tenants, settings.vapi_api_key)
    senders = SenderBook(database, keyring)
    prices = Prices(database, twilio, senders)
    dispatcher = Dispatcher(database, pacer, sending, worker, Measures())
    return Worker(
        id=worker,
        database=database,
        redis=redis,
        dispatcher=dispatcher,
        reconciler=Reconciler(database, twilio, senders, tenants, Rules()),
        rosters=rosters_of(
            database, worker, standing_duties(database, redis), *((duty,) for duty in long_duties(database, late_calls, prices))
        ),
        listener=WakeListener(redis, dispatcher.woken),
    )


def rosters_of(database: Database, worker: UUID, *groups: Sequence[Duty]) -> tuple[DutyRoster, ...]:
    """A roster for each group of duties."""
    return tuple(DutyRoster(database, worker, duties) for duties in groups)


async def database_once_there(settings: Settings, stopping: asyncio.Event) -> Database | None:
    """Connect, as often as it takes; None when told to stop."""
    pause = FIRST_PAUSE
    while not stopping.is_set():
        try:
            return await open_database(settings.database_url, settings.database_connections)
        except Exception as error:
            condition = passing_condition(error)
            if condition is None:
                raise
            log.warning("the database cannot be reached", condition=condition)
            await wait_for(stopping, pause)
            pause = min(LONGEST_PAUSE, pause * 2)
    return None


async def run_until_stopped(worker: Worker, stopping: asyncio.Event) -> None:
    """All loops side by side; when told to stop each finishes what it began, within bounds."""
    listening = asyncio.create_task(worker.listener.run())
    loops: dict[str, Loop] = {
        "dispatcher": worker.dispatcher.run,
        "reconciler": worker.reconciler.run,
        **{f"duties {number}": roster.run for number, roster in enumerate(worker.rosters)},
    }
    tasks = [asyncio.create_task(kept_running(name, loop, stopping)) for name, loop in loops.items()]
    await stopping.wait()
    _, late = await asyncio.wait(tasks, timeout=FINISH_SECONDS)
    if late:
        log.warning("stopping without waiting longer: leases end by themselves", loops=len(late))
    for task in [listening, *late]:
        task.cancel()
    await asyncio.wait([listening, *tasks])


async def kept_running(name: str, loop: Loop, stopping: asyncio.Event) -> None:
    """Run a loop; when it crashes report it and begin again, after ever longer pauses while it keeps crashing."""
    pause = FIRST_PAUSE
    while not stopping.is_set():
        began = clock.monotonic()
        with sentry.isolated(sentry.NOBODY, name):
            try:
                await loop(stopping)
            except Exception as error:  # noqa: BLE001  that is what a supervisor is for
                log.exception("a loop crashed", loop=name)
                if passing_condition(error) is None:
                    sentry.report(error)
                if clock.monotonic() - began > STEADY_SECONDS:
                    pause = FIRST_PAUSE
                await wait_for(stopping, pause)
                pause = min(LONGEST_PAUSE, pause * 2)

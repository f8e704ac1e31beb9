"""Periodic duties: each runs once per due time, whichever worker takes it, by a leased row on the database's clock.

A holder that dies loses its lease and somebody else takes over; one that comes back late finds its attempt outdated and
changes nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from redis.asyncio import Redis

from messaging.making_room import make_room
from messaging.prices import Prices
from messaging.repairs import release_holds, repair_schedule
from runtime import metrics, sentry
from runtime.database import Database, passing_condition
from runtime.logs import log
from runtime.redis import RedisError
from webhooks.cleanup import clean_up
from webhooks.duplicates import fold_duplicates
from webhooks.late_calls import LateCalls

LEASE_SECONDS = 120.0
LOOK_SECONDS = 1.0
CLEAN_UP_SECONDS, CLEAN_UP_PAUSE = 15.0, 5.0

ANNOUNCE = """
INSERT INTO control.duties (name, next_run) SELECT name, app.now() FROM unnest($1::text[]) AS name ON CONFLICT (name) DO NOTHING
"""
CLAIM = """
UPDATE control.duties AS d SET holder = $1, lease_until = app.now() + $3, attempt = d.attempt + 1
WHERE d.name = (SELECT q.name FROM control.duties AS q WHERE q.name = ANY ($2) AND q.next_run <= app.now() AND q.lease_until <= app.now()
                ORDER BY q.next_run LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING d.name, d.attempt
"""
FINISH = """
UPDATE control.duties SET next_run = app.now() + $4, holder = NULL, lease_until = '-infinity', last_run = app.now(), last_error = $5
WHERE name = $2 AND holder = $1 AND attempt = $3 RETURNING name
"""


@dataclass(frozen=True, slots=True)
class Duty:
    """What is done, and how many seconds after its end it is done again."""

    name: str
    every: float
    run: Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class GoOn:
    """What a duty answers that is not through with its work: so many seconds after its end it goes on."""

    after: float


def standing_duties(database: Database, redis: Redis) -> tuple[Duty, ...]:
    """The duties of every worker."""
    return (
        Duty("fold_duplicates", 60, lambda: fold_duplicates(database, redis)),
        Duty("make_room", 2, lambda: make_room(database)),
        Duty("release_holds", 10, lambda: release_holds(database)),
        Duty("repair_schedule", 30, lambda: repair_schedule(database)),
    )


def long_duties(database: Database, late_calls: LateCalls, prices: Prices) -> tuple[Duty, ...]:
    """The duties that take seconds: each on a roster of its own, so that no other one waits for it."""
    return (
        Duty("clean_up", 3_600, lambda: clean_up_for_a_while(database)),
        Duty("reconcile_calls", 60, lambda: reconcile(late_calls)),
        Duty("ask_prices", 60, lambda: ask(prices)),
    )


async def reconcile(late_calls: LateCalls) -> int:
    """Ask Vapi about calls whose report never came; gives how often it told something."""
    return await late_calls.reconcile()


async def ask(prices: Prices) -> int:
    """Ask Twilio what the texts cost that ended; gives how many prices it told."""
    return await prices.ask()


async def clean_up_for_a_while(database: Database) -> GoOn | None:
    """As much of the clean-up as fits into one turn, which a stopping worker waits for; what is left goes on soon."""
    done = await clean_up(database, seconds=CLEAN_UP_SECONDS)
    log.info("cleaned up", keys=sum(done.keys.values()), days=len(done.days), bytes=done.bytes_returned, finished=done.finished)
    return None if done.finished else GoOn(CLEAN_UP_PAUSE)


class DutyRoster:
    """One worker's part in the duties."""

    def __init__(self, database: Database, worker: UUID, duties: Sequence[Duty], lease: float = LEASE_SECONDS) -> None:
        self._database = database
        self._worker = worker
        self._duties = {duty.name: duty for duty in duties}
        self._lease = lease

    async def run(self, stopping: asyncio.Event) -> None:
        """Do what is due until told to stop; the duty under way is finished first."""
        await self.announce()
        while not stopping.is_set():
            if await self.run_next() is None:
                await wait_for(stopping, LOOK_SECONDS)

    async def announce(self) -> None:
        """Make a row for every duty that has none; it is due at once."""
        await self._database.call_for_many(ANNOUNCE, list(self._duties))

    async def run_next(self) -> str | None:
        """Take the duty that is most overdue, do it, and give its name; None when none is due."""
        claimed = await self._database.call_for_many(CLAIM, self._worker, list(self._duties), timedelta(seconds=self._lease))
        if not claimed:
            return None
        duty, attempt = self._duties[claimed[0]["name"]], claimed[0]["attempt"]
        with sentry.isolated(sentry.NOBODY, f"duty {duty.name}"):
            error, pause = await self._attempt(duty)
            finished = await self._database.call_for_many(FINISH, self._worker, duty.name, attempt, timedelta(seconds=pause), error)
            if not finished:
                log.warning("a duty outlived its lease", duty=duty.name)
        return duty.name

    async def _attempt(self, duty: Duty) -> tuple[str | None, float]:
        """Run it within its lease; the name of what went wrong, if something did, and the seconds until it is due again."""
        try:
            async with asyncio.timeout(self._lease):
                answer = await duty.run()
        except Exception as error:  # noqa: BLE001  a duty that fails must not end the others
            metrics.DUTIES.labels(duty.name, "failed").inc()
            log.warning("a duty failed", duty=duty.name, error=type(error).__name__)
            if passing_condition(error) is None and not isinstance(error, RedisError):
                sentry.report(error)
            return type(error).__name__, duty.every
        metrics.DUTIES.labels(duty.name, "done").inc()
        return None, answer.after if isinstance(answer, GoOn) else duty.every


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Until the event is set, at most so long."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return

"""Runs: effects that somebody else's server has a part in. Claimed with a lease, kept by a heartbeat, finished under a fence.

No connection is held while the server is asked. A process that dies loses its lease; whoever is delivered the same call again
takes over, under the next attempt, and the dead one's late answer changes nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID, uuid4

import msgspec

from runtime import clock, metrics, sentry
from runtime.database import Database, passing_condition
from runtime.ids import TenantId
from runtime.logs import log
from runtime.refusals import Unavailable
from runtime.shares import Shares
from webhooks.persistence import persistently

CLAIM = "SELECT outcome, answer, attempt, asked_at, doubtful FROM app.claim_run_v1($1, $2, $3, $4, $5, $6, $7)"
RENEW = "SELECT app.renew_run_v1($1, $2, $3, $4, $5)"
FINISH = "SELECT app.finish_run_v1($1, $2, $3, $4, $5, $6, $7, $8, $9)"
LEASE_SECONDS = 6.0
BEATS = 6  # renewals within a lease
TWIN_SECONDS = 8.0  # how long a delivery waits for the one that came before it
FIRST_LOOK, LONGEST_LOOK = 0.05, 0.25
FINISH_SECONDS = 10.0  # an answer that we have is worth some tries to store it
STILL_RUNNING = "This call is still being handled. Send it again."


class RunEffect(msgspec.Struct, frozen=True, kw_only=True):
    """What is claimed, as app.claim_run_v1 takes it; `doubtful_answer` is stored where nobody knows whether it was done."""

    webhook_id: UUID
    place: int
    source: str
    type: str
    key: str
    fingerprint: str
    doubtful_answer: str
    call_id: str | None = None
    assistant_id: str | None = None
    name: str | None = None
    tool_call_id: str | None = None
    arguments: str | None = None
    caller: str | None = None
    replay_of: UUID | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A run to claim: `business` names the same thing under other ids for `business_seconds`; `repeatable` may be asked twice."""

    effect: RunEffect
    repeatable: bool
    business: bytes | None = None
    business_seconds: int = 0

    @property
    def key(self) -> bytes:
        """The idempotency key."""
        return bytes.fromhex(self.effect.key)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: done, failed for good, or dead (nothing of it stands for certain, and it may be run again)."""

    state: Literal["done", "failed", "dead"]
    answer: str
    meter: str | None = None
    reason: str | None = None
    doubtful: bool = False  # somebody's server may have acted


@dataclass(frozen=True, slots=True)
class Turn:
    """A run that is ours: when it was asked for first, and whether an attempt before may have been acted on."""

    attempt: int
    asked_at: datetime
    doubtful: bool


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of a wanted run: new (run here), replay (its stored answer), conflict (same key, something else asked).

    `final`: the answer stands, whoever asks again.
    """

    outcome: str
    answer: str | None
    final: bool = field(default=True, compare=False)


@dataclass(slots=True)
class Twins:
    """The deliveries of one call that this process has at the moment; `settled` is (fingerprint, answer) once that stands."""

    here: int = 0
    settled: tuple[str, str] | None = None


Work = Callable[[Turn], Awaitable[Ended]]
Same = Callable[[str], Ended]


class Runs:
    """The runs of one process."""

    def __init__(self, database: Database, lease: float = LEASE_SECONDS) -> None:
        self._database = database
        self._lease = timedelta(seconds=lease)
        self._turns = Shares(1)
        self._twins: dict[tuple[TenantId, bytes], Twins] = {}
        self._tasks: set[asyncio.Task[Ran | None]] = set()

    async def once(self, tenant: TenantId, wanted: Wanted, work: Work, same: Same) -> Ran:
        """Do the work if it is ours to do, else wait for whoever does it; `same` makes an answer of one given under another id.

        Raises:
            Unavailable: a twin outlasted `TWIN_SECONDS`, or nothing was stored.
        """
        key, until, working = (tenant, wanted.key), clock.monotonic() + TWIN_SECONDS, False
        twins = self._twins.setdefault(key, Twins())
        twins.here += 1
        try:
            async with self._turns.of(key, within=TWIN_SECONDS):  # twins of this process wait here, and ask nobody meanwhile
                working = True
                if twins.settled is not None and twins.settled[0] == wanted.effect.fingerprint:
                    return Ran("replay", twins.settled[1])
                ran = await self._once(tenant, wanted, work, same, until)
                if ran.final and ran.answer is not None and ran.outcome != "conflict":
                    twins.settled = wanted.effect.fingerprint, ran.answer
                return ran
        except TimeoutError:
            if working:
                raise
            raise Unavailable(STILL_RUNNING) from None
        finally:
            twins.here -= 1
            if not twins.here:
                self._twins.pop(key, None)

    async def _once(self, tenant: TenantId, wanted: Wanted, work: Work, same: Same, until: float) -> Ran:
        """As `once`, for the one of this process whose turn it is."""
        owner, pause = uuid4(), FIRST_LOOK
        while True:
            outcome, answer, turn = await self._claim(tenant, wanted, owner)
            if outcome in ("replay", "conflict"):
                return Ran(outcome, answer)
            if outcome == "settled":
                return Ran("new", answer)
            if outcome in ("run", "same"):
                doing = work if outcome == "run" else saying(same, answer or "")
                ran = await self._shielded(self._run(tenant, wanted.key, owner, turn, doing))
                if ran is not None:
                    return ran
                owner = uuid4()  # the lease was lost: what stands is another's
            elif clock.monotonic() >= until:
                raise Unavailable(STILL_RUNNING)
            else:
                await asyncio.sleep(pause)
                pause = min(LONGEST_LOOK, pause * 1.5)

    async def _claim(self, tenant: TenantId, wanted: Wanted, owner: UUID) -> tuple[str, str | None, Turn]:
        effect = msgspec.json.encode(wanted.effect).decode()
        window = timedelta(seconds=wanted.business_seconds)
        values = (tenant, effect, owner, self._lease, wanted.business, window, wanted.repeatable)
        (row,) = await persistently(lambda: self._database.call(tenant, CLAIM, *values))
        return row[0], row[1], Turn(row[2], row[3], row[4])

    async def _shielded(self, run: "Awaitable[Ran | None]") -> Ran | None:
        """In a task of its own: whoever asked may go away, what has begun is finished."""
        task: asyncio.Task[Ran | None] = asyncio.ensure_future(run)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: "asyncio.Task[Ran | None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits has it

    async def _run(self, tenant: TenantId, key: bytes, owner: UUID, turn: Turn, work: Work) -> Ran | None:
        """Work under the lease and store how it ended; None when the lease was lost meanwhile."""
        beating = asyncio.create_task(self._keep(tenant, key, owner, turn.attempt))
        try:
            ended = await attempted(work, turn)
            finished = await self._finish(tenant, key, owner, turn.attempt, ended)
        finally:
            beating.cancel()
        if finished:
            return Ran("new", ended.answer, final=ended.state != "dead")
        metrics.RUNS.labels("late").inc()
        log.warning("a run lost its lease; its answer came too late and is not stored", state=ended.state, attempt=turn.attempt)
        return None

    async def _keep(self, tenant: TenantId, key: bytes, owner: UUID, attempt: int) -> None:
        """The heartbeat: renew the lease until it is lost or the run has ended."""
        while True:
            await asyncio.sleep(self._lease.total_seconds() / BEATS)
            try:
                # on no tenant's share: its own slow statements must not cost it the lease
                (row,) = await self._database.call_for_many(RENEW, tenant, key, owner, attempt, self._lease)
            except Exception as error:  # noqa: BLE001  a heartbeat that ends would lose the run
                if passing_condition(error) is None:
                    sentry.report(error)
                continue  # the next beat may come through before the lease is over
            if not row[0]:
                return

    async def _finish(self, tenant: TenantId, key: bytes, owner: UUID, attempt: int, ended: Ended) -> bool:
        """Store how it ended. Safe to repeat: a second time it finds the run finished, and the caller finds its own answer."""
        values = (tenant, key, owner, attempt, ended.state, ended.answer, ended.meter, ended.reason, ended.doubtful)
        until = clock.monotonic() + FINISH_SECONDS
        while True:
            try:
                (row,) = await persistently(lambda: self._database.call(tenant, FINISH, *values))
            except Unavailable:
                if clock.monotonic() >= until:
                    raise
                continue
            finished: bool = row[0]
            if finished:
                metrics.RUNS.labels(ended.state).inc()
            return finished


async def attempted(work: Work, turn: Turn) -> Ended:
    """Do the work; a fault of ours leaves it dead, to be run again, and is reported."""
    try:
        return await work(turn)
    except Exception as error:  # noqa: BLE001  whatever it is, the run must end
        sentry.report(error)
        log.error("a run failed by a fault of ours", error=type(error).__name__)
        return Ended("dead", "{}", reason=f"a fault of ours: {type(error).__name__}", doubtful=True)


def saying(same: Same, answer: str) -> Work:
    """Work that needs nobody: the answer is there."""

    async def work(_turn: Turn) -> Ended:
        return same(answer)

    return work

"""The dispatcher: takes due messages fairly over tenants, asks the pacer, leases, sends.

take_due (arrivals are folded in on the way) ▸ a slot per message, no connection held ▸ lease ▸ a task per message ▸ outcome, fenced.
A look finds the registrations that are due; what one look found is worked on in a round of its own, while the next look is
under way. Redis away: nothing leaves, picks are given back. Postgres away: what may have been leased is given back first.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec

from messaging import day_counts
from messaging.day_counts import DayCaps
from messaging.pacer import DayCap, Grant, Pacer, PacerUnavailable
from messaging.pacer import Slot as Reserved
from messaging.sending import BEGIN_SECONDS, NO_RESERVATION, Leased, Sending, Slot
from runtime import clock, metrics, sentry
from runtime.database import Database, passing_condition
from runtime.ids import TenantId
from runtime.logs import log
from tenants.switches import MODES, PACING

# the caps of a day are asked once for each registration that has something to send, in the same round trip
TAKE = """
WITH due AS MATERIALIZED (
  SELECT t.tenant_id, t.registration_id, t.message_id, t.segments, t.attempt, t.per_minute, t.owed_for, t.pacing, t.place
  FROM app.take_due_v3($1, $2, $3, $4, $5, $6) WITH ORDINALITY
    AS t(tenant_id, registration_id, message_id, segments, attempt, per_minute, owed_for, pacing, place)
), caps AS MATERIALIZED (
  SELECT g.tenant_id, g.registration_id, c.registration_cap, c.brand, c.brand_cap, c.codes
  FROM (SELECT d.tenant_id, d.registration_id, array_agg(d.message_id) AS messages FROM due AS d WHERE d.message_id IS NOT NULL
        GROUP BY d.tenant_id, d.registration_id) AS g CROSS JOIN LATERAL app.day_caps_v1(g.tenant_id, g.registration_id, g.messages) AS c
)
SELECT d.tenant_id, d.registration_id, d.message_id, d.segments, d.attempt, d.per_minute, d.owed_for, d.pacing,
       c.registration_cap, c.brand, c.brand_cap, c.codes
FROM due AS d LEFT JOIN caps AS c ON c.tenant_id = d.tenant_id AND c.registration_id = d.registration_id ORDER BY d.place
"""
LEASE = """
SELECT tenant_id, message_id, registration_id, recipient, body, class, attempt, due_at, slug, tier, account_sid, auth_token_sealed,
       api_key_sid, api_key_secret_sealed, from_number, messaging_service_sid, begun, expires_at, at_once, timed
FROM app.lease_v2($1, $2::jsonb, $3, $4, $5)
"""
GIVE_BACK = "SELECT app.give_back_v2($1, $2::jsonb)"
ENFORCE, OBSERVE, OFF = MODES[PACING]

ASKING_AT_ONCE = 16  # registrations whose slots are asked for in parallel
CLOSED_SECONDS = 1.0  # Redis away: nobody is looked at for so long
BLOCKED_SECONDS = 30.0  # a registration whose tier grants nothing (any more)
LATE_SECONDS = 0.5  # this process is so far behind its slots: it takes on no more, or it would miss them
FULL_SECONDS = 0.05  # a tenant with as many messages in flight as it may have


@dataclass(frozen=True, slots=True)
class Measures:
    """How much at once, and how long; seconds. `lease` outlasts the longest call to Twilio, `horizon` is how far ahead slots are taken."""

    arrivals: int = 1000  # folded in one look
    registrations: int = 64  # visited in one look
    quantum: int = 50  # messages of one registration in one look
    rounds: int = 4  # under way together
    in_flight: int = 1000  # messages picked and not settled
    per_tenant: int = 100  # of them, so that one tenant's slow account takes nobody's place
    horizon: float = 1.0
    claim: float = 10.0
    lease: float = 15.0
    check: float = 10.0
    look: float = 0.25


@dataclass(frozen=True, slots=True)
class Due:
    """A message that may leave as soon as it has a slot; `attempt` so far."""

    id: UUID
    segments: int
    attempt: int


Given = tuple[list[tuple[Due, Reserved]], Grant]  # each message that got a slot, and when to ask again


@dataclass(slots=True)
class Pick:
    """The due messages of one registration, claimed for a look at its slots; `owed_for`: seconds until what it was granted is paid off."""

    tenant: TenantId
    registration_id: UUID
    per_minute: int
    caps: DayCaps
    owed_for: float = 0.0
    pacing: str = ENFORCE
    messages: list[Due] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Granted:
    """What the pacer gave: slots by message, for how long the registration need not be looked at, and when all its slots are paid off."""

    pick: Pick
    slots: dict[UUID, Slot]
    waits: dict[Due, float]
    paced_for: float
    owed: float = 0.0

    def as_pick(self) -> dict[str, Any]:
        """As app.lease_v2 and app.give_back_v2 take it."""
        return {
            "tenant_id": self.pick.tenant,
            "registration_id": self.pick.registration_id,
            "paced_for": self.paced_for,
            "owed": self.owed,
            "granted": [{"id": due.id, "attempt": due.attempt, "wait": wait} for due, wait in self.waits.items()],
        }


class Dispatcher:
    """One worker's dispatcher; any number of workers share the schedule. Set `woken` when there may be something to send."""

    def __init__(self, database: Database, pacer: Pacer, sending: Sending, worker: UUID, measures: Measures | None = None) -> None:
        self.woken = asyncio.Event()
        self._database = database
        self._pacer = pacer
        self._sending = sending
        self._worker = worker
        self._measures = measures or Measures()
        self._asking = asyncio.Semaphore(ASKING_AT_ONCE)
        self._closed_until = 0.0
        self._late = 0.0
        self._flights: Counter[TenantId] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._rounds = 0

    @property
    def in_flight(self) -> int:
        """Messages picked by this worker and not settled."""
        return self._flights.total()

    async def run(self, stopping: asyncio.Event) -> None:
        """Dispatch until told to stop, then finish what was begun."""
        while not stopping.is_set():
            self.woken.clear()
            if self._may_look() and await self._look():
                continue
            await self._rest(stopping)
        await self.finish()

    async def dispatch_once(self) -> int:
        """Send what is due now, as far as the pace allows, and wait for the outcomes; gives how many messages were picked."""
        picked = 0
        while found := await self._pick_and_begin():
            picked += sum(len(pick.messages) for pick in found)
            while self._rounds:
                self.woken.clear()  # set at the end of each round
                await self.woken.wait()
        await self.finish()
        return picked

    async def finish(self) -> None:
        """Wait for rounds and calls under way, outcomes included."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    def _may_look(self) -> bool:
        measures = self._measures
        most = measures.in_flight // 10 if self._late > LATE_SECONDS else measures.in_flight
        return self._rounds < measures.rounds and self.in_flight < most and clock.monotonic() >= self._closed_until

    async def _rest(self, stopping: asyncio.Event) -> None:
        """Until woken or told to stop, at most until the next look."""
        waits = [asyncio.ensure_future(self.woken.wait()), asyncio.ensure_future(stopping.wait())]
        await asyncio.wait(waits, timeout=self._measures.look, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _look(self) -> bool:
        """Begin a round with what is due; whether there may be more right now, beyond what one look visits."""
        try:
            return len(await self._pick_and_begin()) >= self._measures.registrations
        except Exception as error:
            condition = passing_condition(error)
            if condition is None:
                raise
            metrics.STORAGE_TROUBLE.labels(condition).inc()
            log.warning("the schedule cannot be read", condition=condition)
            self._closed_until = clock.monotonic() + CLOSED_SECONDS
            return False

    async def _pick_and_begin(self) -> list[Pick]:
        picks = await self._take()
        working = [pick for pick in picks if pick.messages]
        if working:
            for pick in working:
                self._flights[pick.tenant] += len(pick.messages)
            self._rounds += 1
            self._start(self._round(working))
        return picks

    async def _take(self) -> list[Pick]:
        """The registrations visited, with their due messages, some without."""
        measures = self._measures
        room = max(1, measures.in_flight - self.in_flight)
        quantum = max(1, min(measures.quantum, room // 8))
        arguments = (measures.arrivals, measures.registrations, quantum, measures.horizon, timedelta(seconds=measures.claim))
        picks: dict[tuple[UUID, UUID], Pick] = {}
        for tenant, registration, message, segments, attempt, *rest in await self._database.call_for_many(TAKE, self._worker, *arguments):
            pick = picks.get((tenant, registration))
            if pick is None:
                per_minute, owed_for, pacing, own, brand, brands, codes = rest
                caps = DayCaps(own, brand, brands, frozenset(codes or ()))
                pick = picks[tenant, registration] = Pick(TenantId(tenant), registration, per_minute or 0, caps, owed_for, pacing)
            if message is not None:
                pick.messages.append(Due(message, segments, attempt))
        return list(picks.values())

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _round(self, picks: Sequence[Pick]) -> None:
        """Slots, leases, and a task for each message that got both."""
        with sentry.isolated(sentry.NOBODY, "dispatch"):
            begun: Counter[TenantId] = Counter()
            try:
                granted = await asyncio.gather(*map(self._grant, picks))
                leased = await self._lease(granted)
                slots = {message: slot for each in granted for message, slot in each.slots.items()}
                for message in leased:
                    begun[message.tenant] += 1
                    self._start(self._fly(message, slots[message.id]))
            except Exception as error:  # noqa: BLE001  one round's bug must not end the dispatcher
                log.exception("a round failed")
                sentry.report(error)
            finally:
                self._rounds -= 1
                for pick in picks:
                    self._land(pick.tenant, len(pick.messages))
                for tenant, count in begun.items():
                    self._flights[tenant] += count
                metrics.IN_FLIGHT.set(self.in_flight)
                self.woken.set()

    async def _fly(self, message: Leased, slot: Slot) -> None:
        self._late = clock.monotonic() - slot.at
        try:
            await self._sending.send(message, slot)
        finally:
            if self.in_flight >= self._measures.in_flight:
                self.woken.set()  # there is room again
            self._land(message.tenant, 1)
            metrics.IN_FLIGHT.set(self.in_flight)

    def _land(self, tenant: TenantId, count: int) -> None:
        self._flights[tenant] -= count
        if self._flights[tenant] <= 0:
            del self._flights[tenant]

    async def _grant(self, pick: Pick) -> Granted:
        """Slots for as many of the messages as may leave soon."""
        measures = self._measures
        elsewhere = self._flights[pick.tenant] - len(pick.messages)
        asked = pick.messages[: max(0, measures.per_tenant - elsewhere)]
        if not pick.per_minute or not asked:
            return Granted(pick, {}, {}, FULL_SECONDS if pick.per_minute else BLOCKED_SECONDS)
        granted = None if pick.pacing == OFF else await self._ask(pick, asked)
        if pick.pacing != ENFORCE:
            return self._at_once(pick, asked, granted)
        if granted is None:
            self._closed_until = clock.monotonic() + CLOSED_SECONDS
            return Granted(pick, {}, {}, CLOSED_SECONDS)
        now, (given, grant) = clock.monotonic(), granted
        slots = {due.id: Slot(now + slot.wait, now + slot.wait + measures.lease, slot.reservation) for due, slot in given}
        return Granted(pick, slots, {due: slot.wait for due, slot in given}, self._paced_for(grant), grant.owed)

    async def _ask(self, pick: Pick, asked: Sequence[Due]) -> Given | None:
        """What the pacer grants, within the caps of the day; None when it does not answer."""

        def ask(segments: list[int], counters: list[DayCap]) -> Awaitable[Grant]:
            known = pick.tenant, pick.registration_id, pick.per_minute
            return self._pacer.reserve(*known, segments, horizon=self._measures.horizon, day_caps=counters, owed=pick.owed_for)

        try:
            async with self._asking:
                return await day_counts.reserve(ask, pick.registration_id, asked, pick.caps)
        except PacerUnavailable:
            metrics.PACER_CLOSED.inc()
            if clock.monotonic() >= self._closed_until:
                log.warning("the pacer does not answer", pacing=pick.pacing)
            return None

    def _at_once(self, pick: Pick, asked: Sequence[Due], granted: Given | None) -> Granted:
        """The switch pacing is not at enforce: all leave at once, whatever was granted; under observe what would have waited is told."""
        now = clock.monotonic()
        given = dict(granted[0]) if granted else {}
        if pick.pacing == OBSERVE and granted is not None:
            waiting = len(asked) - sum(slot.wait <= 0 for slot in given.values())
            metrics.PACING_OBSERVED.inc(waiting)
            if waiting:
                log.info("texts would have waited for their slots", registration_id=str(pick.registration_id), texts=waiting)
        reservations = {due.id: given[due].reservation if due in given else NO_RESERVATION for due in asked}
        slots = {message: Slot(now, now + self._measures.lease, reservation) for message, reservation in reservations.items()}
        return Granted(pick, slots, dict.fromkeys(asked, 0.0), 0.0, granted[1].owed if granted else 0.0)

    def _paced_for(self, grant: Grant) -> float:
        """When to look again: at once if all got a slot; else when a good part of the horizon is free again, not at each slot."""
        if grant.retry_in is None:
            return 0.0
        return grant.retry_in if grant.refused else grant.retry_in + 0.4 * self._measures.horizon

    async def _lease(self, granted: Sequence[Granted]) -> list[Leased]:
        """The messages that are ours to send now. When the answer is lost none is: what was leased is given back."""
        document = msgspec.json.encode([each.as_pick() for each in granted]).decode()
        lease, check = timedelta(seconds=self._measures.lease), timedelta(seconds=self._measures.check)
        try:
            return [
                Leased.of(record)
                for record in await self._database.call_for_many(LEASE, self._worker, document, lease, check, BEGIN_SECONDS)
            ]
        except Exception as error:
            await self._give_back(document)
            if passing_condition(error) is None:
                raise
            return []

    async def _give_back(self, document: str) -> None:
        """Until storage takes it, or the claims and leases have ended by themselves."""
        give_up = clock.monotonic() + self._measures.lease
        while clock.monotonic() < give_up:
            self._closed_until = clock.monotonic() + CLOSED_SECONDS
            await asyncio.sleep(self._measures.look)
            try:
                await self._database.call_for_many(GIVE_BACK, self._worker, document)
            except Exception as error:
                condition = passing_condition(error)
                if condition is None:
                    raise
                metrics.STORAGE_TROUBLE.labels(condition).inc()
            else:
                return

"""Claiming effects: one round trip that claims each key, acts and stores the answer, or finds what the first delivery stored.

Deliveries of one tenant that wait at the same time share a round trip: an idle tenant's leaves at once, a busy tenant's take
the next one together, and no tenant holds more than its share of the connections. Every call is safe to repeat: if the
connection is lost after COMMIT was sent, the second try finds what the first one stored.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from uuid import UUID

import asyncpg
import msgspec

from runtime.database import Database, passing_condition
from runtime.ids import TenantId
from webhooks.call_records import Told
from webhooks.modes import ENFORCE, OBSERVE, Mode
from webhooks.persistence import persistently

ACCEPT = "SELECT n, outcome, answer, message_id, refusal FROM app.accept_v3($1, $2, $3, $4, $5, $6, $7, $8)"
ACCEPT_UNCHECKED = "SELECT n, outcome, answer, message_id, refusal FROM app.accept_unchecked_v2($1, $2, $3, $4, $5, $6, $7, $8)"
RECORD_CALL = "SELECT outcome FROM app.record_call_v3($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
LARGEST_BATCH = 64
TOOL_CALLS = "tool_calls"  # the meter


class TextLimits(msgspec.Struct, frozen=True):
    """How many texts a call may have, and a recipient since `day_from`, before which no id from `since_id` on was made."""

    per_call: int
    per_recipient: int
    day_from: datetime
    since_id: UUID


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """One effect to claim, as app.accept_v3 takes it. With `store` false nothing is written: only a stored answer is looked for.

    `business` is the number under which the same text meets itself under another id; `duplicate_answer` is then its answer. `limits`
    hold for a text of a call, `counted` are the numbers of its call and of its recipient: texts that share one are counted one after
    another. `refusal` is why the tenant's policy refused a text before the database was asked.
    """

    webhook_id: UUID
    place: int
    source: str
    type: str
    key: str
    fingerprint: str
    answer: str
    store: bool = True
    state: str = "done"
    call_id: str | None = None
    assistant_id: str | None = None
    name: str | None = None
    tool_call_id: str | None = None
    arguments: str | None = None
    caller: str | None = None
    replay_of: UUID | None = None
    suppressed_answer: str | None = None
    duplicate_answer: str | None = None
    same_within: float | None = None  # seconds
    meter: str | None = None
    message: dict[str, object] | None = None
    business: int | None = None
    counted: tuple[int, int] | None = None
    limits: TextLimits | None = None
    call_full_answer: str | None = None
    recipient_full_answer: str | None = None
    refusal: str | None = None
    refusal_id: UUID | None = None


class Claimed(msgspec.Struct, frozen=True):
    """What became of an effect.

    new, replay, conflict (same key, something else asked), unfinished (somebody else's server is being asked) or absent (not
    stored); away from enforce also repeated (it ran, and would have been a replay) and unchecked. `refusal` is why the tenant's
    policy refused its text just now; a replay's refusal was told before.
    """

    outcome: str
    answer: str | None
    message_id: UUID | None
    refusal: str | None = None


Waiting = tuple[Sequence[Effect], "asyncio.Future[list[Claimed]]"]


@dataclass(slots=True)
class Lane:
    """What waits of one tenant under one mode, and how many round trips are under way for it."""

    waiting: "deque[Waiting]" = field(default_factory=deque)
    under_way: int = 0


class Claims:
    """The store of idempotency keys."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lanes: dict[tuple[TenantId, Mode], Lane] = {}
        self._trips: set[asyncio.Task[None] | asyncio.Task[str]] = set()

    async def accept(self, tenant: TenantId, effects: Sequence[Effect], mode: Mode = ENFORCE) -> list[Claimed]:
        """Claim the effects of one delivery, in one transaction; the answers come in the effects' order.

        Where the delivery asks for one text under two ids, the second is claimed after the first, which it has to see.

        Raises:
            Unavailable: nothing was stored.
        """
        if len(effects) == 1:  # as most are
            return await persistently(lambda: self._next_trip(tenant, effects, mode))
        claimed: dict[int, Claimed] = {}
        for wave in waves(effects):
            chosen = [effects[place] for place in wave]
            found = await persistently(lambda chosen=chosen: self._next_trip(tenant, chosen, mode))  # type: ignore[misc]  # binds this wave
            claimed.update(zip(wave, found, strict=True))
        return [claimed[place] for place in range(len(effects))]

    async def _next_trip(self, tenant: TenantId, effects: Sequence[Effect], mode: Mode) -> list[Claimed]:
        """Take a place in the tenant's next round trip, which leaves now if the tenant has a connection left."""
        answered: asyncio.Future[list[Claimed]] = asyncio.get_running_loop().create_future()
        lane = self._lanes.setdefault((tenant, mode), Lane())
        lane.waiting.append((effects, answered))
        if lane.under_way < self._database.shares.most:
            lane.under_way += 1
            trip = asyncio.ensure_future(self._run_lane(tenant, mode, lane))
            self._trips.add(trip)
            trip.add_done_callback(self._trips.discard)
        claimed = await answered
        if any(effect.store and each.outcome == "absent" for effect, each in zip(effects, claimed, strict=True)):
            raise asyncpg.SerializationError("a key ended between the claim and the look")  # claim again
        return claimed

    async def _run_lane(self, tenant: TenantId, mode: Mode, lane: Lane) -> None:
        try:
            while lane.waiting:
                await self._trips_of(tenant, mode, next_batch(lane.waiting))
        finally:
            lane.under_way -= 1
            if not lane.under_way and not lane.waiting:
                self._lanes.pop((tenant, mode), None)

    async def _trips_of(self, tenant: TenantId, mode: Mode, batch: "list[Waiting]") -> None:
        """One round trip for a batch; if something in it cannot be stored at all, one for each, so that only that one fails."""
        try:
            await self._trip(tenant, mode, batch)
        except Exception as error:  # noqa: BLE001  whatever it was, each of them is told
            if len(batch) > 1 and passing_condition(error) is None:
                for each in batch:
                    await self._trips_of(tenant, mode, [each])
                return
            for _, answered in batch:
                if not answered.done():
                    answered.set_exception(error)

    async def _trip(self, tenant: TenantId, mode: Mode, batch: "list[Waiting]") -> None:
        """One round trip for all effects of a batch; each delivery gets its own answers."""
        flat = [effect for effects, _ in batch for effect in effects]
        if mode == ENFORCE:
            shared = crowded(flat)
            rows = await self._database.call(tenant, ACCEPT, tenant, as_json(flat, shared), locks_of(flat), bool(shared), *limits_of(flat))
        else:
            rows = await self._database.call(
                tenant, ACCEPT_UNCHECKED, tenant, as_json(flat), locks_of(flat), mode == OBSERVE, *limits_of(flat)
            )
        by_place = {row[0]: Claimed(row[1], row[2], row[3], row[4]) for row in rows}
        start = 0
        for effects, answered in batch:
            if not answered.done():  # whoever asked may have gone away; the effect stands all the same
                answered.set_result([by_place[place] for place in range(start, start + len(effects))])
            start += len(effects)

    async def record_call(
        self,
        tenant: TenantId,
        webhook: UUID,
        kind: str,
        call_id: str,
        assistant_id: str | None,
        key: bytes,
        fingerprint: bytes,
        told: Told,
        *,
        final: bool,
        mode: Mode = ENFORCE,
    ) -> str:
        """Record what a message tells of a call; answers new, replay, or differs (a repetition that says something else).

        Away from enforce also repeated and unchecked. Whatever the answer, what it tells is in the call's record.

        Raises:
            Unavailable: nothing was stored.
        """
        facts = msgspec.json.encode(told.facts).decode()

        async def once() -> str:
            rows = await self._database.call(
                tenant, RECORD_CALL, tenant, webhook, kind, call_id, assistant_id, key, fingerprint, facts, final, mode,
                told.standing, told.says, told.keep_days,
            )  # fmt: skip  # one line would hide which column is which
            outcome: str = rows[0][0]
            return outcome

        return await persistently(lambda: self._apart(once()))

    async def _apart(self, work: Coroutine[None, None, str]) -> str:
        """In a task of its own: whoever gives up waiting does not wait for the driver to give up too."""
        task = asyncio.ensure_future(work)
        self._trips.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: "asyncio.Task[str]") -> None:
        self._trips.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits has it; if nobody does any more, it has been answered for


def waves(effects: Sequence[Effect]) -> list[list[int]]:
    """The places of the effects that may be claimed together: one text under two ids takes two turns."""
    made: list[list[int]] = []
    texts: list[dict[int, str]] = []
    for place, effect in enumerate(effects):
        turn = 0
        if effect.business is not None:
            while turn < len(made) and texts[turn].get(effect.business, effect.key) != effect.key:
                turn += 1
        if turn >= len(made):
            made.append([])
            texts.append({})
        made[turn].append(place)
        if effect.business is not None:
            texts[turn][effect.business] = effect.key
    return made


def next_batch(waiting: "deque[Waiting]") -> "list[Waiting]":
    """The deliveries that leave together: as many as wait, up to one that asks for a text of theirs under another id."""
    batch: list[Waiting] = []
    texts: dict[int, str] = {}
    while waiting and len(batch) < LARGEST_BATCH:
        wanted = [(effect.business, effect.key) for effect in waiting[0][0] if effect.business is not None]
        if any(texts.get(number, key) != key for number, key in wanted):
            break
        texts.update(wanted)
        batch.append(waiting.popleft())
    return batch


def locks_of(effects: list[Effect]) -> list[int]:
    """The numbers of the locks that a batch takes, in ascending order, so that nobody waits in a ring."""
    numbers = {effect.business for effect in effects if effect.business is not None}
    return sorted(numbers.union(*(effect.counted for effect in effects if effect.counted is not None)))


def limits_of(effects: list[Effect]) -> tuple[int | None, int | None, datetime | None, UUID | None]:
    """The limits of a batch: those of its last text of a call. They are the tenant's, and may differ only while they are being changed."""
    limits = next((effect.limits for effect in reversed(effects) if effect.limits is not None), None)
    return (None, None, None, None) if limits is None else (limits.per_call, limits.per_recipient, limits.day_from, limits.since_id)


def crowded(effects: list[Effect]) -> frozenset[int]:
    """The places of the texts that share their call or their recipient with another text of the batch."""
    found = Counter(number for effect in effects if effect.counted is not None for number in effect.counted)
    if all(times == 1 for times in found.values()):  # as usual
        return frozenset()
    return frozenset(
        place for place, effect in enumerate(effects) if effect.counted is not None and any(found[number] > 1 for number in effect.counted)
    )


def as_json(effects: list[Effect], shared: frozenset[int] = frozenset()) -> str:
    """The effects as app.accept_v3 takes them, in the order of their keys: numbered by their places, each with its message's columns.

    What is null is left out; the `shared` places are marked as crowded.
    """
    listed = []
    for number, effect in sorted(enumerate(effects), key=key_of):
        columns = columns_of(effect)
        if effect.message:
            columns |= effect.message
        columns["n"] = number
        if number in shared:
            columns["crowded"] = True
        listed.append(columns)
    return msgspec.json.encode(listed).decode()


def key_of(numbered: tuple[int, Effect]) -> str:
    """What effects are put in order by."""
    return numbered[1].key


def columns_of(effect: Effect) -> dict[str, object]:
    """An effect's own columns by name; what is null is left out."""
    return {name: value for name, value in zip(COLUMNS, VALUES(effect), strict=True) if value is not None}


COLUMNS = tuple(name for name in Effect.__struct_fields__ if name not in ("message", "business", "counted", "limits"))
VALUES = attrgetter(*COLUMNS)

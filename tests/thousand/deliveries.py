"""Delivering every id many times, all at once and in any order, and judging what came back."""

import asyncio
import itertools
import random
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import asyncpg

from tests.thousand.ids import Id, expected

ANSWERED, ACCEPTED, AWAY = 200, 202, 503
AT_ONCE = 512
TRIES = 5  # of one delivery while storage is away
SHOWN = 5

COUNTS = """
SELECT (SELECT count(*) FROM processed_webhooks WHERE tenant_id = $1 AND type <> 'old') AS keys,
       (SELECT count(*) FROM messages WHERE tenant_id = $1) AS messages,
       (SELECT count(DISTINCT (recipient, body)) FROM messages WHERE tenant_id = $1) AS texts,
       (SELECT coalesce(sum(segments), 0) FROM control.arrivals WHERE tenant_id = $1) AS arrivals,
       (SELECT count(*) FROM calls WHERE tenant_id = $1) AS "calls rows"
"""
METERS = "SELECT meter, count(*) FROM usage_events WHERE tenant_id = $1 GROUP BY meter"


@dataclass(frozen=True, slots=True)
class Party:
    """A tenant as Vapi and its own program know it."""

    tenant: uuid.UUID
    slug: str
    api_key: str
    webhook_secret: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, and by the clock of whoever asked, when."""

    status: int
    body: bytes
    replayed: bool
    at: float = 0.0


Post = Callable[[int, str, bytes, Mapping[str, str]], Awaitable[Answer]]  # process, path, body, headers


@dataclass
class Delivered:
    """The answers by tenant and id; `away` counts honest refusals that were repeated; `a_fifth` is set when so much is answered."""

    answers: dict[tuple[Party, Id], list[Answer]]
    away: int = 0
    a_fifth: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def of(cls, parties: Sequence[Party], ids: Sequence[Id]) -> Self:
        """Nothing yet."""
        return cls({(party, each): [] for party in parties for each in ids})

    @property
    def moments(self) -> list[float]:
        """When each answer came."""
        return sorted(answer.at for answers in self.answers.values() for answer in answers)


async def deliver(post: Post, found: Delivered, times: int, processes: int, seed: int) -> None:
    """Every id of every tenant so many times, in random order over the processes; `AT_ONCE` are under way at any moment."""
    orders = [(party, each, number) for party, each in found.answers for number in range(times)]
    random.Random(seed).shuffle(orders)  # noqa: S311  an order, told by its seed
    queue, answered = iter(enumerate(orders)), itertools.count(1)

    async def poster() -> None:
        for place, order in queue:
            await one(post, found, *order, process=place % processes)
            if next(answered) * 5 >= len(orders):
                found.a_fifth.set()

    await asyncio.gather(*(poster() for _ in range(AT_ONCE)))


async def one(post: Post, found: Delivered, party: Party, wanted: Id, number: int, *, process: int) -> None:
    """One delivery, sent again while storage is away, as Vapi does."""
    path = f"/vapi-webhook/{party.slug}" if wanted.is_webhook else "/v1/messages"
    secret = party.webhook_secret if wanted.is_webhook else party.api_key
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    headers |= {} if wanted.is_webhook else {"Idempotency-Key": wanted.name}
    for _ in range(TRIES):
        answer = await post(process, path, wanted.body(number), headers)
        if answer.status != AWAY:
            break
        found.away += 1
        await asyncio.sleep(0.2)
    found.answers[party, wanted].append(answer)


def faults_of_answers(found: Delivered, times: int) -> list[str]:
    """Each id of each tenant: as many answers as deliveries, all equal, one that is no replay."""
    wrong = []
    for (party, wanted), answers in found.answers.items():
        taken = {ANSWERED if wanted.is_webhook else ACCEPTED}
        statuses, bodies = {answer.status for answer in answers}, {answer.body for answer in answers}
        originals = sum(not answer.replayed for answer in answers)
        if len(answers) != times or statuses != taken:
            wrong.append(f"{party.slug} {wanted.name}: {len(answers)} answers with {sorted(statuses)}: {min(bodies)!r}")
        elif len(bodies) != 1 or originals != 1:
            wrong.append(f"{party.slug} {wanted.name}: {len(bodies)} different answers, {originals} that are no replay")
    return wrong[:SHOWN] + ([f"{len(wrong)} ids in all"] if len(wrong) > SHOWN else [])


async def faults_of_effects(owner: "asyncpg.Connection[asyncpg.Record]", party: Party, ids: Sequence[Id]) -> list[str]:
    """Where a tenant's effects, seen as the owner, are not one for each id."""
    row = await owner.fetchrow(COUNTS, party.tenant)
    counted = dict(row or {}) | dict(await owner.fetch(METERS, party.tenant))
    wanted = expected(ids)
    return [f"{party.slug}: {counted.get(name, 0)} {name}, not {number}" for name, number in wanted.items() if counted.get(name) != number]

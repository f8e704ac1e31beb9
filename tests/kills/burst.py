"""Many posters, each delivery repeated until somebody vouches for it; what was answered is kept."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.kills.client import Answer, Http, Unreachable

GIVE_UP_SECONDS = 90.0
PAUSE_AFTER_FAILURE = 0.1
UNAVAILABLE = 503


@dataclass
class Delivery:
    """One request, and what every posting of it was told. `lost` counts postings that ended without an answer."""

    name: str
    url: str
    key: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    lost: int = 0

    @property
    def bodies(self) -> set[bytes]:
        """The different answers it got; more than one is a broken promise."""
        return {answer.body for answer in self.answers}

    @property
    def saved_by_replay(self) -> bool:
        """Whether its effect was there, and its answer was not: the first answer anybody saw was a replay after a loss."""
        return self.lost > 0 and all(answer.replayed for answer in self.answers)


@dataclass
class Burst:
    """Deliveries, each posted `copies` times side by side, every posting repeated until a 2xx."""

    http: Http
    deliveries: Sequence[Delivery]
    posters: int = 16
    copies: int = 2
    pause: float = 0.0  # seconds a poster rests between two postings, to stretch the burst
    faults: list[str] = field(default_factory=list)
    unavailable: int = 0  # answers 503
    odd: Counter[str] = field(default_factory=Counter)

    @property
    def taken(self) -> int:
        """How many of the deliveries have a 2xx."""
        return sum(bool(delivery.answers) for delivery in self.deliveries)

    @property
    def share(self) -> float:
        """The same, as a share of all."""
        return self.taken / len(self.deliveries)

    async def run(self) -> float:
        """Post everything; gives the seconds it took."""
        began = time.monotonic()
        queue = itertools.chain.from_iterable([delivery] * self.copies for delivery in self.deliveries)  # twins race
        await asyncio.gather(*(self._poster(queue) for _ in range(self.posters)))
        self.faults += [f"answered {text} ({count} times)" for text, count in self.odd.most_common(10)]
        return time.monotonic() - began

    async def replay(self) -> None:
        """Post every delivery once more, now that nothing is being killed; each must be answered from the record."""
        queue = iter(self.deliveries)
        before = {id(delivery): len(delivery.answers) for delivery in self.deliveries}
        await asyncio.gather(*(self._poster(queue) for _ in range(self.posters)))
        for delivery in self.deliveries:
            if any(not answer.replayed for answer in delivery.answers[before[id(delivery)] :]):
                self.faults.append(f"{delivery.name}: was run again instead of replayed: {delivery.answers[-1]}")
            if len(delivery.bodies) > 1:
                self.faults.append(f"{delivery.name}: got {len(delivery.bodies)} different answers: {sorted(delivery.bodies)}")
            if sum(not answer.replayed for answer in delivery.answers) > 1:
                self.faults.append(f"{delivery.name}: more than one answer says that it is no replay")

    async def _poster(self, queue: Iterable[Delivery]) -> None:
        for delivery in queue:
            await self._until_taken(delivery)
            await asyncio.sleep(self.pause)

    async def _until_taken(self, delivery: Delivery) -> None:
        give_up, last = time.monotonic() + GIVE_UP_SECONDS, ""
        while time.monotonic() < give_up:
            try:
                answer = await self.http.call("POST", delivery.url, delivery.body, key=delivery.key, headers=delivery.headers)
            except Unreachable as error:
                delivery.lost += 1
                last = str(error)
            else:
                if answer.taken:
                    delivery.answers.append(answer)
                    return
                last = f"{answer.status} {answer.body[:300]!r}"
                self._refused(answer, last)
            await asyncio.sleep(PAUSE_AFTER_FAILURE)
        self.faults.append(f"{delivery.name}: no 2xx within {GIVE_UP_SECONDS:g} s; at last {last}")

    def _refused(self, answer: Answer, text: str) -> None:
        """Storage away is the one honest refusal of what is well-formed."""
        if answer.status == UNAVAILABLE:
            self.unavailable += 1
        else:
            self.odd[text] += 1

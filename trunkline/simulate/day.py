"""`trunkline simulate day`: a day of calls for many tenants, played faster than life, and whether both books agree at its end."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from runtime import clock
from trunkline.simulate import player
from trunkline.simulate.agreement import Recorded, Sent, differing, failed_in, frequent_in, sent_in
from trunkline.simulate.api import ApiTrouble, client_of
from trunkline.simulate.plan import PlannedCall, planned
from trunkline.simulate.records import Records
from trunkline.simulate.seats import Seat, Seats
from trunkline.simulate.target import Target, look
from trunkline.simulate.view import ACCEPTED, View

LOOK_EVERY = 1.0
MOST_FAILED = 8  # in a row, for each call that plays at once: two messages with all their tries
AFTER_A_STOP = 3.0  # whoever pressed Ctrl-C does not wait for the counts of duplicates


@dataclass(frozen=True)
class Wanted:
    """A day to play. `speed`: how many times faster than life; `patience`: seconds to wait for the books to agree."""

    tenants: int
    calls: int
    seed: str
    speed: float
    duplicates: float
    at_once: int
    patience: float


@dataclass
class Day:
    """The day while it is played."""

    target: Target
    wanted: Wanted
    view: View
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    books: dict[int, list[player.Book]] = field(default_factory=dict)  # by seat
    broken: list[str] = field(default_factory=list)
    interrupted: bool = False
    given_up: bool = False
    _failed: int = 0  # deliveries in a row that got no good answer
    _playing: asyncio.Task[Any] | None = None
    _calling: dict[str, asyncio.Task[None]] = field(default_factory=dict)  # by call

    def stop(self) -> None:
        """Begin no further call and end with what was done; a second time: end now."""
        if self.interrupted and self._playing is not None:
            self._playing.cancel()
        self.interrupted = True
        self.stopped.set()

    async def play(self) -> dict[str, Any]:
        """Tenants, calls, comparison; the result as programs get it.

        Raises:
            NotPlayable: there is nothing to play against. ApiTrouble: the tenants cannot be had.
        """
        self._playing = asyncio.current_task()
        await look(self.target)
        began = clock.now()
        started = clock.monotonic()
        async with client_of(self.target) as client, player.client_of(self.target.vapi_url) as vapi:
            seats = Seats(client, self.target)
            try:
                taken = await seats.take_day(self.wanted.tenants, self.view.seated)
                records = [Records(seat, began) for seat in taken]
                await asyncio.gather(*(each.begin() for each in records))
                await self._calls(vapi, taken)
                played = clock.monotonic() - started
                recorded = await self._agree(records)
            finally:
                await seats.give_back()
        return self._result([seat.slug for seat in taken], recorded, played, clock.monotonic() - started)

    async def _calls(self, vapi: httpx.AsyncClient, seats: list[Seat]) -> None:
        """Each call when its time has come, so many at once at most."""
        gate = asyncio.Semaphore(self.wanted.at_once)
        began = clock.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for call in planned(self.wanted.seed, self.wanted.tenants, self.wanted.calls):
                await self._sleep(began + call.at / self.wanted.speed - clock.monotonic())
                await gate.acquire()
                if self.stopped.is_set():
                    return
                call_id = str(uuid4())
                self._calling[call_id] = tasks.create_task(self._call(vapi, seats[call.seat], call, call_id))
                self._calling[call_id].add_done_callback(lambda _: gate.release())

    async def _call(self, vapi: httpx.AsyncClient, seat: Seat, call: PlannedCall, call_id: str) -> None:
        """Play it; of one that is broken off, what was sent until then counts."""
        more = {"script": "any", "seed": call.seed, "speed": self.wanted.speed, "duplicates": self.wanted.duplicates, "reorder": 0.05}
        book: player.Book | None
        try:
            book = await player.play(vapi, player.order_for(seat, call_id, call.caller, **more), self._delivered)
        except player.BrokeOff as error:
            self.broken.append(f"a call of {seat.slug}: {error}")
            book = await player.book_of(vapi, call_id)
        except asyncio.CancelledError:
            if not self.given_up:
                raise
            book = await player.book_of(vapi, call_id)
        del self._calling[call_id]
        if book is not None:
            self.books.setdefault(call.seat, []).append(book)
        self.view.played()

    def _delivered(self, delivery: player.Delivery) -> None:
        """Note a delivery. A Trunkline that answers nothing well any more is given up: each message to it is waited for."""
        self.view.delivered(delivery)
        self._failed = 0 if delivery["status"] in ACCEPTED else self._failed + 1
        if self._failed >= MOST_FAILED * self.wanted.at_once and not self.given_up:
            self.given_up = True
            self.stopped.set()
            for task in self._calling.values():
                task.cancel()

    async def _sleep(self, seconds: float) -> None:
        """So long, or until stopped."""
        if seconds > 0:
            await asyncio.wait([waiting := asyncio.ensure_future(self.stopped.wait())], timeout=seconds)
            waiting.cancel()

    async def _agree(self, records: list[Records]) -> list[Recorded | None]:
        """What is recorded, as soon as it agrees with what was sent: duplicates are folded in once a minute. None: it cannot be read."""
        found: list[Recorded | None] = [None] * len(records)
        waiting = set(range(len(records)))
        until = clock.monotonic() + (AFTER_A_STOP if self.stopped.is_set() else self.wanted.patience)
        while waiting:
            for place in sorted(waiting):
                found[place] = await recorded_now(records[place], self._books(place)) or found[place]
                if not differing(sent_in(self._books(place)), found[place]):
                    waiting.discard(place)
            if not waiting or clock.monotonic() >= until:
                break
            self.view.waits(len(waiting))
            await asyncio.sleep(min(LOOK_EVERY, self.wanted.patience))
            if self.stopped.is_set():
                until = min(until, clock.monotonic() + AFTER_A_STOP)
        return found

    def _books(self, place: int) -> list[player.Book]:
        return self.books.get(place, [])

    def _result(self, slugs: list[str], recorded: list[Recorded | None], played: float, took: float) -> dict[str, Any]:
        rows = [row_of(slug, self._books(place), recorded[place]) for place, slug in enumerate(slugs)]
        everything = [book for books in self.books.values() for book in books]
        read = [each for each in recorded if each is not None]
        total = {name: sum(each[name] for each in read) for name in read[0]} if len(read) == len(recorded) and read else None
        agrees = not self.broken and not self.given_up and all(row["agrees"] for row in rows)
        return {
            "seed": self.wanted.seed,
            "rows": rows,
            "total": row_of("total", everything, total),  # type: ignore[arg-type]  # sum() may give the int 0
            "frequent": frequent_in(everything),
            "failed_deliveries": failed_in(everything),
            "calls_planned": self.wanted.calls,
            "calls_broken": self.broken,
            "interrupted": self.interrupted,
            "given_up": self.given_up,
            "played_seconds": round(played, 1),
            "took_seconds": round(took, 1),
            "agrees": agrees,
        }


async def recorded_now(records: Records, books: list[player.Book]) -> Recorded | None:
    """What is recorded of these calls; None while it cannot be read."""
    try:
        return await records.read({book["call_id"] for book in books})
    except ApiTrouble:
        return None


def row_of(name: str, books: list[player.Book], recorded: Recorded | None) -> dict[str, Any]:
    """One line of the table, as JSON."""
    sent: Sent = sent_in(books)
    wrong = differing(sent, recorded)
    return {
        "tenant": name,
        "calls": len(books),
        "sent": {figure: {"least": str(span.least), "most": str(span.most)} for figure, span in sent.items()},
        "recorded": None if recorded is None else texts_of(recorded),
        "differs": wrong,
        "agrees": not wrong,
    }


def texts_of(recorded: Mapping[str, Any]) -> dict[str, str]:
    """Amounts as decimal text."""
    return {name: str(value) for name, value in recorded.items()}

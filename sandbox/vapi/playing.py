"""Plays a whole call: builds each message when it is first sent, delivers it as Vapi does, and keeps the books."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from random import Random
from typing import Annotated, Any

import msgspec

from sandbox.vapi.books import Books, CallBook
from sandbox.vapi.call_bodies import CallBodies, Parties
from sandbox.vapi.credentials import Credential
from sandbox.vapi.figures import as_told
from sandbox.vapi.order import running_order
from sandbox.vapi.player import Backoff, Delivery, Player, answered
from sandbox.vapi.scripts import Report, Script, Status, Step, Tools
from sandbox.vapi.stories import story

Chance = Annotated[float, msgspec.Meta(ge=0, le=1)]
Note = Callable[[str | None, str, dict[str, Any]], Any]
Seen = Callable[[dict[str, Any]], Awaitable[None]]
_ANSWER_SHOWN = 4000


class Play(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A call to play: a script, or one by name (`any` draws one), against a webhook URL.

    The same seed plays the same messages in the same order with the same amounts; the ids of calls differ unless one is given.
    `key`: the API key that may read the call; without one every key may. `lost_report` keeps the report back.
    """

    url: Annotated[str, msgspec.Meta(pattern="^https?://")]
    script: Script | str = "booking"
    seed: int | str = 0
    call_id: str | None = None
    assistant_id: str | None = None
    customer_number: Annotated[str, msgspec.Meta(pattern=r"^\+[1-9][0-9]{6,14}$")] = "+12135550123"
    phone_number: dict[str, Any] = {}
    credential: Credential = msgspec.field(default_factory=Credential)
    headers: dict[str, str] = {}
    backoff: Backoff | None = None
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=300)] = 20.0
    speed: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    duplicates: Chance = 0
    reorder: Chance = 0
    lost_report: bool = False
    key: str | None = None
    stream: bool = False

    def rng(self, purpose: str) -> Random:
        """The draws for one purpose: more duplicates do not change what is said."""
        return Random(f"{self.seed}:{purpose}")  # noqa: S311  a play, no secret


class CallPlayer:
    """Plays calls and keeps their books; `note` tells `GET /call/{id}` what is known of a call."""

    def __init__(self, player: Player, note: Note) -> None:
        self.books = Books()
        self._player = player
        self._note = note

    async def play(self, wanted: Play, seen: Seen) -> CallBook:
        """Plays a call to its end; `seen` is told of every attempt.

        An attempt is `{"n", "type", "copy", "attempt", "status", "milliseconds", "bytes", "replayed", "answer", "error"}`, `n` the
        place of the message in the script.

        Raises:
            ValueError: there is no such script.
        """
        name, script = ("given", wanted.script) if isinstance(wanted.script, Script) else story(wanted.script, wanted.rng("story"))
        call_id = wanted.call_id or str(uuid.uuid4())
        book = self.books.open(CallBook(call_id=call_id, script=name, assistant_id=wanted.assistant_id))
        await _Playing(self._player, self._note, wanted, script, book, seen).run()
        return book


class _Playing:
    """One call being played."""

    def __init__(self, player: Player, note: Note, wanted: Play, script: Script, book: CallBook, seen: Seen) -> None:
        self._player, self._note, self._wanted, self._script, self._book, self._seen = player, note, wanted, script, book, seen
        parties = Parties(book.call_id, wanted.assistant_id, wanted.customer_number, wanted.phone_number)
        self._bodies = CallBodies(script, parties, wanted.rng("figures"))
        self._sent: dict[int, bool] = {}  # by place: whether it was ever answered
        self._asked: dict[tuple[str, str], bool] = {}  # by recipient and words: whether it was promised

    async def run(self) -> None:
        """All deliveries, in their order."""
        first = {"type": "inboundPhoneCall", "status": "queued", "assistantId": self._wanted.assistant_id}
        self._note(self._wanted.key, self._book.call_id, {**first, "customer": {"number": self._wanted.customer_number}})
        steps, wanted = self._script.steps, self._wanted
        order = running_order([step.copies for step in steps], wanted.rng("order"), duplicates=wanted.duplicates, reorder=wanted.reorder)
        for sending in order:
            step = steps[sending.place]
            await asyncio.sleep(step.after / wanted.speed)
            self._take_note(step)
            if isinstance(step, Report) and wanted.lost_report:
                self._book.report = "lost"
            else:
                await self._deliver(sending.place, step, sending.copies)
        self._book.over = True

    async def _deliver(self, place: int, step: Step, copies: int) -> None:
        kind, body = self._bodies.of(place, step)
        wanted = self._wanted
        delivery = Delivery(
            url=wanted.url,
            body=body,
            credential=wanted.credential,
            headers=wanted.headers,
            times=copies,
            at_once=True,
            backoff=wanted.backoff,
            timeout_seconds=wanted.timeout_seconds,
        )
        attempts = await self._player.play(delivery)
        first, before = place not in self._sent, self._sent.get(place, False)
        self._book.note(kind, attempts, first=first, was_answered=before)
        self._sent[place] = before or any(map(answered, attempts))
        self._count(step, attempts, first=first)
        for attempt in attempts:
            await self._seen(_shown(place, kind, attempt))

    def _take_note(self, step: Step) -> None:
        """What `GET /call/{id}` and the books say of it, whatever becomes of the message."""
        known: dict[str, Any] = {}
        if isinstance(step, Report) or (isinstance(step, Status) and step.status == "ended"):
            known = as_told(self._bodies.report())
            if self._script.connected:
                self._book.seconds, self._book.cost = str(self._bodies.figures.seconds), str(self._bodies.figures.cost)
        elif isinstance(step, Status):
            known = {"status": step.status}
        if known:
            self._note(self._wanted.key, self._book.call_id, known)

    def _count(self, step: Step, attempts: list[dict[str, Any]], *, first: bool) -> None:
        if isinstance(step, Report) and self._book.report != "answered":
            self._book.report = "answered" if any(map(answered, attempts)) else "unanswered"
        if isinstance(step, Tools):
            self._book.tool_calls += len(step.calls) if first else 0
            self._count_texts(step, attempts)

    def _count_texts(self, step: Tools, attempts: list[dict[str, Any]]) -> None:
        """The texts that were asked for, each once within its call, and those that an answer promised."""
        results = [_results(attempt) for attempt in attempts if answered(attempt)]
        for place, call in enumerate(step.calls):
            if call.name == "send_sms":
                text = str(call.arguments.get("to") or self._wanted.customer_number), str(call.arguments.get("body"))
                promised = any(place < len(each) and "result" in each[place] for each in results)
                self._asked[text] = self._asked.get(text, False) or promised
        self._book.texts_asked, self._book.texts_promised = len(self._asked), sum(self._asked.values())


def _results(attempt: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries that answer tool calls, in their order; the legacy answer is one of them."""
    try:
        found = msgspec.json.decode(attempt["body"])
    except msgspec.DecodeError:
        return []
    entries = found.get("results", [found]) if isinstance(found, dict) else []
    return [entry if isinstance(entry, dict) else {} for entry in entries] if isinstance(entries, list) else []


def _shown(place: int, kind: str, attempt: dict[str, Any]) -> dict[str, Any]:
    return {
        "n": place,
        "type": kind,
        **{name: attempt[name] for name in ("copy", "attempt", "status", "milliseconds", "bytes", "error")},
        "replayed": attempt["headers"].get("idempotent-replayed") == "true",
        "answer": attempt["body"][:_ANSWER_SHOWN] if attempt["body"] is not None else None,
    }

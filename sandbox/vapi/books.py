"""The books: what was sent for each played call, what was answered, and what the call came to."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Literal

import msgspec

from sandbox.vapi.player import answered

_CALLS_KEPT = 20_000


class Counts(msgspec.Struct):
    """Of one type of message.

    `messages` are different ones, of which `answered` got a 2xx at least once; a delivery is one POST, `accepted` if it got a 2xx.
    So `accepted - answered` deliveries were duplicates, and `deliveries - accepted` failed.
    """

    messages: int = 0
    answered: int = 0
    deliveries: int = 0
    accepted: int = 0
    replayed: int = 0
    bytes: int = 0


class CallBook(msgspec.Struct, kw_only=True):
    """One call. `texts_asked`: different texts that the model asked for; `texts_promised`: those that an answer promised.

    `seconds` and `cost` are decimal text, null where nobody took the call. `report`: whether one was sent and answered.
    """

    call_id: str
    script: str
    assistant_id: str | None = None
    by_type: dict[str, Counts] = {}
    texts_asked: int = 0
    texts_promised: int = 0
    tool_calls: int = 0
    seconds: str | None = None
    cost: str | None = None
    report: Literal["none", "answered", "unanswered", "lost"] = "none"
    over: bool = False

    def note(self, kind: str, attempts: list[dict[str, Any]], *, first: bool, was_answered: bool) -> None:
        """Counts the attempts of one delivery or of its copies; `first` when this message was never sent before."""
        counts = self.by_type.setdefault(kind, Counts())
        accepted = [attempt for attempt in attempts if answered(attempt)]
        counts.messages += first
        counts.answered += bool(accepted) and not was_answered
        counts.deliveries += len(attempts)
        counts.accepted += len(accepted)
        counts.replayed += sum(attempt["headers"].get("idempotent-replayed") == "true" for attempt in accepted)
        counts.bytes += sum(attempt["bytes"] for attempt in attempts)


class Books:
    """The books of all calls, the newest 20,000."""

    def __init__(self) -> None:
        self._calls: dict[str, CallBook] = {}

    def open(self, book: CallBook) -> CallBook:
        """Begins the book of a call."""
        self._calls[book.call_id] = book
        while len(self._calls) > _CALLS_KEPT:
            del self._calls[next(iter(self._calls))]
        return book

    def of(self, call_id: str | None) -> list[CallBook]:
        """One call's book, or all, the oldest first."""
        return [book for book in self._calls.values() if call_id in (None, book.call_id)]

    def forget(self) -> None:
        """Throws all books away."""
        self._calls.clear()


def total(books: Iterable[CallBook]) -> dict[str, Any]:
    """What calls come to together, with the names of a book; seconds and cost as decimal text."""
    chosen = list(books)
    by_type: dict[str, Counts] = {}
    for book in chosen:
        for kind, counts in book.by_type.items():
            summed = by_type.setdefault(kind, Counts())
            for name in counts.__struct_fields__:
                setattr(summed, name, getattr(summed, name) + getattr(counts, name))
    return {
        "calls": len(chosen),
        "by_type": by_type,
        "texts_asked": sum(book.texts_asked for book in chosen),
        "texts_promised": sum(book.texts_promised for book in chosen),
        "tool_calls": sum(book.tool_calls for book in chosen),
        "seconds": str(sum((Decimal(book.seconds) for book in chosen if book.seconds), Decimal(0))),
        "cost": str(sum((Decimal(book.cost) for book in chosen if book.cost), Decimal(0))),
    }

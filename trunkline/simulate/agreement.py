"""Two books of one day: what the sandbox sent, and what Trunkline recorded. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

FIGURES = ("webhooks", "duplicates", "texts", "seconds", "cost")
# kept as a first and a last time for each call, not one by one
FREQUENT = frozenset({"conversation-update", "speech-update", "model-output", "transcript", "voice-input"})
TOOL_TYPES = ("tool-calls", "function-call")
NONE = Decimal(0)

Recorded = Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Span:
    """What was sent: certain at least, possible at most. Only a delivery without a good answer leaves a difference."""

    least: Decimal = NONE
    most: Decimal = NONE

    def __add__(self, other: "Span") -> "Span":
        """Both together."""
        return Span(self.least + other.least, self.most + other.most)

    def holds(self, value: Decimal) -> bool:
        """Whether this was recorded rightly."""
        return self.least <= value <= self.most

    def __str__(self) -> str:
        return amount(self.least) if self.least == self.most else f"{amount(self.least)} to {amount(self.most)}"


Sent = dict[str, Span]


def amount(value: Decimal) -> str:
    """A figure for people: thousands apart, no zeros at its end."""
    return f"{value.normalize():,f}"


def sent_in(books: Iterable[Mapping[str, Any]]) -> Sent:
    """What calls sent together."""
    total = dict.fromkeys(FIGURES, Span())
    for book in books:
        one = sent_by(book)
        total = {name: total[name] + one[name] for name in FIGURES}
    return total


def sent_by(book: Mapping[str, Any]) -> Sent:
    """What one call sent, by the sandbox's book of it."""
    counted = {kind: counts for kind, counts in book["by_type"].items() if kind not in FREQUENT}
    messages, answered, deliveries, accepted = (
        Decimal(sum(counts[name] for counts in counted.values())) for name in ("messages", "answered", "deliveries", "accepted")
    )
    again, failed = accepted - answered, deliveries - accepted
    unanswered = any(counted[kind]["messages"] > counted[kind]["answered"] for kind in TOOL_TYPES if kind in counted)
    promised = Decimal(book["texts_promised"])
    return {
        "webhooks": Span(answered, messages),
        "duplicates": Span(again, again + failed),
        "texts": Span(promised, Decimal(book["texts_asked"]) if unanswered else promised),
        "seconds": reported(book, "seconds"),
        "cost": reported(book, "cost"),
    }


def reported(book: Mapping[str, Any], name: str) -> Span:
    """What the report says; one that nobody answered may have arrived, one that was kept back has not."""
    value = Decimal(book[name] or 0)
    return {"answered": Span(value, value), "unanswered": Span(NONE, value)}.get(book["report"], Span())


def frequent_in(books: Iterable[Mapping[str, Any]]) -> int:
    """How many messages went out that are not kept one by one."""
    return sum(counts["messages"] for book in books for kind, counts in book["by_type"].items() if kind in FREQUENT)


def failed_in(books: Iterable[Mapping[str, Any]]) -> int:
    """How many deliveries got no good answer."""
    return sum(counts["deliveries"] - counts["accepted"] for book in books for counts in book["by_type"].values())


def differing(sent: Sent, recorded: Recorded | None) -> list[str]:
    """The figures on which the books do not agree; all of them where nothing could be read."""
    return [name for name in FIGURES if recorded is None or not sent[name].holds(recorded[name])]

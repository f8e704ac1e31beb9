"""What is delivered in a trial, and what it must have done in the end, however often it was delivered."""

import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

from tests.faults.counts import OURS
from tests.faults.house import House
from tests.kills.client import Answer

API_STEPS = ("door", "postgres", "tool")
UNCERTAIN = b"It is not certain whether this was done"
AT_TOOL = "at the tool"

Effects = Mapping[tuple[str, str], int]


def taken(answer: Answer) -> bool:
    """Any 2xx is the last word."""
    return answer.taken


def replayed(first: Answer, again: Answer) -> str | None:
    """One more delivery must get the answer from the record."""
    if not again.replayed:
        return f"was done again instead of replayed: {again.body[:200]!r}"
    return same_answer(first, again)


def same_answer(first: Answer, again: Answer) -> str | None:
    """One more delivery must get the same answer."""
    return None if again.body == first.body else f"got another answer: {first.body[:300]!r}, then {again.body[:300]!r}"


@dataclass(frozen=True)
class Order:
    """`deliver` raises Unreachable where no answer came. `effects` are by (whose, what); all others must not have happened.

    `settled` says whether an answer is the last word; one that is not is followed by another delivery. `again` compares the last word
    with the answer to one more delivery, and says what is wrong. Where the last word is that nobody knows, `uncertain` are the
    effects, with those at the tool at most once.
    """

    deliver: Callable[[], Awaitable[Answer]]
    effects: Effects
    uncertain: Effects | None = None
    settled: Callable[[Answer], bool] = taken
    again: Callable[[Answer, Answer], str | None] = replayed
    steps_of: Collection[str] = API_STEPS
    passing: Collection[int] = (503,)  # statuses that say: send it again
    many: Collection[str] = ()  # written down at each try, so that their number says nothing


Path = Callable[[House, str], Awaitable[Order]]


def ours(**counts: int) -> dict[tuple[str, str], int]:
    """Effects of the tenant that is struck; double underscores stand for blanks: `claims__done`."""
    return {(OURS, name.replace("__", " ")): count for name, count in counts.items()}


def same_but_duplicates(first: Answer, again: Answer) -> str | None:
    """As `same_answer`; how often it was delivered may have become known meanwhile."""
    one, other = (re.sub(rb'"duplicates":\d+', b"", answer.body) for answer in (first, again))
    return None if one == other else f"got another answer: {first.body[:300]!r}, then {again.body[:300]!r}"


def has_result(answer: Answer) -> bool:
    """Whether every tool call got its result, or the honest word that nobody knows."""
    entries = answer.json.get("results", [answer.json]) if answer.taken else [{}]
    return all("result" in entry or entry.get("error", "").encode().startswith(UNCERTAIN) for entry in entries)

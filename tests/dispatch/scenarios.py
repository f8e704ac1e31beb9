"""Drawn scenarios: texts with what Twilio answers to their creates, and all that happens to them and around them."""

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st

from sandbox.twilio.faults import AcceptThenReset, AnswerFault, Faults, Match, NotJson, ResetBefore, Status

ANSWERS = (
    "429", "queue full", "bad number", "opted out", "500", "500, taken", "page", "reset", "reset, taken", "broken", "broken, taken",
    "death", "death, taken",
)  # fmt: skip
REFUSALS = {"bad number": 21211, "opted out": 21610, "queue full": 21611}


@dataclass(frozen=True)
class Accept:
    """A text, and what Twilio answers to its creates in turn; afterwards it takes it."""

    desk: int
    kind: str
    segments: int
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """Something else that happens; `which` picks a text or a desk, `value` how long or what."""

    name: str
    which: int = 0
    value: str = ""


answers = st.lists(st.sampled_from(ANSWERS), max_size=3).map(tuple)
accepts = st.builds(Accept, st.integers(0, 1), st.sampled_from(["otp", "transactional", "marketing"]), st.integers(1, 2), answers)
numbers = st.integers(0, 5)
steps = st.one_of(
    accepts,
    st.builds(Step, st.just("twin"), numbers),
    *[st.builds(Step, st.just("dispatch"), numbers, st.sampled_from(["alone", "in pairs", "with a look"]))] * 3,
    *[st.builds(Step, st.just("look"))] * 2,
    *[st.builds(Step, st.just("pass"), numbers, st.sampled_from(["3", "20", "65"]))] * 2,
    *[st.builds(Step, st.just("callback"), numbers, st.sampled_from(["sent", "delivered", "undelivered"]))] * 2,
    st.builds(Step, st.just("deaf"), numbers),
    st.builds(Step, st.just("flush")),
    st.builds(Step, st.just("replace")),
    st.builds(Step, st.just("cancel"), numbers),
    st.builds(Step, st.just("stop"), numbers),
)
scenarios = st.tuples(st.lists(accepts, min_size=2, max_size=5), st.lists(steps, max_size=14)).map(lambda both: [*both[0], *both[1]])


class Script(Faults):
    """Faults by recipient, in order; it knows each request, and kills the worker in the middle of its own when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[tuple[str, str, str | None, bool]] = []  # operation, account, recipient, whether it works
        self.deadly: set[int] = set()
        self.kill: Callable[[], None] = lambda: None

    def answer(self, operation: str, account: str, to: str | None = None, sender: str | None = None) -> AnswerFault | None:
        numbers = [number for number, fault in self._meeting(operation, account, to, sender) if isinstance(fault, AnswerFault)]
        fault = super().answer(operation, account, to, sender)
        self.log.append((operation, account, to, fault is None))
        if numbers and numbers[0] in self.deadly:
            self.kill()
        return fault

    def say(self, account: str, to: str, word: str) -> None:
        """One more answer to the creates for this person."""
        number = self.arm(fault_of(word, Match(account=account, to=to)))
        if word.startswith("death"):
            self.deadly.add(number)


def fault_of(word: str, match: Match) -> AnswerFault:
    """The sandbox's fault of an answer's name."""
    taken = word.endswith("taken")
    match word.removesuffix(", taken"):
        case "429":
            return Status(status=429, match=match, times=1)
        case "500":
            return Status(status=500, accept=taken, match=match, times=1)
        case "page":
            return NotJson(match=match, times=1)
        case "broken":
            return NotJson(status=201, text='{"sid": "SM', accept=taken, match=match, times=1)
        case "reset" | "death":
            return AcceptThenReset(match=match, times=1) if taken else ResetBefore(match=match, times=1)
        case refused:
            return Status(status=400, code=REFUSALS[refused], match=match, times=1)

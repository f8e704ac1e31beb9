"""The circuit breaker: on a clock of the test's own, and against a model of what it promises."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from webhooks import breaker
from webhooks.breaker import Breaker, Entry

FAILURES, PAUSE = 3, 10.0


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def fail(circuit: Breaker, key: str, times: int) -> list[bool]:
    found = []
    for _ in range(times):
        entry = circuit.enter(key)
        assert entry is not None
        found.append(circuit.leave(entry, healthy=False))
    return found


def test_it_opens_waits_probes_once_and_closes() -> None:
    clock = Clock()
    circuit = Breaker(FAILURES, PAUSE, clock)
    assert fail(circuit, "a", FAILURES) == [False, False, True]
    assert circuit.enter("a") is None
    assert circuit.enter("b") is not None  # another key is another circuit
    clock.now += PAUSE - 0.1
    assert circuit.enter("a") is None
    clock.now += 0.1
    probe = circuit.enter("a")
    assert probe == Entry("a", probe=True)
    assert circuit.enter("a") is None  # one at a time
    assert circuit.leave(probe, healthy=False) is False  # open again, not newly opened
    assert circuit.enter("a") is None
    clock.now += PAUSE
    probe = circuit.enter("a")
    assert probe is not None
    circuit.leave(probe, healthy=True)
    assert fail(circuit, "a", FAILURES - 1) == [False, False]  # it counts from the beginning


def test_only_failures_in_a_row_count() -> None:
    circuit = Breaker(FAILURES, PAUSE, Clock())
    for _ in range(5):
        fail(circuit, "a", FAILURES - 1)
        entry = circuit.enter("a")
        assert entry is not None
        circuit.leave(entry, healthy=True)
    assert circuit.enter("a") is not None


def test_a_probe_that_was_cut_off_leaves_the_place_to_another() -> None:
    clock = Clock()
    circuit = Breaker(FAILURES, PAUSE, clock)
    fail(circuit, "a", FAILURES)
    clock.now += PAUSE
    probe = circuit.enter("a")
    assert probe is not None
    assert circuit.leave(probe, healthy=None) is False
    assert circuit.enter("a") is not None


def test_keys_that_nobody_asks_for_again_do_not_add_up() -> None:
    circuit = Breaker(FAILURES, PAUSE, Clock())
    for number in range(breaker.MOST_KEPT + 10):
        fail(circuit, str(number), 1)
    assert len(circuit._trouble) == breaker.MOST_KEPT


class Circuits(RuleBasedStateMachine):
    """Calls that overlap in any way, over two keys."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.circuit = Breaker(FAILURES, PAUSE, self.clock)
        self.inside: list[Entry] = []
        self.in_a_row = {"a": 0, "b": 0}
        self.failed_at = {"a": 0.0, "b": 0.0}

    @rule(key=st.sampled_from("ab"))
    def enter(self, key: str) -> None:
        entry = self.circuit.enter(key)
        shut = self.in_a_row[key] >= FAILURES
        rested = self.clock.now >= self.failed_at[key] + PAUSE
        probing = any(one.key == key and one.probe for one in self.inside)
        if not shut:
            assert entry == Entry(key)
        elif rested and not probing:
            assert entry == Entry(key, probe=True)
        else:
            assert entry is None
        if entry is not None:
            self.inside.append(entry)

    @rule(data=st.data(), healthy=st.sampled_from([True, False, None]))
    def leave(self, data: st.DataObject, healthy: bool | None) -> None:
        if not self.inside:
            return
        entry = self.inside.pop(data.draw(st.integers(0, len(self.inside) - 1)))
        key = str(entry.key)
        was_shut = self.in_a_row[key] >= FAILURES
        opened = self.circuit.leave(entry, healthy=healthy)
        if healthy:
            self.in_a_row[key] = 0
            self.inside = [Entry(one.key) if one.key == key else one for one in self.inside]  # a closed circuit has no probes
        elif healthy is False:
            self.in_a_row[key] += 1
            self.failed_at[key] = self.clock.now
        assert opened == (not was_shut and self.in_a_row[key] >= FAILURES)

    @rule(seconds=st.sampled_from([0.1, 1.0, PAUSE / 2, PAUSE]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def one_probe_at_most(self) -> None:
        for key in "ab":
            assert sum(one.key == key and one.probe for one in self.inside) <= 1


TestCircuits = Circuits.TestCase
TestCircuits.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)

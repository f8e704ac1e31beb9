"""A circuit breaker: what failed several times in a row is left alone for a while, then tried with one call."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from runtime import clock

FAILURES, PAUSE_SECONDS = 5, 20.0
MOST_KEPT = 10_000


@dataclass(slots=True)
class Trouble:
    """What is known of a key that failed lately; one that works has no entry."""

    failures: int = 0
    open_until: float | None = None  # monotonic seconds; None: closed
    probing: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A call that was let in."""

    key: Hashable
    probe: bool = False


class Breaker:
    """One circuit for each key, in this process: `enter` before a call, and exactly one `leave` after one that was let in."""

    def __init__(self, failures: int = FAILURES, pause: float = PAUSE_SECONDS, now: Callable[[], float] = clock.monotonic) -> None:
        self._failures, self._pause, self._now = failures, pause, now
        self._trouble: dict[Hashable, Trouble] = {}

    def enter(self, key: Hashable) -> Entry | None:
        """Lets a call in, or None: the circuit is open, or its one probe is under way."""
        trouble = self._trouble.get(key)
        if trouble is None or trouble.open_until is None:
            return Entry(key)
        if trouble.probing or self._now() < trouble.open_until:
            return None
        trouble.probing = True
        return Entry(key, probe=True)

    def leave(self, entry: Entry, *, healthy: bool | None) -> bool:
        """Note how a call went, None for nothing learned; tells whether the circuit opened by it."""
        if healthy:
            self._trouble.pop(entry.key, None)
            return False
        trouble = self._trouble.get(entry.key)
        if trouble is not None and entry.probe:
            trouble.probing = False
        return healthy is not None and self._fail(entry.key)

    def _fail(self, key: Hashable) -> bool:
        trouble = self._trouble.setdefault(key, Trouble())
        if len(self._trouble) > MOST_KEPT:  # keys that failed and were never asked for again must not add up
            del self._trouble[next(iter(self._trouble))]
        trouble.failures += 1
        if trouble.failures < self._failures:
            return False
        opened = trouble.open_until is None
        trouble.open_until = self._now() + self._pause
        return opened

"""Steps: the exchanges of one delivery, numbered in the order in which they happen, and the one at which the strike falls."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

Strike = Callable[[], None]


@dataclass
class Steps:
    """Counts while it is armed. `seen` has the names of the steps in their order, `struck` the one at which the strike fell."""

    seen: list[str] = field(default_factory=list)
    struck: str | None = None
    fallen: asyncio.Event = field(default_factory=asyncio.Event)
    _at: int = 0
    _strike: Strike | None = None
    _of: Collection[str] = ()

    def arm(self, at: int, strike: Strike, of: Collection[str]) -> None:
        """Count from 1 on the steps of these relays; strike at step `at`."""
        self.seen, self.struck, self.fallen = [], None, asyncio.Event()
        self._at, self._strike, self._of = at, strike, of

    def disarm(self) -> None:
        """Count no more."""
        self._strike = None

    def reached(self, relay: str, half: str) -> bool:
        """One more step; True when the strike fell on it, and its bytes are not to be passed on."""
        if self._strike is None or relay not in self._of or self.struck:
            return False
        self.seen.append(f"{relay} {half}")
        if len(self.seen) < self._at:
            return False
        self.struck = self.seen[-1]
        self._strike()
        self.fallen.set()
        return True

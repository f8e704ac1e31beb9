"""Places in a process: a tenant may fill all of it while it is alone, and no more than its share as soon as others work too."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field

from runtime import clock

ALONE_SECONDS = 1.0  # whoever came within it counts as working


@dataclass(slots=True)
class Place:
    """A place that is held until it is left; leaving twice is leaving once."""

    places: "Places"
    key: Hashable
    left: bool = False

    def leave(self) -> None:
        """Let the next one of this key in."""
        if not self.left:
            self.left = True
            self.places.give_back(self.key)


@dataclass(slots=True)
class Line:
    """Who is in and who waits, of one key."""

    held: int = 0
    waiting: "deque[asyncio.Future[None]]" = field(default_factory=deque)


class Places:
    """At most `share` places for each key while several keys are at work; without others a key has no bound."""

    def __init__(self, share: int) -> None:
        self._share = share
        self._lines: dict[Hashable, Line] = {}
        self._seen: OrderedDict[Hashable, float] = OrderedDict()  # when each key came last, the latest last

    async def enter(self, key: Hashable) -> Place:
        """Wait for a place and take it; `leave` it afterwards, whatever happens."""
        moment = clock.monotonic()
        self._seen[key] = moment
        self._seen.move_to_end(key)
        while next(iter(self._seen.values())) < moment - ALONE_SECONDS:
            self._seen.popitem(last=False)
        line = self._lines.setdefault(key, Line())
        if line.held >= self._share and len(self._seen) > 1:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            line.waiting.append(turn)
            try:
                await turn  # whoever lets it in counts it as in
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self.give_back(key)  # it was let in just as it went away
                raise
            return Place(self, key)
        line.held += 1
        return Place(self, key)

    def give_back(self, key: Hashable) -> None:
        """A place of this key is free."""
        line = self._lines[key]
        line.held -= 1
        self._hand_on(line)
        if not line.held and not line.waiting:
            del self._lines[key]

    def _hand_on(self, line: Line) -> None:
        """Let those in who waited, as many as there is room for."""
        room = self._share - line.held if len(self._seen) > 1 else len(line.waiting)
        while line.waiting and room > 0:
            turn = line.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                line.held += 1
                room -= 1

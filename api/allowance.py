"""How many bytes of bodies that nobody has vouched for yet a process holds at once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runtime.refusals import Unavailable

Take = Callable[[int], None]


class Allowance:
    """A signed delivery is read before it is known whose it is; whoever sends many at once, or slowly, holds no more than this.

    `most` bytes altogether, `share` of them under one address: who fills one is in nobody's way at another.
    """

    def __init__(self, most: int, share: int) -> None:
        self._left = most
        self._share = share
        self._held: dict[str, int] = {}  # by address, while something is held there

    @contextmanager
    def held(self, address: str) -> Iterator[Take]:
        """What is taken inside is given back at the end; `take` raises Unavailable where nothing is left."""
        mine = 0

        def take(size: int) -> None:
            nonlocal mine
            there = self._held.get(address, 0) + size
            if size > self._left or there > self._share:
                raise Unavailable
            if size:
                self._held[address] = there
                self._left -= size
                mine += size

        try:
            yield take
        finally:
            self._left += mine
            if mine:
                self._held[address] -= mine
                if not self._held[address]:
                    del self._held[address]

"""How many bytes of bodies that nobody has vouched for yet a process holds at once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runtime.refusals import Unavailable

Take = Callable[[int], None]


class Allowance:
    """A signed delivery is read before it is known whose it is; whoever sends many at once, or slowly, holds no more than this."""

    def __init__(self, most: int) -> None:
        self._left = most

    @contextmanager
    def held(self) -> Iterator[Take]:
        """What is taken inside is given back at the end; `take` raises Unavailable where nothing is left."""
        held = 0

        def take(size: int) -> None:
            nonlocal held
            if size > self._left:
                raise Unavailable
            self._left -= size
            held += size

        try:
            yield take
        finally:
            self._left += held

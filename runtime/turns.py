"""Turns on the event loop: the work of a process is taken tenant by tenant, so that a flood of one delays the others by one piece."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Hashable


class Turns:
    """Grants one turn in each pass of the loop, to the keys in rotation; whoever comes alone waits for one pass at most."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()
        self._granting = False

    async def next(self, key: Hashable) -> None:
        """Wait for this key's next turn. A turn is a piece of work up to the next await; it is not given back."""
        if not self._granting:  # nobody waits: the turn is free, and the next pass begins to ration
            self._granting = True
            asyncio.get_running_loop().call_soon(self._grant)
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append(turn)
        await turn

    def _grant(self) -> None:
        """One turn to the key that waited longest since its last one; then, after a look at the sockets, the next."""
        while self._waiting:
            key, turns = self._waiting.popitem(last=False)
            turn = turns.popleft()
            if turns:
                self._waiting[key] = turns
            if not turn.done():  # whoever waited may have gone away
                turn.set_result(None)
                asyncio.get_running_loop().call_soon(self._grant)
                return
        self._granting = False

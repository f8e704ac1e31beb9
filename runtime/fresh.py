"""A cache with a promise: nothing it answers is older than two seconds, so a turned switch is followed by every process in time."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from runtime import clock

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

OLDEST_SECONDS = 2.0
REFRESH_SECONDS = 1.0  # from here on a use refreshes it in the background
MOST_ENTRIES = 20_000


class FreshCache(Generic[Key, Value]):
    """Loads each key once for all who wait for it; remembers refusals (None) too, since an unknown name is the cheapest attack."""

    def __init__(self, load: Callable[[Key], Awaitable[Value]]) -> None:
        self._load = load
        self._entries: OrderedDict[Key, tuple[float, Value]] = OrderedDict()
        self._loading: dict[Key, asyncio.Task[Value]] = {}

    async def get(self, key: Key) -> Value:
        """The value, at most `OLDEST_SECONDS` old; raises whatever loading raises."""
        found = self._entries.get(key)
        age = clock.monotonic() - found[0] if found else OLDEST_SECONDS
        if found and age < OLDEST_SECONDS:
            if age >= REFRESH_SECONDS and key not in self._loading:
                self._start(key)
            return found[1]
        task = self._loading.get(key) or self._start(key)
        return await asyncio.shield(task)

    def forget(self, key: Key) -> None:
        """Load anew at the next use: this process changed it."""
        self._entries.pop(key, None)

    def _start(self, key: Key) -> "asyncio.Task[Value]":
        task = asyncio.ensure_future(self._fill(key))
        self._loading[key] = task
        task.add_done_callback(lambda done: self._loaded(key, done))
        return task

    async def _fill(self, key: Key) -> Value:
        asked = clock.monotonic()  # the answer is as old as the question
        value = await self._load(key)
        self._entries[key] = (asked, value)
        self._entries.move_to_end(key)
        while len(self._entries) > MOST_ENTRIES:
            self._entries.popitem(last=False)
        return value

    def _loaded(self, key: Key, task: "asyncio.Task[Value]") -> None:
        if self._loading.get(key) is task:
            del self._loading[key]
        if not task.cancelled():
            task.exception()  # whoever waits has it; a refresh that failed is tried again at the next use

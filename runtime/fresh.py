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
        self._loading: dict[Key, tuple[float, asyncio.Task[Value]]] = {}

    async def get(self, key: Key) -> Value:
        """The value, at most `OLDEST_SECONDS` old; raises whatever loading raises."""
        found = self._entries.get(key)
        age = clock.monotonic() - found[0] if found else OLDEST_SECONDS
        if found and age < OLDEST_SECONDS:
            if age >= REFRESH_SECONDS and key not in self._loading:
                self._start(key)
            return found[1]
        asked, task = self._loading.get(key) or self._start(key)
        if clock.monotonic() - asked >= OLDEST_SECONDS:  # a slow load: its answer would be too old for whoever asks only now
            asked, task = self._start(key)
        return await asyncio.shield(task)

    def forget(self, key: Key) -> None:
        """Load anew at the next use: this process changed it. A load that began before the change answers only who waits for it."""
        self._entries.pop(key, None)
        self._loading.pop(key, None)

    def forget_all(self) -> None:
        """As `forget`, for every key."""
        self._entries.clear()
        self._loading.clear()

    def _start(self, key: Key) -> "tuple[float, asyncio.Task[Value]]":
        asked = clock.monotonic()  # the answer is as old as the question
        task = asyncio.ensure_future(self._load(key))
        self._loading[key] = (asked, task)
        task.add_done_callback(lambda done: self._loaded(key, asked, done))
        return asked, task

    def _loaded(self, key: Key, asked: float, task: "asyncio.Task[Value]") -> None:
        current = self._loading.get(key) == (asked, task)
        if current:
            del self._loading[key]
        if task.cancelled() or task.exception() is not None:
            return  # whoever waits has the error; a refresh that failed is tried again at the next use
        if current:
            self._entries[key] = (asked, task.result())
            self._entries.move_to_end(key)
            while len(self._entries) > MOST_ENTRIES:
                self._entries.popitem(last=False)

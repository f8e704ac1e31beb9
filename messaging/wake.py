"""A hint that there is something to send. It may be lost at any time: the dispatcher looks by itself every 250 ms."""

import asyncio
from contextvars import Context

from redis.asyncio import Redis

from runtime import clock
from runtime.redis import RedisError

CHANNEL = "trunkline:wake"
PAUSE_SECONDS = 0.02  # between two hints of one process, so that a busy one does not drown Redis
QUIET_SECONDS = 1.0  # after a failed one
LISTEN_SECONDS = 5.0
TROUBLE = (RedisError, OSError, TimeoutError)


class WakeHint:
    """The publishing side: after a commit, say so."""

    def __init__(self, redis: Redis, pause: float = PAUSE_SECONDS) -> None:
        self._redis = redis
        self._pause = pause
        self._wanted = False
        self._not_before = 0.0
        self._task: asyncio.Task[None] | None = None

    def publish(self) -> None:
        """Publish soon, in the background, and never raise: the first at once, those that follow closely as one."""
        self._wanted = True
        if self._task is None or self._task.done():
            # a context of its own: the hint is nobody's, whichever request gave it first
            self._task = asyncio.get_running_loop().create_task(self._publish_while_wanted(), context=Context())

    async def close(self) -> None:
        """Publish no more: the connection is about to be given back."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _publish_while_wanted(self) -> None:
        while self._wanted:
            await asyncio.sleep(self._not_before - clock.monotonic())
            self._wanted = False
            self._not_before = clock.monotonic() + self._pause
            try:
                await self._redis.publish(CHANNEL, b"")
            except TROUBLE:
                self._not_before = clock.monotonic() + QUIET_SECONDS


class WakeListener:
    """The listening side: sets an event at every hint, and whenever hints may have been missed."""

    def __init__(self, redis: Redis, woken: asyncio.Event, pause: float = QUIET_SECONDS) -> None:
        self._redis = redis
        self._woken = woken
        self._pause = pause

    async def run(self) -> None:
        """Listen until cancelled; Redis may go away and come back."""
        while True:
            try:
                await self._listen()
            except TROUBLE:
                await asyncio.sleep(self._pause)

    async def _listen(self) -> None:
        async with self._redis.pubsub(ignore_subscribe_messages=True) as channel:
            await channel.subscribe(CHANNEL)
            self._woken.set()
            while True:
                if await channel.get_message(timeout=LISTEN_SECONDS) is not None:
                    self._woken.set()

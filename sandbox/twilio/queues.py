"""The queue of one sender: messages leave in order, each taking as many slots as it has segments."""

import asyncio
from collections import deque
from collections.abc import Callable

from sandbox.clock import monotonic
from sandbox.twilio.accounts import Account
from sandbox.twilio.messages import Message


class SenderQueue:
    """A first-in, first-out queue at the account's rate for this sender; the rate may change at any time."""

    def __init__(self, account: Account, sender: str, leave: Callable[[Message], None]) -> None:
        self._account, self._sender, self._leave = account, sender, leave
        self._waiting: deque[Message] = deque()
        self._free_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.segments = 0

    def has_room(self, segments: int) -> bool:
        """Whether so many more segments may wait (Twilio: ten hours at the sender's rate)."""
        rate = self._account.rate_of(self._sender)
        return rate is None or self.segments + segments <= self._account.queue_seconds * rate

    def put(self, message: Message) -> None:
        """Lets the message leave at once or in its turn."""
        if not self._waiting:
            self._free_at = max(self._free_at, monotonic())
        self._waiting.append(message)
        self.segments += message.segments
        self.pump()

    def pump(self) -> None:
        """Lets everything leave whose slot has come, and sets the timer for the next one."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            rate = self._account.rate_of(self._sender)
            wait = 0.0 if rate is None else self._free_at - monotonic()
            if wait > 0:
                self._timer = asyncio.get_running_loop().call_later(wait, self.pump)
                return
            message = self._waiting.popleft()
            self.segments -= message.segments
            if message.forgotten:
                continue
            if rate is not None:
                self._free_at += message.segments / rate
            self._leave(message)

    def close(self) -> None:
        """Stops the timer; what waits stays where it is."""
        if self._timer:
            self._timer.cancel()
            self._timer = None

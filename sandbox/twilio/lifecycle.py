"""What becomes of a message: scheduled or accepted, queued, sending, sent, and delivered or not."""

import asyncio
from collections.abc import Callable

from sandbox.clock import monotonic, now
from sandbox.twilio.accounts import Account
from sandbox.twilio.callbacks import Callbacks
from sandbox.twilio.faults import Undelivered
from sandbox.twilio.messages import Message
from sandbox.twilio.queues import SenderQueue

_PRICE_PER_SEGMENT = 0.0079  # USD, invented
_POOL_SENDER = "+15005550006"  # of a Messaging Service whose senders were not declared
_TEXTS = {
    30001: "Queue overflow",
    30003: "Unreachable destination handset",
    30004: "Message blocked",
    30005: "Unknown destination handset",
    30006: "Landline or unreachable carrier",
    30007: "Message filtered",
    30008: "Unknown error",
    30022: "Carrier rate exceeded",
    30023: "Carrier day limit reached",
    30034: "Sender is not registered",
    30036: "Validity period expired",
    21610: "Recipient has opted out",
}


class Lifecycle:
    """Moves every message on, in the pace of its sender, and calls back at each change after the first state."""

    def __init__(self, callbacks: Callbacks) -> None:
        self._callbacks = callbacks
        self._queues: dict[tuple[str, str], SenderQueue] = {}
        self._picked: dict[str, int] = {}

    def has_room(self, account: Account, sender: str, segments: int) -> bool:
        """Whether the sender's queue takes so many more segments."""
        return self._queue(account, sender).has_room(segments)

    def waiting(self, account: Account) -> dict[str, int]:
        """The account's segments that wait, by sender."""
        return {sender: queue.segments for (sid, sender), queue in self._queues.items() if sid == account.sid and queue.segments}

    def begin(self, account: Account, message: Message) -> None:
        """Starts the life of a message in the status that its create answered."""
        if message.status == "scheduled" and message.send_at:
            self._later((message.send_at - now()).total_seconds(), message, lambda: self._accept(account, message))
        elif message.status == "accepted":
            self._later(account.sent_after / 2, message, lambda: self._pick_sender(account, message))
        else:
            self._queue(account, message.queue_key).put(message)

    def cancel(self, message: Message) -> None:
        """Cancels a scheduled message."""
        self._turn(message, "canceled")

    def rates_changed(self, account: Account) -> None:
        """A new rate counts for what waits already."""
        for (sid, _), queue in self._queues.items():
            if sid == account.sid:
                queue.pump()

    def forget(self) -> None:
        """Empties all queues."""
        for queue in self._queues.values():
            queue.close()
        self._queues.clear()

    def _accept(self, account: Account, message: Message) -> None:
        if message.status == "scheduled":  # not canceled meanwhile
            self._turn(message, "accepted")
            self._pick_sender(account, message)

    def _pick_sender(self, account: Account, message: Message) -> None:
        """Senders of the pool in turn. Behind a Messaging Service an overflow shows only now, as a failure."""
        pool = account.messaging_services.get(message.service or "", [_POOL_SENDER])
        turn = self._picked[message.queue_key] = self._picked.get(message.queue_key, -1) + 1
        message.sender = pool[turn % len(pool)]
        queue = self._queue(account, message.queue_key)
        if queue.has_room(message.segments):
            self._turn(message, "queued")
            queue.put(message)
        else:
            self._fail(message, "failed", 30001)

    def _leave(self, account: Account, message: Message) -> None:
        """The sender's turn has come."""
        message.left_at = monotonic()
        if message.left_at - message.arrived_at > message.validity and message.send_at is None:
            self._fail(message, "failed", 30036)
            return
        self._later(account.sent_after / 2, message, lambda: self._sending(account, message))

    def _sending(self, account: Account, message: Message) -> None:
        self._turn(message, "sending")
        self._later(account.sent_after / 2, message, lambda: self._sent(account, message))

    def _sent(self, account: Account, message: Message) -> None:
        ending = next((fault for fault in message.life if isinstance(fault, Undelivered)), None)
        if ending and ending.status == "failed":
            self._fail(message, "failed", ending.error_code)
            return
        message.sent = now()
        message.price = f"{-_PRICE_PER_SEGMENT * message.segments:.5f}"
        self._turn(message, "sent")
        if ending:
            self._later(account.delivered_after, message, lambda: self._fail(message, "undelivered", ending.error_code))
        else:
            self._later(account.delivered_after, message, lambda: self._turn(message, "delivered"))

    def _fail(self, message: Message, status: str, code: int) -> None:
        message.error_code, message.error_message = code, _TEXTS.get(code, f"Error {code}")
        self._turn(message, status)

    def _turn(self, message: Message, status: str) -> None:
        message.status, message.updated = status, now()
        self._callbacks.notify(message)

    def _later(self, seconds: float, message: Message, step: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(max(0.0, seconds), _unless_forgotten, message, step)

    def _queue(self, account: Account, sender: str) -> SenderQueue:
        key = (account.sid, sender)
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = SenderQueue(account, sender, lambda message: self._leave(account, message))
        return queue


def _unless_forgotten(message: Message, step: Callable[[], None]) -> None:
    if not message.forgotten:
        step()

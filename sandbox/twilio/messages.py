"""A message as the stand-in keeps it, its JSON as Twilio types it, and the box of all messages."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sandbox.clock import iso, now
from sandbox.twilio.faults import LifeFault

FINAL = frozenset({"delivered", "undelivered", "failed", "canceled"})
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(slots=True, eq=False)
class Message:
    """One outbound message. `sender` is null until a Messaging Service has picked one; `arrived_at` and `left_at` are monotonic seconds."""

    sid: str
    account_sid: str
    to: str
    sender: str | None
    service: str | None
    body: str
    segments: int
    media: int
    status: str
    validity: float
    send_at: datetime | None
    callback_url: str | None
    form: dict[str, str | list[str]]
    life: tuple[LifeFault, ...]
    arrived_at: float
    created: datetime = field(default_factory=now)
    updated: datetime = field(default_factory=now)
    sent: datetime | None = None
    left_at: float | None = None
    price: str | None = None
    error_code: int | None = None
    error_message: str | None = None
    callbacks: list[dict[str, Any]] = field(default_factory=list)
    forgotten: bool = False

    @property
    def queue_key(self) -> str:
        """What its queue hangs on: the Messaging Service, or the number."""
        return self.service or self.sender or ""

    def resource(self) -> dict[str, Any]:
        """The Message resource of Twilio's API: counts and price are strings, dates RFC 2822, the error code a number."""
        uri = f"/2010-04-01/Accounts/{self.account_sid}/Messages/{self.sid}"
        return {
            "account_sid": self.account_sid,
            "api_version": "2010-04-01",
            "body": self.body,
            "date_created": rfc2822(self.created),
            "date_sent": rfc2822(self.sent) if self.sent else None,
            "date_updated": rfc2822(self.updated),
            "direction": "outbound-api",
            "error_code": self.error_code,
            "error_message": self.error_message,
            "from": self.sender,
            "messaging_service_sid": self.service,
            "num_media": str(self.media),
            "num_segments": str(self.segments) if self.sender else "0",
            "price": self.price,
            "price_unit": "USD",
            "sid": self.sid,
            "status": self.status,
            "subresource_uris": {"media": f"{uri}/Media.json"},
            "to": self.to,
            "uri": f"{uri}.json",
        }

    def record(self) -> dict[str, Any]:
        """The resource and what only the control URL tells: arrival, departure, the form as it came, the callbacks made."""
        return self.resource() | {
            "arrived_at": self.arrived_at,
            "left_at": self.left_at,
            "segments": self.segments,
            "send_at": iso(self.send_at) if self.send_at else None,
            "form": self.form,
            "callbacks": self.callbacks,
        }


class Box:
    """Every message, oldest first, with an index by recipient."""

    def __init__(self) -> None:
        self._by_sid: dict[str, Message] = {}
        self._by_recipient: dict[tuple[str, str], dict[str, Message]] = {}

    def __len__(self) -> int:
        return len(self._by_sid)

    def __iter__(self) -> Iterator[Message]:
        return iter(self._by_sid.values())

    def newest(self) -> Iterator[Message]:
        """All, newest first."""
        return reversed(self._by_sid.values())

    def add(self, message: Message) -> None:
        """Keeps a message."""
        self._by_sid[message.sid] = message
        self._by_recipient.setdefault((message.account_sid, message.to), {})[message.sid] = message

    def get(self, account_sid: str, sid: str) -> Message | None:
        """The account's message with this Sid."""
        message = self._by_sid.get(sid)
        return message if message and message.account_sid == account_sid else None

    def of(self, account_sid: str, to: str | None = None) -> Iterable[Message]:
        """The account's messages, to one recipient or to all, newest first."""
        if to is not None:
            return reversed(self._by_recipient.get((account_sid, to), {}).values())
        return (message for message in self.newest() if message.account_sid == account_sid)

    def remove(self, message: Message) -> None:
        """Forgets one message; nothing more happens to it."""
        message.forgotten = True
        del self._by_sid[message.sid]
        of_recipient = self._by_recipient[message.account_sid, message.to]
        del of_recipient[message.sid]
        if not of_recipient:
            del self._by_recipient[message.account_sid, message.to]

    def clear(self) -> None:
        """Forgets all."""
        for message in self:
            message.forgotten = True
        self._by_sid.clear()
        self._by_recipient.clear()


def rfc2822(moment: datetime) -> str:
    """As Twilio writes dates, e.g. `Mon, 23 Nov 2026 10:00:00 +0000`; in English whatever the locale."""
    utc = moment.astimezone(UTC)
    return f"{_WEEKDAYS[utc.weekday()]}, {utc.day:02d} {_MONTHS[utc.month - 1]} {utc:%Y %H:%M:%S} +0000"

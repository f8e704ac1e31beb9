"""Faults on demand. An answer fault changes what the caller of the API sees; a life fault changes what later becomes of the message."""

from collections.abc import Iterator
from itertools import count
from typing import Annotated, Any, Literal

import msgspec

Operation = Literal["create", "list", "fetch", "update", "delete"]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=3600)]


class Match(msgspec.Struct, forbid_unknown_fields=True, rename={"sender": "from"}):
    """Whom a fault meets; what is left out matches all. `from` is a number or a Messaging Service."""

    operation: Operation = "create"
    account: str | None = None
    to: str | None = None
    sender: str | None = None

    def meets(self, operation: str, account: str, to: str | None, sender: str | None) -> bool:
        """Whether it applies to this request."""
        return self.operation == operation and self.account in (None, account) and self.to in (None, to) and self.sender in (None, sender)


class _Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag_field="action"):
    match: Match = msgspec.field(default_factory=Match)
    times: Annotated[int, msgspec.Meta(ge=1)] | None = None


class Status(_Fault, tag="status"):
    """A refusal as JSON. Without `code` the usual one of the status; with `accept` the message is taken all the same."""

    status: Annotated[int, msgspec.Meta(ge=400, le=599)]
    code: int | None = None
    message: str = "Refused on demand"
    headers: dict[str, str] = {}
    accept: bool = False


class NotJson(_Fault, tag="not_json"):
    """An answer as a proxy would give it, without a code of Twilio's."""

    status: Annotated[int, msgspec.Meta(ge=200, le=599)] = 503
    text: str = "<html><body><h1>Service Unavailable</h1></body></html>"
    content_type: Annotated[str, msgspec.Meta(pattern="^[a-z]+/[a-z.+-]+$")] = "text/html"
    accept: bool = False


class Delay(_Fault, tag="delay"):
    """Waits before it looks at the request."""

    seconds: Seconds


class AcceptThenDelay(_Fault, tag="accept_then_delay"):
    """Takes the message at once and answers late: with many seconds, accepted and timed out."""

    seconds: Seconds


class AcceptThenReset(_Fault, tag="accept_then_reset"):
    """Takes the message and resets the connection instead of an answer."""


class ResetBefore(_Fault, tag="reset_before"):
    """Resets the connection; nothing is taken."""


class _CallbackFault(_Fault, kw_only=True):
    statuses: list[str] = []

    def concerns(self, status: str) -> bool:
        """Whether the callback of this status is meant; none named means all."""
        return not self.statuses or status in self.statuses


class DropCallback(_CallbackFault, tag="drop_callback"):
    """The callback is never sent."""


class RepeatCallback(_CallbackFault, tag="repeat_callback"):
    """The callback is sent `copies` times in all, `seconds` apart."""

    copies: Annotated[int, msgspec.Meta(ge=2, le=1000)] = 2
    seconds: Seconds = 0


class DelayCallback(_CallbackFault, tag="delay_callback"):
    """The callback is sent late."""

    seconds: Seconds


class ReorderCallbacks(_Fault, tag="reorder_callbacks"):
    """All callbacks wait for the final one and leave last first."""


class Undelivered(_Fault, tag="undelivered"):
    """The message ends as `undelivered` (after sent) or `failed` (before)."""

    error_code: int = 30003
    status: Literal["undelivered", "failed"] = "undelivered"


AnswerFault = Status | NotJson | Delay | AcceptThenDelay | AcceptThenReset | ResetBefore
LifeFault = DropCallback | RepeatCallback | DelayCallback | ReorderCallbacks | Undelivered
Fault = AnswerFault | LifeFault


class Faults:
    """The armed faults, in the order in which they were armed."""

    def __init__(self) -> None:
        self._armed: dict[int, Fault] = {}
        self._hits: dict[int, int] = {}
        self._ids = count(1)

    def arm(self, fault: Fault) -> int:
        """Arms a fault; gives its id."""
        number = next(self._ids)
        self._armed[number], self._hits[number] = fault, 0
        return number

    def disarm(self, number: int | None = None) -> bool:
        """Removes one, or all; false when there is no such fault."""
        if number is None:
            self._armed.clear()
            return True
        return self._armed.pop(number, None) is not None

    def listed(self) -> list[dict[str, Any]]:
        """Each armed fault with its id and how often it struck."""
        return [{"id": number, "hits": self._hits[number], **msgspec.to_builtins(fault)} for number, fault in self._armed.items()]

    def answer(self, operation: str, account: str, to: str | None = None, sender: str | None = None) -> AnswerFault | None:
        """The first answer fault that meets the request; one of its times is used."""
        for number, fault in self._meeting(operation, account, to, sender):
            if isinstance(fault, AnswerFault):
                self._strike(number, fault)
                return fault
        return None

    def life(self, account: str, to: str, sender: str | None) -> tuple[LifeFault, ...]:
        """Every life fault that meets the new message; one time of each is used."""
        if not self._armed:
            return ()
        struck: list[LifeFault] = []
        for number, fault in self._meeting("create", account, to, sender):
            if isinstance(fault, LifeFault):
                self._strike(number, fault)
                struck.append(fault)
        return tuple(struck)

    def _meeting(self, *request: Any) -> Iterator[tuple[int, Fault]]:
        return ((number, fault) for number, fault in list(self._armed.items()) if fault.match.meets(*request))

    def _strike(self, number: int, fault: Fault) -> None:
        self._hits[number] += 1
        if self._hits[number] == fault.times:
            del self._armed[number]

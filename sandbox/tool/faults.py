"""Faults of an endpoint on demand: for the next `times` deliveries, or until removed."""

from itertools import count
from typing import Annotated, Any

import msgspec

Seconds = Annotated[float, msgspec.Meta(ge=0, le=3600)]


class _Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag_field="action"):
    """`path` names the address it strikes, such as `/book`; without one it strikes all."""

    path: str | None = None
    times: Annotated[int, msgspec.Meta(ge=1)] | None = None


class Status(_Fault, tag="status"):
    """An answer of one's own. With `accept` the effect is done all the same."""

    status: Annotated[int, msgspec.Meta(ge=200, le=599)]
    text: str = '{"error": "Refused on demand."}'
    content_type: Annotated[str, msgspec.Meta(pattern="^[a-z]+/[a-z.+-]+$")] = "application/json"
    headers: dict[str, str] = {}
    accept: bool = False


class Delay(_Fault, tag="delay"):
    """Waits, then does the effect and answers."""

    seconds: Seconds


class AcceptThenDelay(_Fault, tag="accept_then_delay"):
    """Does the effect at once and answers late."""

    seconds: Seconds


class ResetBefore(_Fault, tag="reset_before"):
    """Resets the connection; nothing is done."""


class ResetAfter(_Fault, tag="reset_after"):
    """Does the effect and resets the connection instead of an answer."""


Fault = Status | Delay | AcceptThenDelay | ResetBefore | ResetAfter


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

    def strike(self, path: str) -> Fault | None:
        """The first fault of this address; one of its times is used."""
        for number, fault in self._armed.items():
            if fault.path in (None, path):
                self._hits[number] += 1
                if self._hits[number] == fault.times:
                    del self._armed[number]
                return fault
        return None

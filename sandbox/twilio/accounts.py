"""Accounts: learned from the first request or declared through the control URL; their credentials, rates and requests in flight."""

import base64
import binascii
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated

import msgspec

from sandbox.twilio.refusals import Refusal, not_found

ACCOUNT_SID = re.compile(r"AC[0-9a-fA-F]{32}")

Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]


@dataclass(slots=True)
class Account:
    """One account. Rates are segments per second; None means that its senders never queue. Durations are seconds."""

    sid: str
    auth_token: str | None = None
    key_secrets: dict[str, str] = field(default_factory=dict)
    segments_per_second: float | None = None
    sender_rates: dict[str, float] = field(default_factory=dict)
    queue_seconds: float = 36_000
    concurrency: int = 100
    sent_after: float = 0.05
    delivered_after: float = 0.1
    schedule_ahead: float = 900
    messaging_services: dict[str, list[str]] = field(default_factory=dict)
    in_flight: int = 0

    def rate_of(self, sender: str) -> float | None:
        """The rate of one sender (a number, or a Messaging Service as a whole)."""
        return self.sender_rates.get(sender, self.segments_per_second)

    @contextmanager
    def flight(self) -> Iterator[int]:
        """Counts one request in flight and gives their number, this one included.

        Raises:
            Refusal: 429 with 20429 when there are more than `concurrency`.
        """
        self.in_flight += 1
        try:
            if self.in_flight > self.concurrency:
                raise Refusal(429, 20429, "Too Many Requests", {"Twilio-Concurrent-Requests": str(self.in_flight)})
            yield self.in_flight
        finally:
            self.in_flight -= 1


class Declaration(msgspec.Struct, forbid_unknown_fields=True):
    """What the control URL may say of an account; what it leaves out stays as it is."""

    sid: Annotated[str, msgspec.Meta(pattern=f"^{ACCOUNT_SID.pattern}$")]
    auth_token: str | msgspec.UnsetType | None = msgspec.UNSET
    key_secrets: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    segments_per_second: Positive | msgspec.UnsetType | None = msgspec.UNSET
    sender_rates: dict[str, Positive] | msgspec.UnsetType = msgspec.UNSET
    queue_seconds: Positive | msgspec.UnsetType = msgspec.UNSET
    concurrency: Annotated[int, msgspec.Meta(ge=0)] | msgspec.UnsetType = msgspec.UNSET
    sent_after: NotNegative | msgspec.UnsetType = msgspec.UNSET
    delivered_after: NotNegative | msgspec.UnsetType = msgspec.UNSET
    schedule_ahead: NotNegative | msgspec.UnsetType = msgspec.UNSET
    messaging_services: dict[str, Annotated[list[str], msgspec.Meta(min_length=1)]] | msgspec.UnsetType = msgspec.UNSET


class Accounts:
    """All accounts by Sid."""

    def __init__(self) -> None:
        self.by_sid: dict[str, Account] = {}

    def declare(self, declaration: Declaration) -> Account:
        """Creates or changes an account."""
        account = self._get(declaration.sid)
        for name in declaration.__struct_fields__:
            value = getattr(declaration, name)
            if value is not msgspec.UNSET:
                setattr(account, name, value)
        return account

    def authenticated(self, sid: str, authorization: str) -> Account:
        """The account of the path, when the `Authorization` header opens it.

        The first password of an account, and of each of its API keys, is taken as the right one unless it was declared.

        Raises:
            Refusal: 404 for a Sid that cannot be, 401 with 20003 for missing, malformed, foreign or wrong credentials.
        """
        if not ACCOUNT_SID.fullmatch(sid):
            raise not_found(f"/Accounts/{sid}")
        user, password = _basic(authorization)
        account = self.by_sid.get(sid) or Account(sid)
        if user == sid:
            account.auth_token = account.auth_token or password
            known = account.auth_token
        elif user.startswith("SK"):
            known = account.key_secrets.setdefault(user, password)
        else:
            raise _unauthenticated()
        if password != known:
            raise _unauthenticated()
        self.by_sid[sid] = account
        return account

    def _get(self, sid: str) -> Account:
        return self.by_sid.setdefault(sid, Account(sid))


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    try:
        user, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise _unauthenticated() from None
    if scheme.lower() != "basic" or not (user and colon and password):
        raise _unauthenticated()
    return user, password


def _unauthenticated() -> Refusal:
    return Refusal(401, 20003, "Authenticate", {"WWW-Authenticate": 'Basic realm="Twilio API"'})

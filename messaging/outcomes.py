"""What Twilio's answer to a create means for the message, and what a reported error means to the tenant.

Decided by Twilio's `code`, never by the HTTP status alone: 429 is both "not processed" (20429) and "day used up" (63038).
What was proved not sent may be repeated; what may have been accepted never is (creating a message takes no idempotency key).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from http import HTTPStatus
from typing import Any, assert_never

from messaging.faults import Action, ErrorClass, describe, fault

__all__ = [
    "Accepted",
    "Deferred",
    "Outcome",
    "Refused",
    "Unknown",
    "classify",
    "classify_exception",
    "describe",
    "fault",
    "next_status",
    "receipt_rank",
]

TOO_MANY_AT_ONCE = 20429
NOT_THE_TEXTS = frozenset({"open_circuit", "hold_1h", "hold_24h", "hold_until_day_reset", "pause_sender"})
_LONGEST_RETRY_AFTER = 3600.0
_LONGEST_NUMBER = 9  # digits
_FINAL = 90
_RANKS = {
    "accepted": 10,
    "scheduled": 10,
    "queued": 20,
    "sending": 30,
    "sent": 40,
    "partially_delivered": 50,
    "delivered": _FINAL,
    "undelivered": _FINAL,
    "failed": _FINAL,
    "canceled": _FINAL,
    "read": 100,
}


@dataclass(frozen=True, slots=True)
class Accepted:
    """Twilio has the text. `segments` and `price` are None until Twilio knows them; `error_code` if it failed at once."""

    sid: str
    status: str
    segments: int | None
    price: Decimal | None
    price_unit: str | None
    error_code: int | None


@dataclass(frozen=True, slots=True)
class Refused:
    """Not sent, and the same request would be refused again."""

    code: int
    error_class: ErrorClass
    action: Action
    reason: str
    what_to_do: str


@dataclass(frozen=True, slots=True)
class Deferred:
    """Proved not sent and worth repeating, in `retry_after` seconds where somebody said so. `code` is None if Twilio was not reached."""

    code: int | None
    error_class: ErrorClass
    action: Action
    retry_after: float | None
    reason: str

    @property
    def counted(self) -> bool:
        """Whether it was an attempt of the text's own: not where its account or sender was at fault, whatever the text."""
        return self.code != TOO_MANY_AT_ONCE and self.action not in NOT_THE_TEXTS


@dataclass(frozen=True, slots=True)
class Unknown:
    """It may have been accepted: reconcile, never repeat. `why` is for the operator."""

    why: str
    code: int | None = None


Outcome = Accepted | Refused | Deferred | Unknown


def classify(status: int, body: bytes, headers: Mapping[str, str]) -> Outcome:
    """The outcome of a create that was answered, whatever the body holds."""
    answer = _json_object(body)
    code = whole_number(answer.get("code"))
    match status // 100:
        case 2:
            return _accepted(status, answer)
        case 4:
            return _bare(status) if code is None else _by_code(code, status, _retry_after(headers))
        case _:
            return Unknown(f"HTTP {status}", code)


def classify_exception(error: BaseException, *, request_written: bool) -> Outcome:
    """The outcome of a create that was not answered: the request began to leave, or it did not."""
    if request_written:
        return Unknown(f"{type(error).__name__} after the request was written")
    return Deferred(None, "not_sent", "retry_backoff", None, f"Twilio could not be reached ({type(error).__name__}).")


def receipt_rank(status: str) -> int:
    """How far along a status of Twilio's is; 0 for one that says nothing of an outgoing text. Callbacks come unordered and repeated."""
    return _RANKS.get(status, 0)


def next_status(current: str | None, reported: str) -> str | None:
    """The status to record when `reported` arrives, or None: only a higher rank counts, the first final one stands.

    `read` follows `delivered` only.
    """
    if reported == "read" and current != "delivered":
        return None
    return reported if receipt_rank(reported) > receipt_rank(current or "") else None


def _accepted(status: int, answer: Mapping[str, Any]) -> Outcome:
    sid = answer.get("sid")
    if not isinstance(sid, str) or not sid:
        return Unknown(f"HTTP {status} without a message Sid")
    return Accepted(
        sid=sid,
        status=str(answer.get("status") or "accepted"),
        segments=whole_number(answer.get("num_segments")) or None,  # "0" until a Messaging Service has picked a sender
        price=_decimal(answer.get("price")),
        price_unit=answer.get("price_unit") if isinstance(answer.get("price_unit"), str) else None,
        error_code=whole_number(answer.get("error_code")),
    )


def _by_code(code: int, status: int, retry_after: float | None) -> Outcome:
    known = fault(code)
    if known.action == "open_circuit":  # nothing is wrong with the text: it waits until the credentials are mended
        return Deferred(code, known.error_class, known.action, retry_after, known.reason)
    match known.error_class:
        case "not_sent" | "backpressure" | "rate_signal" | "day_cap" | "account_cap":
            return Deferred(code, known.error_class, known.action, retry_after, known.reason)
        case "unknown" if status == HTTPStatus.TOO_MANY_REQUESTS:
            return Deferred(code, "unknown", "retry_backoff", retry_after, known.reason)
        case "ambiguous":
            return Unknown(f"Twilio's error {code}", code)
        case (
            "config" | "registration" | "recipient" | "opt_out" | "bad_request" | "blocked" | "soft" | "filtered"
            | "expired" | "policy" | "loop" | "info" | "unknown"
        ):  # fmt: skip
            return Refused(code, known.error_class, known.action, *describe(code))
        case unreachable:
            assert_never(unreachable)


def _bare(status: int) -> Outcome:
    """A 4xx without Twilio's code: a proxy's, or a page. Only the few that the table names mean something."""
    known = fault(status)
    if known.action == "open_circuit":
        return Deferred(status, known.error_class, known.action, None, known.reason)
    if known.error_class == "config":
        return Refused(status, known.error_class, known.action, *describe(status))
    return Unknown(f"HTTP {status} without Twilio's error code")


def _json_object(body: bytes) -> Mapping[str, Any]:
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}


def whole_number(value: object) -> int | None:
    """An integer that Twilio writes as a number here and as a string there; None for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _LONGEST_NUMBER:
        return int(value)
    return None


def _decimal(value: object) -> Decimal | None:
    try:
        number = Decimal(value) if isinstance(value, str) else None
    except InvalidOperation:
        return None
    return number if number is not None and number.is_finite() else None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header; Twilio documents none for messages, so it is honoured and never needed."""
    seconds = whole_number(headers.get("Retry-After", "").strip())
    return None if seconds is None else min(float(seconds), _LONGEST_RETRY_AFTER)

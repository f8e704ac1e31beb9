"""What a status or a report says of a call. Missing is not zero: what a report does not tell stays unknown."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, DecimalException
from typing import Any

import msgspec

RANKS = {"scheduled": 10, "queued": 20, "ringing": 30, "in-progress": 40, "forwarding": 50, "ended": 90}
UNKNOWN_RANK = 5
LONGEST_CALL = Decimal(7 * 24 * 3600)
MOST_COST = Decimal(100_000)
LONGEST_REASON = 200


@dataclass(frozen=True, slots=True)
class CallFacts:
    """A call as one message tells it; every figure may be unknown."""

    state: str
    started_at: datetime | None = None
    ended_at: datetime | None = None
    seconds: Decimal | None = None
    estimated_seconds: Decimal | None = None
    cost_usd: Decimal | None = None
    ended_reason: str | None = None

    @property
    def rank(self) -> int:
        """States arrive in any order; a call only moves up."""
        return RANKS.get(self.state, UNKNOWN_RANK)


class ReportMessage(msgspec.Struct, rename="camel"):
    """The fields of a report that are metered, at message level (never `message.call`, which is a snapshot from before the call)."""

    started_at: Any = None
    ended_at: Any = None
    duration_ms: Any = None
    duration_seconds: Any = None
    duration_minutes: Any = None
    cost: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    costs: Any = None
    ended_reason: Any = None
    status: Any = None
    messages: Any = None
    artifact: Any = None
    call: Any = None


class Report(msgspec.Struct):
    """The body of a report or status update."""

    message: ReportMessage


def report_facts(body: bytes) -> CallFacts:
    """What an end-of-call report tells."""
    message = msgspec.json.decode(body, type=Report).message
    started, ended = instant(message.started_at), instant(message.ended_at)
    seconds = length(message, started, ended)
    return CallFacts(
        state="ended",
        started_at=started,
        ended_at=ended,
        seconds=seconds,
        estimated_seconds=None if seconds is not None else estimate(message),
        cost_usd=within(number(raw_number(message.cost)), MOST_COST),
        ended_reason=reason(message),
    )


def status_facts(body: bytes) -> CallFacts:
    """What a status update tells."""
    message = msgspec.json.decode(body, type=Report).message
    state = message.status if isinstance(message.status, str) and message.status else "unknown"
    return CallFacts(state=state[:64].replace("\x00", ""), ended_reason=reason(message) if state == "ended" else None)


def length(message: ReportMessage, started: datetime | None, ended: datetime | None) -> Decimal | None:
    """Seconds: the end less the start, else the durations, else the vendor's own minutes; never another row's minutes."""
    if started and ended and ended >= started:
        return within(Decimal(str((ended - started).total_seconds())), LONGEST_CALL)
    for value, factor in (
        (message.duration_ms, Decimal("0.001")),
        (message.duration_seconds, Decimal(1)),
        (message.duration_minutes, Decimal(60)),
    ):
        found = within(number(value), LONGEST_CALL / factor)
        if found is not None:
            return found * factor
    rows = message.costs if isinstance(message.costs, list) else []
    minutes = next((number(row.get("minutes")) for row in rows if isinstance(row, dict) and row.get("type") == "vapi"), None)
    return None if minutes is None else within(minutes * 60, LONGEST_CALL)


def estimate(message: ReportMessage) -> Decimal | None:
    """From the first word to the last, by the messages' own clock in milliseconds; an estimate, and marked as one."""
    listed = message.messages
    if not isinstance(listed, list) and isinstance(message.artifact, dict):
        listed = message.artifact.get("messages")
    rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    begins = [begin for row in rows if (begin := number(row.get("time"))) is not None]
    ends = [end for row in rows if (end := number(row.get("endTime"))) is not None]
    if not begins or not ends or max(ends) <= min(begins):
        return None
    return within((max(ends) - min(begins)) / 1000, LONGEST_CALL)


def reason(message: ReportMessage) -> str | None:
    """Why the call ended: an open list of texts, at message level, in some bodies inside `call`."""
    inside = message.call.get("endedReason") if isinstance(message.call, dict) else None
    found = message.ended_reason or inside
    return found[:LONGEST_REASON].replace("\x00", "") if isinstance(found, str) and found else None


def instant(value: object) -> datetime | None:
    """An ISO 8601 text or milliseconds since 1970 as an instant; anything else is unknown."""
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None


def raw_number(raw: msgspec.Raw | msgspec.UnsetType) -> object:
    """A JSON number digit by digit: a float would cut its tail."""
    if isinstance(raw, msgspec.UnsetType):
        return None
    try:
        return msgspec.json.decode(raw, type=Decimal | None)
    except msgspec.DecodeError:
        return None


def number(value: object) -> Decimal | None:
    """A finite number that is not negative."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        found = Decimal(str(value))
    except (DecimalException, ValueError):
        return None
    return found if found.is_finite() and found >= 0 else None


def within(value: Decimal | None, most: Decimal) -> Decimal | None:
    """A figure that can be true; an absurd one is unknown."""
    return value if value is not None and value <= most else None

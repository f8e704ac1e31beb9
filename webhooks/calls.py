"""What a status or a report says of a call. Missing is not zero: what a report does not tell stays unknown."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, DecimalException

import msgspec
from msgspec import UNSET, Raw, UnsetType

from runtime import clock
from webhooks.envelope import LONGEST_ID, UNREADABLE, decoded, id_in, present, reread

RANKS = {"scheduled": 10, "queued": 20, "ringing": 30, "in-progress": 40, "forwarding": 50, "ended": 90}
UNKNOWN_RANK = 5
LONGEST_CALL = Decimal(7 * 24 * 3600)
MOST_COST = Decimal(100_000)
DIGITS, FINEST = Context(prec=30), -12  # more than any price or clock has; a body may hold millions of them
LONGEST_REASON = 200
EPOCH, LAST_MS = datetime(1970, 1, 1, tzinfo=UTC), 2**48 - 1  # as many as a standing has room for
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
MOST_AHEAD = timedelta(days=1)  # clocks differ, but a call that ends next year would never be billed

Part = Raw | UnsetType


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
    phone_number_id: str | None = None
    call_type: str | None = None
    said_ms: int = 0  # the message's own time, in milliseconds since 1970; 0 where it has none

    @property
    def figures(self) -> tuple[object, ...]:
        """What is metered and shown; a repetition that says the same has the same, whenever it was sent."""
        return (self.state, self.started_at, self.ended_at, self.seconds, self.estimated_seconds, self.cost_usd, self.ended_reason)

    @property
    def rank(self) -> int:
        """States arrive in any order; a call only moves up."""
        return RANKS.get(self.state, UNKNOWN_RANK)


class ReportMessage(msgspec.Struct, rename="camel"):
    """The fields of a report that are kept, at message level: `message.call` is a snapshot from before the call, which tells its line only.

    Each is decoded on its own: one that cannot be read is unknown and does not take the others with it.
    """

    started_at: Part = UNSET
    ended_at: Part = UNSET
    duration_ms: Part = UNSET
    duration_seconds: Part = UNSET
    duration_minutes: Part = UNSET
    cost: Part = UNSET
    costs: Part = UNSET
    ended_reason: Part = UNSET
    status: Part = UNSET
    messages: Part = UNSET
    artifact: Part = UNSET
    call: Part = UNSET
    timestamp: Part = UNSET
    phone_number: Part = UNSET


class Line(msgspec.Struct, rename="camel"):
    """What is read of `message.call`, which does not change during a call; in Vapi's own answer it stands at the top level."""

    type: Part = UNSET
    phone_number_id: Part = UNSET


class Report(msgspec.Struct):
    """The body of a report or status update."""

    message: ReportMessage


REPORT = msgspec.json.Decoder(Report)
ANSWER = msgspec.json.Decoder(ReportMessage)
LINE = msgspec.json.Decoder(Line)


def report_facts(body: bytes) -> CallFacts:
    """What an end-of-call report tells.

    Raises:
        Invalid: the body cannot be read.
    """
    message = reread(REPORT, body).message
    return ended_facts(message, line_of(message))


def answer_facts(body: bytes) -> CallFacts | None:
    """What Vapi's `GET /call/{id}` tells of a call, whose fields are a report's at the top level; None unless it has ended.

    Raises:
        Invalid: the body cannot be read.
    """
    answer = reread(ANSWER, body)
    return ended_facts(answer, reread(LINE, body)) if decoded(answer.status) == "ended" else None


def ended_facts(message: ReportMessage, line: Line) -> CallFacts:
    """What is known of a call that has ended."""
    started, ended = instant(decoded(message.started_at)), instant(decoded(message.ended_at))
    seconds = length(message, started, ended)
    return CallFacts(
        state="ended",
        started_at=started,
        ended_at=ended,
        seconds=seconds,
        estimated_seconds=None if seconds is not None else estimate(message),
        cost_usd=within(number(raw_number(message.cost)), MOST_COST),
        ended_reason=reason(message),
        phone_number_id=short(line.phone_number_id),
        call_type=short(line.type),
        said_ms=milliseconds(decoded(message.timestamp)),
    )


def status_facts(body: bytes) -> CallFacts:
    """What a status update tells.

    Raises:
        Invalid: the body cannot be read.
    """
    message = reread(REPORT, body).message
    status = decoded(message.status)
    state = status[:64].replace("\x00", "") if isinstance(status, str) and status else "unknown"
    line = line_of(message)
    return CallFacts(
        state=state,
        ended_reason=reason(message) if state == "ended" else None,
        phone_number_id=short(line.phone_number_id),
        call_type=short(line.type),
        said_ms=milliseconds(decoded(message.timestamp)),
    )


def line_of(message: ReportMessage) -> Line:
    """The line a message is about; the number's own object tells its id where `call` does not."""
    found = Line()
    if present(message.call):
        with suppress(*UNREADABLE):
            found = LINE.decode(message.call)
    if short(found.phone_number_id) is None:
        number_id = id_in(message.phone_number)
        found.phone_number_id = UNSET if number_id is None else Raw(msgspec.json.encode(number_id))
    return found


def short(raw: Part) -> str | None:
    """A word or an id; anything else is unknown."""
    value = decoded(raw)
    return value if isinstance(value, str) and 0 < len(value) <= LONGEST_ID and "\x00" not in value else None


def milliseconds(value: object) -> int:
    """When a message says that it was sent, as milliseconds since 1970: they order messages of one kind and mean nothing else."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return 0
        value = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - EPOCH) / timedelta(milliseconds=1)
    found = number(value)
    return int(found) if found is not None and found <= LAST_MS else 0


def length(message: ReportMessage, started: datetime | None, ended: datetime | None) -> Decimal | None:
    """Seconds: the end less the start, else the durations, else the vendor's own minutes; never another row's minutes."""
    if started and ended and ended >= started:
        return within(Decimal(str((ended - started).total_seconds())), LONGEST_CALL)
    for value, factor in (
        (message.duration_ms, Decimal("0.001")),
        (message.duration_seconds, Decimal(1)),
        (message.duration_minutes, Decimal(60)),
    ):
        found = within(number(decoded(value)), LONGEST_CALL / factor)
        if found is not None:
            return found * factor
    costs = decoded(message.costs)
    rows = costs if isinstance(costs, list) else []
    minutes = next((number(row.get("minutes")) for row in rows if isinstance(row, dict) and row.get("type") == "vapi"), None)
    return None if minutes is None else within(minutes * 60, LONGEST_CALL)


def estimate(message: ReportMessage) -> Decimal | None:
    """From the first word to the last, by the messages' own clock in milliseconds; an estimate, and marked as one."""
    listed = decoded(message.messages)
    if not isinstance(listed, list):
        artifact = decoded(message.artifact)
        listed = artifact.get("messages") if isinstance(artifact, dict) else None
    rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    begins = [begin for row in rows if (begin := number(row.get("time"))) is not None]
    ends = [end for row in rows if (end := number(row.get("endTime"))) is not None]
    if not begins or not ends or max(ends) <= min(begins):
        return None
    return within((max(ends) - min(begins)) / 1000, LONGEST_CALL)


def reason(message: ReportMessage) -> str | None:
    """Why the call ended: an open list of texts, at message level, in some bodies inside `call`."""
    found = decoded(message.ended_reason)
    if not found:
        call = decoded(message.call)
        found = call.get("endedReason") if isinstance(call, dict) else None
    return found[:LONGEST_REASON].replace("\x00", "") if isinstance(found, str) and found else None


def instant(value: object) -> datetime | None:
    """An ISO 8601 text or milliseconds since 1970 as an instant; anything else, and any that cannot be true, is unknown."""
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            moment = datetime.fromtimestamp(value / 1000, UTC)
        else:
            return None
    except (ValueError, OverflowError, OSError):
        return None
    return moment if EARLIEST <= moment <= clock.now() + MOST_AHEAD else None


def raw_number(raw: Part) -> object:
    """A JSON number digit by digit: a float would cut its tail."""
    if isinstance(raw, UnsetType):
        return None
    try:
        return msgspec.json.decode(raw, type=Decimal | None)
    except UNREADABLE:
        return None


def number(value: object) -> Decimal | None:
    """A finite number that is not negative, in as many digits as mean something."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        found = DIGITS.create_decimal(str(value))
    except (DecimalException, ValueError):
        return None
    if not found.is_finite() or found < 0:
        return None
    return found if found.adjusted() >= FINEST else Decimal(0)


def within(value: Decimal | None, most: Decimal) -> Decimal | None:
    """A figure that can be true; an absurd one is unknown."""
    return value if value is not None and value <= most else None

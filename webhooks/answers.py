"""What goes back to Vapi. Tool calls: 200, one entry per call in order, each one line of text under its id and name."""

from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

CONFLICT = "This tool call was made before with other arguments, so nothing was done. Make a new call."
NOT_NOW = "This could not be done just now. Try again in a moment."
DONE = "Done."
UNCERTAIN = "It is not certain whether this was done. Check before trying again."
FUNCTION_CALL = "function-call"
SUSPENDED = "This service is paused for this business, so nothing was done."


NOTHING = b"{}"


class Answer(msgspec.Struct, frozen=True):
    """What goes back to Vapi with 200; the key it was recorded under, and the webhook's id where this delivery was the first."""

    body: bytes
    replayed: bool = False
    key: bytes | None = None
    recorded: UUID | None = None


class Entry(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What Vapi reads for one call: a result, or an error; never both."""

    tool_call_id: str
    name: str
    result: str | None = None
    error: str | None = None


ENCODER = msgspec.json.Encoder()


def entry(tool_call_id: str | None, name: str, *, result: str | None = None, error: str | None = None) -> str:
    """One result as JSON. Line breaks are folded: Vapi ignores an answer that holds one, and takes an empty one for none."""
    if result is not None:
        return ENCODER.encode(Entry(tool_call_id or "", name, result=one_line(result) or DONE)).decode()
    return ENCODER.encode(Entry(tool_call_id or "", name, error=one_line(error or "") or NOT_NOW)).decode()


def function_result(said: str | None) -> str:
    """The answer to a function-call message, the tool call of old: one text, whatever became of it."""
    return msgspec.json.encode({"result": one_line(said or "") or NOT_NOW}).decode()


def one_line(text: str) -> str:
    """Any text on one line."""
    return " ".join(text.split())


def results(entries: list[str]) -> bytes:
    """The body that answers a tool-calls message."""
    return b'{"results":[' + ",".join(entries).encode() + b"]}"


def queued(wait: float, due_at: datetime | None, zone: ZoneInfo, *, held: bool = False) -> str:
    """What the caller hears about a text: honest about when it leaves."""
    if held:
        return "Queued. Sending is paused at the moment, the text leaves when that ends."
    if due_at is not None:
        return f"Scheduled, leaves on {spoken_time(due_at, zone)}."
    return "Queued, leaves now." if wait < 2 else f"Queued, leaves in about {spoken_duration(wait)}."  # noqa: PLR2004  under two seconds is now


def spoken_duration(seconds: float) -> str:
    """A duration as people say it."""
    for size, unit in ((3600, "hour"), (60, "minute")):
        if seconds >= size * 1.5:
            count = round(seconds / size)
            return f"{count} {unit}{'s' if count != 1 else ''}"
    return f"{max(1, round(seconds))} s"


def spoken_time(moment: datetime, zone: ZoneInfo) -> str:
    """An instant in the tenant's zone as people say it: "Monday, November 23, 2026, 3:05 PM"."""
    local = moment.astimezone(zone)
    return f"{local:%A, %B} {local.day}, {local.year}, {local.hour % 12 or 12}:{local:%M %p}"

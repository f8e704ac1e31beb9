"""What a tool of the tenant's own answered, as one honest line; pure."""

import re
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from msgspec import UNSET

from webhooks.answers import one_line

Kind = Literal["done", "refused", "not_reached", "doubtful"]

LONGEST_LINE, LONGEST_ERROR = 1_000, 300
NOTHING_TO_SAY = "Done."
DOUBTFUL = "It is not certain whether this was done. Check before trying again."
MARKUP = re.compile(r"\s*(<!doctype|<\?xml|<html|<head|<body)", re.IGNORECASE)
CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff]")  # not white space: that is folded
RESULT_FIELDS, ERROR_FIELDS = ("result", "message", "text"), ("message", "detail", "error")  # `error` is often a mere code


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it was read: at most the first 64 kB, without its unknown encoding."""

    status: int
    content_type: str
    text: str


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """How a tool call ended.

    `done`: 2xx. `refused`: the tool says no, finally. `not_reached`: nothing was done, it may be run again. `doubtful`: it was
    sent and nobody knows. `text` is spoken to the caller; `status` is of the last answer; `attempts` counts requests; `reply` is
    a 2xx answer as it came.
    """

    kind: Kind
    text: str
    status: int | None = None
    attempts: int = 0
    reply: Reply | None = field(default=None, compare=False, repr=False)


def done(reply: Reply, tool: str, tool_call_id: str | None) -> ToolOutcome:
    """A 2xx answer; one that says in a usual form that it failed is a refusal."""
    value = decoded(reply)
    entry = entry_for(value, tool_call_id)
    if isinstance(entry, dict) and entry.get("error") and not entry.get("result"):
        return ToolOutcome("refused", error_in(entry) or f"{named(tool)} refused this.", reply.status, reply=reply)
    if value is UNSET:
        line = plain(reply)
    elif isinstance(entry, dict):
        line = first_of(entry, RESULT_FIELDS) or spoken(entry if entry is value else entry.get("result"))
    else:
        line = spoken(entry)
    return ToolOutcome("done", line or NOTHING_TO_SAY, reply.status, reply=reply)


def refused(reply: Reply, tool: str, tool_call_id: str | None) -> ToolOutcome:
    """A 4xx answer: its own short words, else ours."""
    words = error_in(entry_for(decoded(reply), tool_call_id))
    return ToolOutcome("refused", words or f"{named(tool)} refused this, so nothing was done (status {reply.status}).", reply.status)


def not_reached(tool: str, status: int | None = None) -> ToolOutcome:
    """Nothing was done."""
    why = "could not be reached" if status is None else "is busy"
    return ToolOutcome("not_reached", f"{named(tool)} {why}, so nothing was done. Try again in a moment.", status)


def misled(tool: str, status: int) -> ToolOutcome:
    """A redirect that is not followed: nothing was done, and trying again will not help until somebody mends the tool."""
    return ToolOutcome("not_reached", f"{named(tool)} is not set up correctly, so nothing was done.", status)


def doubtful(status: int | None = None) -> ToolOutcome:
    """It was sent and nobody knows."""
    return ToolOutcome("doubtful", DOUBTFUL, status)


def named(tool: str) -> str:
    """A tool as people say it: "The book table tool"."""
    words = one_line(tool.replace("_", " ").replace("-", " "))
    return f"The {words} tool" if words else "The tool"


def decoded(reply: Reply) -> Any:
    """The JSON of an answer, whatever its type says; UNSET where it is none."""
    try:
        return msgspec.json.decode(reply.text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return UNSET


def entry_for(value: Any, tool_call_id: str | None) -> Any:
    """Of an answer in Vapi's own form the entry of this call; any other answer as it is."""
    entries = value.get("results") if isinstance(value, dict) else None
    if not isinstance(entries, list) or not entries or not all(is_entry(each) for each in entries):
        return value
    return next((each for each in entries if tool_call_id is not None and each.get("toolCallId") == tool_call_id), entries[0])


def is_entry(value: Any) -> bool:
    """Whether it has the form of an entry in Vapi's `results`."""
    return isinstance(value, dict) and ("result" in value or "error" in value)


def error_in(value: Any) -> str | None:
    """The short words of an error, also those inside `{"error": {"message": …}}`."""
    if not isinstance(value, dict):
        return None
    nested = value.get("error")
    found = first_of(nested if isinstance(nested, dict) else value, ERROR_FIELDS)
    return found if found and len(found) <= LONGEST_ERROR and not MARKUP.match(found) else None


def first_of(value: dict[str, Any], names: tuple[str, ...]) -> str | None:
    """The first of these fields that is text with something in it, on one line."""
    return next((line for name in names if isinstance(value.get(name), str) and (line := folded(value[name]))), None)


def spoken(value: Any) -> str:
    """Any JSON on one line: text as it is, else compact; null and empty things say nothing."""
    if value in (None, {}, []):
        return ""
    return folded(value if isinstance(value, str) else msgspec.json.encode(value).decode())


def plain(reply: Reply) -> str:
    """Text on one line; a page of HTML is never spoken."""
    is_page = "html" in reply.content_type or "xml" in reply.content_type or MARKUP.match(reply.text)
    return "" if is_page else folded(reply.text)


def folded(text: str) -> str:
    """At most 1,000 characters on one line that a row can hold and a voice can read."""
    line = one_line(CONTROLS.sub("", text))
    return line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 1] + "…"

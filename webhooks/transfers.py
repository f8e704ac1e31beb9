"""Where a caller is put through to: an entry of the tenant's directory, by what the caller wants, while it is open. Pure."""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import msgspec

from tenants.destinations import as_vapi
from tenants.hours import next_opening, open_at
from tenants.snapshot import Snapshot
from tenants.transfer_directory import EntryView
from webhooks.answers import one_line, spoken_time
from webhooks.envelope import decoded
from webhooks.tool_calls import arguments

NOWHERE = "Sorry, there is nobody to put this call through to."
UNCLEAR = "It is not clear whom to put this call through to. Ask the caller, and name one of: {names}."
CLOSED = "Sorry, nobody can take this call at the moment."
CALLS = ("functionCall", "toolCall", "toolCalls", "toolCallList", "toolWithToolCallList")
WISHES = ("name", "entry", "destination", "department", "to", "target", "reason")  # the likeliest first
MOST_TEXTS, LONGEST_TEXT = 50, 2_000
NO_WORD = re.compile(r"[^a-z0-9]+")


def transfer(tenant: Snapshot, fields: dict[str, msgspec.Raw], now: datetime) -> dict[str, Any]:
    """What Vapi is told: a destination, or an error that the caller can be told."""
    if not tenant.transfers:
        return {"error": NOWHERE}
    entry = wanted(tenant.transfers, list(wishes(fields)))
    if entry is None:
        return {"error": UNCLEAR.format(names=", ".join(each.name for each in tenant.transfers[:20]))}
    hours = entry.hours or tenant.hours
    if hours is not None and not open_at(hours, tenant.zone, now):
        opens = next_opening(hours, tenant.zone, now)
        again = "" if opens is None else f" We open again on {spoken_time(opens, tenant.zone)}."
        return {"error": one_line(entry.closed_message or CLOSED) + again}
    return {"destination": as_vapi(entry.destination, None if entry.message is None else one_line(entry.message))}


def wanted(entries: tuple[EntryView, ...], texts: list[str]) -> EntryView | None:
    """The entry that a text names as it is, else the only one that the texts speak of, else the default."""
    by_name = {words(entry.name): entry for entry in entries}
    for text in texts:
        if words(text) in by_name:
            return by_name[words(text)]
    spoken = [f" {words(text)} " for text in texts]
    named = [entry for name, entry in by_name.items() if any(f" {name} " in text for text in spoken)]
    return named[0] if len(named) == 1 else next((entry for entry in entries if entry.is_default), None)


def words(text: str) -> str:
    """A text by its words alone: "Front-Desk" is "front desk"."""
    return NO_WORD.sub(" ", text.lower()).strip()


def wishes(fields: dict[str, msgspec.Raw]) -> Iterator[str]:
    """What the message says of the caller's wish, the likeliest first: arguments of its calls, its parameters, its own words."""
    found = [
        *(given for name in CALLS for given in given_in(decoded(fields[name]) if name in fields else None)),
        *filter(None, [arguments(decoded(fields["parameters"]))] if "parameters" in fields else []),
        {name: decoded(fields[name]) for name in WISHES if name in fields},
    ]
    ordered = [values[name] for name in WISHES for values in found if name in values]
    ordered += [value for values in found for name, value in values.items() if name not in WISHES]
    texts = (value[:LONGEST_TEXT] for value in ordered if isinstance(value, str) and value.strip())
    return (text for _, text in zip(range(MOST_TEXTS), texts, strict=False))


def given_in(value: Any) -> Iterable[dict[str, Any]]:
    """The arguments of a call, or of each in a list, whatever shape it has."""
    if isinstance(value, list):
        return [given for each in value[:MOST_TEXTS] for given in given_in(each)]
    if not isinstance(value, dict):
        return []
    inner = [each for each in (value.get("toolCall"), value.get("function")) if isinstance(each, dict)]
    named = [arguments(each[name]) for each in (value, *inner) for name in ("arguments", "parameters") if name in each]
    deeper = [given for each in inner for given in given_in(each.get("function"))]
    return [*filter(None, named), *deeper]

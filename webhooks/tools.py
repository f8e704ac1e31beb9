"""The tools a model may call. Each is prepared without I/O: what to write and what to say is decided before the database is asked."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from messaging.acceptance import AcceptedText, BadText, accept_text
from runtime import clock
from tenants.snapshot import Snapshot
from webhooks.answers import queued, spoken_time

SAME_TEXT = "This text was accepted a moment ago already, so it is not sent twice."
SAME_TEXT_SECONDS = 600.0  # within a call; the model often calls a tool twice with two ids
OPTED_OUT = "This person asked not to be texted, so nothing was sent."


class Prepared(msgspec.Struct, frozen=True):
    """What a tool call will do. `final` answers are stored; the others are not, so that a retry runs."""

    result: str | None = None
    error: str | None = None
    text: AcceptedText | None = None
    final: bool = True


def send_sms(tenant: Snapshot, caller: str | None, given: dict[str, Any]) -> Prepared:
    """`send_sms {to?, body, send_at?}`: text the caller, or whom the model names."""
    try:
        to, body = text_argument(given, "to", caller), text_argument(given, "body", None)
        accepted = accept_text(tenant, to, body, send_at=time_argument(given, "send_at"))
    except BadText as error:
        return Prepared(error=str(error), final=error.final)
    return Prepared(result=queued(accepted.wait, accepted.due_at, tenant.zone, held=accepted.held), text=accepted)


def current_time(tenant: Snapshot, _caller: str | None, _given: dict[str, Any]) -> Prepared:
    """`current_time {}`: the tenant's local time."""
    now = clock.now()
    return Prepared(
        result=f"It is {spoken_time(now, tenant.zone)} ({tenant.zone.key}, {now.astimezone(tenant.zone).isoformat(timespec='minutes')})."
    )


TOOLS: dict[str, Callable[[Snapshot, str | None, dict[str, Any]], Prepared]] = {"send_sms": send_sms, "current_time": current_time}


def prepare(tenant: Snapshot, name: str, caller: str | None, given: dict[str, Any] | None) -> Prepared:
    """What a call of this tool will do and say."""
    tool = TOOLS.get(name)
    if tool is None:
        return Prepared(error=f"There is no tool named {name}." if name else "This tool call names no tool.")
    if given is None:
        return Prepared(error="The arguments of this call could not be read as a JSON object.")
    return tool(tenant, caller, given)


def text_argument(given: dict[str, Any], name: str, default: str | None) -> str:
    """An argument that is text."""
    value = given.get(name)
    if value is None or value == "":
        value = default if value is None or default else value
    if value is None:
        missing = "There is no number to text: say whom to text." if name == "to" else f"The argument {name} is missing."
        raise BadText(f"/{name}", missing)
    if not isinstance(value, str):
        raise BadText(f"/{name}", f"The argument {name} should be text.")
    return value


def time_argument(given: dict[str, Any], name: str) -> datetime | None:
    """An argument that is an instant with its offset (RFC 3339)."""
    value = given.get(name)
    if value in (None, ""):
        return None
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise BadText(f"/{name}", f"The argument {name} should be a time such as 2026-03-01T09:00:00-08:00.") from error

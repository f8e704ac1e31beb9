"""The tools a model may call. Each is prepared without I/O: what to write and what to say is decided before the database is asked."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from messaging import text_policy
from messaging.acceptance import BadText, accept_text
from runtime import clock
from tenants.snapshot import Snapshot
from webhooks.acting_tools import cancel_sms, opt_out
from webhooks.answers import queued
from webhooks.prepared import Prepared, Speaking, text_argument
from webhooks.time_tools import current_time, opening_hours, resolve_date

SAME_TEXT = "This text was accepted a moment ago already, so it is not sent twice."
SAME_TEXT_SECONDS = 600.0  # within a call; the model often calls a tool twice with two ids
OPTED_OUT = "This person asked not to be texted, so nothing was sent."


def send_sms(tenant: Snapshot, speaking: Speaking, given: dict[str, Any]) -> Prepared:
    """`send_sms {to?, body, send_at?}`: text the caller, or whom the model names, as far as the tenant's policy lets it."""
    try:
        to, body = text_argument(given, "to", speaking.caller), text_argument(given, "body", None)
        if refusal := text_policy.refusal(tenant, speaking.caller, to, body):
            return Prepared(error=refusal.sentence, refusal=refusal.reason)
        accepted = accept_text(tenant, to, body, send_at=time_argument(given, "send_at"))
    except BadText as error:
        return Prepared(error=str(error), final=error.final)
    return Prepared(result=queued(accepted.wait, accepted.due_at, tenant.zone, held=accepted.held), text=accepted)


Tool = Callable[[Snapshot, Speaking, dict[str, Any]], Prepared]
TOOLS: dict[str, Tool] = {
    "send_sms": send_sms,
    "cancel_sms": cancel_sms,
    "current_time": current_time,
    "resolve_date": resolve_date,
    "opening_hours": opening_hours,
    "opt_out": opt_out,
}
TIMED = frozenset({"resolve_date", "opening_hours"})  # whose answer depends on when it was asked for


def prepare(
    tenant: Snapshot,
    name: str,
    caller: str | None,
    given: dict[str, Any] | None,
    *,
    call_id: str | None = None,
    moment: datetime | None = None,
) -> Prepared:
    """What a call of this tool will do and say; `moment` is when it was said, now if nobody knows."""
    tool = TOOLS.get(name)
    if tool is None:
        return Prepared(error=f"There is no tool named {name}." if name else "This tool call names no tool.")
    if given is None:
        return Prepared(error="The arguments of this call could not be read as a JSON object.")
    return tool(tenant, Speaking(caller, call_id, moment or clock.now()), given)


def time_argument(given: dict[str, Any], name: str) -> datetime | None:
    """An argument that is an instant with its offset (RFC 3339)."""
    value = given.get(name)
    if value in (None, ""):
        return None
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise BadText(f"/{name}", f"The argument {name} should be a time such as 2026-03-01T09:00:00-08:00.") from error

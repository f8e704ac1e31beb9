"""The tools as a Vapi assistant is told of them: name, what the model should know, and the JSON schema of the arguments.

Described here once; what a tool does stands in webhooks/tools.py. Format: VapiAI/docs, CreateFunctionToolDTO.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tenants.snapshot import Snapshot

NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}}
CALLERS_NUMBER = "{{customer.number}}"  # Vapi fills it in after the model, which cannot see or change it


def words(description: str) -> dict[str, Any]:
    """An argument that is text."""
    return {"type": "string", "description": description}


OURS: dict[str, tuple[str, dict[str, Any]]] = {
    "send_sms": (
        "Sends a text message (SMS) to the caller. Say the result: it tells when the text leaves. Call it once per text.",
        {
            "type": "object",
            "properties": {
                "body": words("The words of the text, at most 1,600 characters."),
                "to": words("A phone number with its country code, such as +12135550123. Leave it out to text the caller."),
                "send_at": words("When to send it, as resolve_date gives it: 2026-03-01T09:00:00-08:00. Leave it out to send it now."),
            },
            "required": ["body"],
        },
    ),
    "cancel_sms": (
        "Cancels the newest text of this call to the caller that has not left yet. Say the result: it may be too late.",
        NO_ARGUMENTS,
    ),
    "current_time": ("Tells the present date and time where the business is. Never guess them.", NO_ARGUMENTS),
    "resolve_date": (
        "Turns a date or time as the caller said it into an absolute one. Use it for every date that the caller names, read the weekday, "  # noqa: ISC004  one sentence
        "the date and the time back, and use what stands in brackets for other tools.",
        {
            "type": "object",
            "properties": {
                "phrase": words('One day, one time, or both, in the caller\'s words: "tomorrow at 3", "next Friday", "in two weeks".')
            },
            "required": ["phrase"],
        },
    ),
    "opening_hours": (
        "Tells whether the business is open now, or its hours on a day, or whether it is open at a time.",
        {
            "type": "object",
            "properties": {"day": words('A day or a time as the caller said it: "Saturday", "tomorrow at 8 PM". Leave it out for now.')},
        },
    ),
    "opt_out": (
        "The caller gets no more text messages from this business. Use it when the caller asks for that.",
        NO_ARGUMENTS,
    ),
}


def described(
    tenant: Snapshot,
    webhook_url: str,
    own: Sequence[Mapping[str, Any]] = (),
    *,
    server: Mapping[str, Any] | None = None,
    caller_only: bool = False,
) -> list[dict[str, Any]]:
    """Ready tools of a Vapi assistant that call `webhook_url`: ours, and of `own` (rows of http_tools) those with a description.

    `server` joins the tool's server object. A tool's own server does not inherit the assistant's credential, so it needs the
    `credentialId` or the `headers` that the assistant's has. With `caller_only` send_sms takes no number from the model.
    """
    where = {"url": webhook_url, **(server or {})}
    tools = [tool(name, text, schema, where) for name, (text, schema) in OURS.items()]
    if caller_only:
        tools[0] = to_caller_only(tools[0])
    callable_ones = [row for row in own if row["name"] in tenant.tools and row["description"].strip()]
    return tools + [tool(row["name"], row["description"], row["parameters"] or NO_ARGUMENTS, where) for row in callable_ones]


def tool(name: str, description: str, parameters: Mapping[str, Any], server: Mapping[str, Any]) -> dict[str, Any]:
    """One tool."""
    return {
        "type": "function",
        "async": False,
        "function": {"name": name, "description": description, "parameters": dict(parameters)},
        "server": dict(server),
    }


def to_caller_only(given: dict[str, Any]) -> dict[str, Any]:
    """A text that can go to the caller alone: a static parameter wins over whatever the model says (VapiAI/docs, static variables)."""
    function = given["function"]
    properties = {name: each for name, each in function["parameters"]["properties"].items() if name != "to"}
    narrowed = {**function, "parameters": {**function["parameters"], "properties": properties}}
    return {**given, "function": narrowed, "parameters": [{"key": "to", "value": CALLERS_NUMBER}]}

"""The tool calls of a webhook. They are sent up to three times over: one list is read, never two, and never the history."""

from typing import Any

import msgspec
from msgspec import Raw, UnsetType

from runtime.refusals import Invalid
from webhooks.answers import CONFLICT
from webhooks.envelope import UNREADABLE, Message, decoded, present
from webhooks.keys import CONSTANT_IDS

MOST_CALLS = 64
TOO_MANY = "These are too many tool calls at once, so this one was not done. Make it again by itself."


class ToolCall(msgspec.Struct, frozen=True):
    """One call: `arguments` is None when they cannot be read as an object; with a `fault` it is answered and not run."""

    id: str | None
    name: str
    arguments: dict[str, Any] | None
    fault: str | None = None


def tool_calls(message: Message) -> list[ToolCall]:
    """The calls in their order, each id once; shapes A to F of real and documented deliveries.

    Raises:
        Invalid: the list is none, or cannot be read: then nobody knows whom to answer.
    """
    if present(message.tool_call_list):
        found = [plain(item) for item in items("toolCallList", message.tool_call_list)]
    elif present(message.tool_calls):
        found = [plain(item) for item in items("toolCalls", message.tool_calls)]
    else:
        found = [with_definition(item) for item in items("toolWithToolCallList", message.tool_with_tool_call_list)]
    once: dict[object, ToolCall] = {}
    for place, call in enumerate(found):
        known = once.setdefault(place if call.id is None or call.id in CONSTANT_IDS else call.id, call)
        if (known.name, known.arguments) != (call.name, call.arguments):
            once[place] = msgspec.structs.replace(call, fault=CONFLICT)
    calls = list(once.values())
    return calls[:MOST_CALLS] + [msgspec.structs.replace(call, fault=TOO_MANY) for call in calls[MOST_CALLS:]]


def function_calls(message: Message) -> list[ToolCall]:
    """The one call of a function-call message (shape G): `functionCall: {name, parameters, id?}`.

    Raises:
        Invalid: there is none that can be read: then nobody knows what was asked.
    """
    found = decoded(message.function_call)
    if not isinstance(found, dict):
        raise Invalid('The body is not a Vapi message: "message.functionCall" is not an object that can be read.')
    return [plain(found)]


def items(name: str, raw: Raw | UnsetType) -> list[dict[str, Any]]:
    """The objects of a list; anything else in it is no call.

    Raises:
        Invalid: it is there and no list that can be read.
    """
    listed = decoded(raw)
    if present(raw) and not isinstance(listed, list):
        raise Invalid(f'The body is not a Vapi message: "message.{name}" is not a list that can be read.')
    return [item for item in listed or [] if isinstance(item, dict)]


def plain(item: dict[str, Any]) -> ToolCall:
    """An item of toolCallList or toolCalls: name and arguments under `function`, or flat beside the id."""
    function = item.get("function")
    inner = function if isinstance(function, dict) else {}
    return ToolCall(
        text(item.get("id")),
        text(inner.get("name")) or text(item.get("name")) or "",
        arguments(
            first(inner, "arguments", "parameters")
            if "arguments" in inner or "parameters" in inner
            else first(item, "arguments", "parameters")
        ),
    )


def with_definition(item: dict[str, Any]) -> ToolCall:
    """An item of toolWithToolCallList: the call stands under `toolCall`; the object beside it is the tool's definition."""
    call = item.get("toolCall")
    made = plain(call if isinstance(call, dict) else {})
    definition = item.get("function")
    named = made.name or text(item.get("name")) or (text(definition.get("name")) if isinstance(definition, dict) else None) or ""
    return ToolCall(made.id, named, made.arguments)


def first(of: dict[str, Any], *names: str) -> Any:
    """The first of these fields that is there."""
    return next((of[name] for name in names if name in of), None)


def text(value: object) -> str | None:
    """A non-empty text."""
    return value if isinstance(value, str) and value else None


def arguments(value: object) -> dict[str, Any] | None:
    """Arguments as an object, also out of a JSON string; nothing at all means no arguments."""
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except UNREADABLE:
            return None
    if value is None:
        return {}
    return value if isinstance(value, dict) else None

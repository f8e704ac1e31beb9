"""The shapes in which tool calls arrive: seen in real traffic (A, F), in the specification (B, E), in the documentation (C, D, G, H)."""

from typing import Any, Literal

from sandbox.vapi.bodies import with_text_arguments

Shape = Literal["A", "B", "C", "D", "E", "F", "G", "H"]
HOOK_ID = "hook-function-call"  # the one id of every call that an assistant hook makes


def reshaped(body: dict[str, Any], shape: Shape) -> dict[str, Any]:
    """A `tool-calls` body of shape A, with object arguments in three lists, in another shape; G holds one call only."""
    message = body["message"]
    calls = message["toolCallList"]
    definitions = message["toolWithToolCallList"]
    rest = {name: value for name, value in message.items() if name not in {"toolCalls", "toolCallList", "toolWithToolCallList"}}
    match shape:
        case "A":
            return body
        case "B":
            as_text = [with_text_arguments(call) for call in calls]
            lists = {"toolCalls": as_text, "toolCallList": as_text, "toolWithToolCallList": _joined(definitions, as_text)}
        case "C":
            lists = {"toolCallList": [_flat(call, "arguments") for call in calls]}
        case "D":
            lists = {"toolCallList": [_flat(call, "parameters") for call in calls]}
        case "E":
            flat = [{"id": call["id"], "parameters": call["function"]["arguments"]} for call in calls]
            named = [{**one, "name": call["function"]["name"]} for one, call in zip(definitions, calls, strict=True)]
            lists = {"toolWithToolCallList": _joined(named, flat)}
        case "F":
            lists = {"toolCalls": calls}
        case "G":
            (call,) = calls
            function = call["function"]
            return {
                "message": {
                    **rest,
                    "type": "function-call",
                    "functionCall": {"name": function["name"], "parameters": function["arguments"]},
                }
            }
        case "H":
            lists = {"toolCallList": [_hooked(call) for call in calls]}
    return {"message": {**rest, **lists}}


def _flat(call: dict[str, Any], arguments: str) -> dict[str, Any]:
    return {"id": call["id"], "name": call["function"]["name"], arguments: call["function"]["arguments"]}


def _joined(definitions: list[dict[str, Any]], calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**definition, "toolCall": call} for definition, call in zip(definitions, calls, strict=True)]


def _hooked(call: dict[str, Any]) -> dict[str, Any]:
    """As a hook calls: the constant id, and the JSON schema where the arguments should be, each with its value."""
    given = {name: {"type": "string", "value": value} for name, value in call["function"]["arguments"].items()}
    schema = {"type": "object", "properties": given}
    return {"id": HOOK_ID, "type": "function", "function": {"name": call["function"]["name"], "arguments": schema}}

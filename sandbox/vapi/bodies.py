"""Builds webhook bodies as Vapi sends them; each is a dict of its own that a test may change."""

import secrets
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from sandbox.clock import iso, now

CALL_SECONDS = 58.72
CALL_COST = 0.0691


def real_size_tool_call(
    call_id: str, assistant_id: str | None, tool_call_id: str, tool_name: str, arguments: dict[str, Any], customer_number: str
) -> dict[str, Any]:
    """A `tool-calls` body of about 51 kB, with prompt, history and SIP data.

    The one call stands in all three lists with object arguments, and, as in real traffic, once more in the history with string
    arguments; an older, answered call in the history belongs to another id. `assistant_id` None leaves the id out (a transient assistant).
    """
    call = {"id": tool_call_id, "type": "function", "function": {"name": tool_name, "arguments": arguments}}
    return real_size_tool_calls(call_id, assistant_id, [call], customer_number)


def real_size_tool_calls(call_id: str, assistant_id: str | None, calls: list[dict[str, Any]], customer_number: str) -> dict[str, Any]:
    """The same with several tool calls at once; each is `{"id", "type", "function": {"name", "arguments"}}` with object arguments."""
    body: dict[str, Any] = msgspec.json.decode(_template())
    message = body["message"]
    message["timestamp"] = int(now().timestamp() * 1000)
    _set_tool_calls(message, calls)
    _set_call(message, call_id, assistant_id)
    for holder in (message, message["call"]):
        holder["customer"] = {"number": customer_number, "sipUri": f"sip:{customer_number}@203.0.113.29:5060"}
    return body


def status_update(
    call_id: str, assistant_id: str | None = None, status: str = "in-progress", customer_number: str | None = None
) -> dict[str, Any]:
    """A `status-update`; `ended` comes with its reason."""
    message = {"timestamp": int(now().timestamp() * 1000), "type": "status-update", "status": status}
    if status == "ended":
        message["endedReason"] = "customer-ended-call"
    return {"message": {**message, **snapshot(call_id, assistant_id, customer_number, now())}}


def end_of_call_report(
    call_id: str,
    assistant_id: str | None = None,
    *,
    seconds: float = CALL_SECONDS,
    cost: float = CALL_COST,
    ended_at: datetime | None = None,
    customer_number: str | None = None,
) -> dict[str, Any]:
    """An `end-of-call-report` with times and cost at message level (58.72 s and 0.0691 USD unless told), all figures agreeing.

    `call` is the snapshot from before the call: still ringing, cost 0. Its presigned URLs are made anew on each delivery.
    """
    ended = ended_at or now()
    started = ended - timedelta(seconds=seconds)
    minutes = round(seconds / 60, 4)
    platform = round(minutes * 0.05, 4)
    rest = float(Decimal(str(cost)) - Decimal(str(platform)))
    spoken = "AI: Hello, how can I help?\nUser: Please text me the address.\n"
    message = {
        "timestamp": int(ended.timestamp() * 1000),
        "type": "end-of-call-report",
        "analysis": {"summary": "The caller asked for the address by text.", "successEvaluation": "true"},
        "artifact": {
            "transcript": spoken,
            "messages": [],
            "presignedRecordingUrl": f"https://storage.example.com/{call_id}.wav?signature={secrets.token_hex(16)}",
            "presignedUrlsExpiresAt": iso(ended + timedelta(hours=1)),
        },
        "startedAt": iso(started),
        "endedAt": iso(ended),
        "endedReason": "customer-ended-call",
        "cost": cost,
        "costBreakdown": {"stt": 0, "llm": rest, "tts": 0, "vapi": platform, "chat": 0, "total": cost},
        "costs": [{"type": "model", "cost": rest}, {"type": "vapi", "subType": "normal", "minutes": minutes, "cost": platform}],
        "durationMs": round(seconds * 1000),
        "durationSeconds": seconds,
        "durationMinutes": minutes,
        "summary": "The caller asked for the address by text.",
        "transcript": spoken,
    }
    return {"message": {**message, **snapshot(call_id, assistant_id, customer_number, started)}}


def freshened(body: Any) -> Any:
    """The body as a further delivery would carry it: presigned URLs are signed anew, so deliveries are not byte-equal."""
    message = body.get("message") if isinstance(body, dict) else None
    artifact = message.get("artifact") if isinstance(message, dict) else None
    if not isinstance(message, dict) or not isinstance(artifact, dict):
        return body
    signed = {name: url for name, url in artifact.items() if name.startswith("presigned") and name.endswith("Url") and isinstance(url, str)}
    anew = {name: f"{url.partition('?')[0]}?signature={secrets.token_hex(16)}" for name, url in signed.items()}
    return {**body, "message": {**message, "artifact": {**artifact, **anew}}}


@cache
def _template() -> bytes:
    return files("sandbox").joinpath("payloads", "tool-calls-51kb.json").read_bytes()


def _set_tool_calls(message: dict[str, Any], calls: list[dict[str, Any]]) -> None:
    earlier = message["toolCallList"][0]["id"]
    message["toolCalls"] = calls
    message["toolCallList"] = calls
    definition = message["toolWithToolCallList"][0]
    message["toolWithToolCallList"] = [
        {**definition, "function": {**definition["function"], "name": call["function"]["name"]}, "toolCall": call} for call in calls
    ]
    as_text = [with_text_arguments(call) for call in calls]
    artifact = message["artifact"]
    for entry in artifact["messages"]:
        entry.update({"toolCalls": as_text} if _asks(entry.get("toolCalls"), earlier) else {})
    for entry in artifact["messagesOpenAIFormatted"]:
        entry.update({"tool_calls": as_text} if _asks(entry.get("tool_calls"), earlier) else {})
        entry.update({"tool_call_id": calls[0]["id"]} if entry.get("tool_call_id") == earlier else {})


def with_text_arguments(call: dict[str, Any]) -> dict[str, Any]:
    """The tool call with its arguments as JSON text, which is how the specification has them."""
    function = call["function"]
    return {**call, "function": {**function, "arguments": msgspec.json.encode(function["arguments"]).decode()}}


def _asks(calls: list[dict[str, Any]] | None, tool_call_id: str) -> bool:
    return any(call["id"] == tool_call_id for call in calls or [])


def _set_call(message: dict[str, Any], call_id: str, assistant_id: str | None) -> None:
    call = message["call"]
    earlier, call["id"] = call["id"], call_id
    call["createdAt"] = call["updatedAt"] = iso(now())
    call["monitor"] = {name: url.replace(earlier, call_id) for name, url in call["monitor"].items()}
    for holder, name in ((call, "assistantId"), (message["assistant"], "id"), (message["phoneNumber"], "assistantId")):
        if assistant_id is None:
            del holder[name]
        else:
            holder[name] = assistant_id


def snapshot(call_id: str, assistant_id: str | None, customer_number: str | None, created: datetime) -> dict[str, Any]:
    """`call` and `customer` as of the call's creation, which is what every message carries."""
    customer = {"customer": {"number": customer_number}} if customer_number else {}
    assistant = {"assistantId": assistant_id} if assistant_id else {}
    moment = iso(created)
    call = {"id": call_id, "createdAt": moment, "updatedAt": moment, "type": "inboundPhoneCall", "status": "ringing", "cost": 0}
    return {"call": {**call, **assistant, **customer}, **customer}

"""What is sent to a tool of the tenant's own: the same bytes under the same key on every attempt, signed anew for each.

Signatures are those of Standard Webhooks 1.0 (github.com/standard-webhooks), the key that of the IETF draft
"The Idempotency-Key HTTP Header Field".
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from runtime import clock
from runtime.ids import TenantId
from tenants.endpoints import signing_key
from tenants.snapshot import ToolView

WITHOUT_BODY = ("GET", "DELETE")
PRODUCT = "Trunkline"


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """One tool call to hand on.

    `idempotency_key`: printable ASCII, the same whenever this effect is asked for. `asked_at`: when it was asked for first; with
    `arguments` it makes the body, so a run after a crash needs the same ones. `repeated`: an earlier run may have reached the tool.
    `message`: the fields of a message that asks for an answer, sent instead of a tool call.
    """

    tenant: TenantId
    zone: ZoneInfo
    idempotency_key: str
    asked_at: datetime
    arguments: dict[str, Any] = field(repr=False)
    call_id: str | None = None
    tool_call_id: str | None = None
    assistant_id: str | None = None
    caller: str | None = field(default=None, repr=False)
    repeated: bool = False
    message: dict[str, msgspec.Raw] | None = field(default=None, repr=False)


def body_of(tool: ToolView, call: ToolRequest) -> bytes:
    """The JSON body; empty where the arguments go into the query."""
    if tool.method in WITHOUT_BODY:
        return b""
    asked: dict[str, Any] = {"type": tool.name, "message": call.message}
    if call.message is None:
        asked = {"type": "tool-call", "tool": tool.name, "arguments": call.arguments, "tool_call_id": call.tool_call_id}
    return msgspec.json.encode(
        {
            **asked,
            "call_id": call.call_id,
            "assistant_id": call.assistant_id,
            "customer": {"number": call.caller},
            "timestamp": clock.rfc3339(call.asked_at),
            "local_time": call.asked_at.astimezone(call.zone).isoformat(timespec="seconds"),
            "timezone": call.zone.key,
        },
        order="deterministic",  # the order of a model's arguments may differ between deliveries
    )


def query_of(tool: ToolView, call: ToolRequest) -> dict[str, str]:
    """The arguments as query parameters, where there is no body: text as it is, anything else as JSON; null ones are left out."""
    if tool.method not in WITHOUT_BODY:
        return {}
    return {
        name: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for name, value in call.arguments.items()
        if value is not None
    }


def headers_of(call: ToolRequest, body: bytes, secrets: list[str], version: str) -> dict[str, str]:
    """The headers of one attempt; every secret signs, the newest first."""
    timestamp = str(int(clock.now().timestamp()))
    signatures = [signature(secret, call.idempotency_key, timestamp, body) for secret in secrets]
    headers = {
        "webhook-id": call.idempotency_key,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(signatures),
        "Idempotency-Key": quoted(call.idempotency_key),
        "User-Agent": f"{PRODUCT}/{version}",
        "Accept": "application/json, text/plain;q=0.9, */*;q=0.1",
        "Accept-Encoding": "identity",
    }
    return headers | ({"Content-Type": "application/json"} if body else {})


def signature(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """`v1,` and the base64 of HMAC-SHA256 over id, timestamp and body with dots between them."""
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    return "v1," + base64.b64encode(hmac.digest(signing_key(secret), signed, hashlib.sha256)).decode()


def quoted(text: str) -> str:
    """A string of a structured field (RFC 9651)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

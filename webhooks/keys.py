"""Idempotency keys: the identity of one effect within a tenant, and the fingerprint of what was asked.

A key joins the kind of event with ids that survive a retry; a body hash would not (presigned URLs are made anew for each
delivery). Keys and fingerprints are 16 bytes of BLAKE2b, which row security compares as a leak-proof index condition.
"""

from hashlib import blake2b
from typing import Any

import msgspec

from webhooks.envelope import reread

SIZE = 16
CONSTANT_IDS = {"hook-function-call"}  # assistant hooks reuse one id for every call
COMMON_FIELDS = {
    "type",
    "timestamp",
    "call",
    "assistant",
    "customer",
    "phoneNumber",
    "artifact",
    "chat",
    "assistantVersion",
    "assistantOverrides",
}
FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def digest(*parts: str | bytes | None) -> bytes:
    """A hash of the parts, each with its length, so that no two lists of parts run together."""
    hashed = blake2b(digest_size=SIZE)
    for part in parts:
        raw = b"" if part is None else part if isinstance(part, bytes) else part.encode(errors="surrogatepass")
        hashed.update(b"-" if part is None else b"%d:" % len(raw))
        hashed.update(raw)
    return hashed.digest()


def canonical(value: Any) -> bytes:
    """JSON with sorted keys: two bodies that differ in the order of keys are one."""
    return msgspec.json.encode(value, order="deterministic")


def tool_call_key(call_id: str | None, tool_call_id: str | None, name: str, arguments: bytes, body: bytes) -> bytes:
    """One tool call. Without an id of its own its arguments identify it; without a call's id only the same bytes are the same."""
    own = tool_call_id if tool_call_id and tool_call_id not in CONSTANT_IDS else None
    if call_id is None:
        return digest("tool-call", None, own, name, arguments, body)
    return digest("tool-call", call_id, own, name, None if own else arguments)


def tool_call_fingerprint(name: str, arguments: bytes) -> bytes:
    """What was asked of a tool."""
    return digest(name, arguments)


def report_key(call_id: str) -> bytes:
    """The end-of-call report of a call."""
    return digest("end-of-call-report", call_id)


def status_key(call_id: str, status: str) -> bytes:
    """One status of a call; it may repeat after a transfer, its effect is one."""
    return digest("status-update", call_id, status)


def information_key(kind: str, call_id: str | None, timestamp: bytes | None, own_fields: bytes) -> bytes:
    """Any other message: its call, type, time if it has one, and what only this type carries."""
    return digest("information", kind, call_id, timestamp, own_fields)


def own_fields(body: bytes) -> bytes:
    """A hash of the fields that only this type carries, without those that change between retries.

    Raises:
        Invalid: the body cannot be read.
    """
    fields = reread(FIELDS, reread(FIELDS, body)["message"])
    return digest(*(part for name in sorted(fields.keys() - COMMON_FIELDS) for part in (name, bytes(fields[name]))))


def api_key(operation: str, idempotency_key: str) -> bytes:
    """A request of the tenant API under its Idempotency-Key (IETF draft-ietf-httpapi-idempotency-key-header)."""
    return digest("api", operation, idempotency_key)

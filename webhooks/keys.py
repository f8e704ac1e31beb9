"""Idempotency keys: the identity of one effect within a tenant, and the fingerprint of what was asked.

A key joins the kind of event with ids that survive a retry; a body hash would not (presigned URLs are made anew for each
delivery). Keys and fingerprints are 16 bytes of BLAKE2b, which row security compares as a leak-proof index condition.
"""

import re
from hashlib import blake2b
from typing import Any
from uuid import UUID

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
    "presignedUrlsExpiresAt",
}
# the query of a signed address; both ends are bounded and so is the number of them, lest a body of question marks hold everybody up
QUERY = re.compile(rb'\?[^"\\\s#?]{0,4096}?(?:Signature|sig)=[^"\\\s#?]{0,4096}+')
MOST_SIGNED = 200  # addresses of one body that are looked at; what is behind them counts as it stands
MOST_COLONS, MOST_FIELDS = 50_000, 256  # a body made of field names is known by all of its bytes: no message has thirty
# by who signs an address: what every signature of theirs has, and all the parameters that are signed anew with each delivery
SIGNERS = (
    ((b"X-Amz-Signature=",), re.compile(rb"(?<=[?&])(?:X-Amz-[A-Za-z-]+|x-id)=[^&]*&?")),
    ((b"X-Goog-Signature=",), re.compile(rb"(?<=[?&])X-Goog-[A-Za-z-]+=[^&]*&?")),
    ((b"Signature=", b"Key-Pair-Id="), re.compile(rb"(?<=[?&])(?:Signature|Expires|Key-Pair-Id|Policy)=[^&]*&?")),
    ((b"Signature=", b"Expires=", b"AccessId="), re.compile(rb"(?<=[?&])(?:Signature|Expires|GoogleAccessId)=[^&]*&?")),
    ((b"Signature=", b"Expires=", b"AWSAccessKeyId="), re.compile(rb"(?<=[?&])(?:Signature|Expires|AWSAccessKeyId)=[^&]*&?")),
    ((b"sig=", b"sv=", b"se="), re.compile(rb"(?<=[?&])(?:sig|se|st|sp|sv|sr|spr|ske|skt|sks|skv|skoid|sktid)=[^&]*&?")),
)


class Fields(msgspec.Struct):
    """A body by the fields of its message, each undecoded."""

    message: dict[str, msgspec.Raw]


FIELDS = msgspec.json.Decoder(Fields)


def digest(*parts: str | bytes | None) -> bytes:
    """A hash of the parts, each with its length, so that no two lists of parts run together."""
    return blake2b(b"".join([framed(part) for part in parts]), digest_size=SIZE).digest()


def framed(part: str | bytes | None) -> bytes:
    """A part with its length before it; nothing is not the same as empty."""
    if part is None:
        return b"-"
    raw = part if isinstance(part, bytes) else part.encode(errors="surrogatepass")
    return b"%d:%b" % (len(raw), raw)


def canonical(value: Any) -> bytes:
    """JSON with sorted keys: two bodies that differ in the order of keys are one."""
    return msgspec.json.encode(value, order="deterministic")


def stable(raw: bytes) -> bytes:
    """JSON without the signatures of the addresses in it: what is signed anew for each delivery makes no difference."""
    signed = b"://" in raw and (b"Signature=" in raw or b"sig=" in raw)
    return QUERY.sub(unsigned, raw, count=MOST_SIGNED) if signed else raw


def unsigned(query: "re.Match[bytes]") -> bytes:
    """The query of an address without its signature; one that nobody signed stays as it is."""
    found = query[0]
    for marks, parameters in SIGNERS:
        if all(mark in found for mark in marks):
            return parameters.sub(b"", found).rstrip(b"?&")
    return found


def tool_call_key(call_id: str | None, tool_call_id: str | None, name: str, arguments: bytes, body: bytes) -> bytes:
    """One tool call. Without an id of its own its arguments identify it; without a call's id only the same bytes are the same."""
    own = tool_call_id if tool_call_id and tool_call_id not in CONSTANT_IDS else None
    if call_id is None:
        return digest("tool-call", None, own, name, stable(arguments), stable(body))
    return digest("tool-call", call_id, own, name, None if own else stable(arguments))


def function_call_key(call_id: str | None, own_id: str | None, name: str, arguments: bytes, body: bytes) -> bytes:
    """A function call, the tool call of old: it has no id of its own, so that its arguments identify it within its call."""
    return digest("function-call", tool_call_key(call_id, own_id, name, arguments, body))


def tool_call_fingerprint(name: str, arguments: bytes) -> bytes:
    """What was asked of a tool."""
    return digest(name, stable(arguments))


def business_key(*parts: str | bytes | None) -> bytes:
    """What is asked for, under whatever id: the model often calls a tool twice with two ids."""
    return digest("business", *parts)


def lock_number(kind: str, tenant: UUID, *parts: str | bytes) -> int:
    """The number of an advisory lock (a signed 64-bit one), under which those meet who are about one thing of a tenant."""
    return int.from_bytes(digest("lock", kind, tenant.bytes, *parts)[:8], signed=True)


def replay_key(original: bytes, again: str) -> bytes:
    """An effect that is wished for anew, once for each wish."""
    return digest("replay", original, again)


def report_key(call_id: str) -> bytes:
    """The end-of-call report of a call."""
    return digest("end-of-call-report", call_id)


def status_key(call_id: str, status: str) -> bytes:
    """One status of a call; it may repeat after a transfer, its effect is one."""
    return digest("status-update", call_id, status)


def information_key(kind: str, subject: str | None, timestamp: bytes | None, own_fields: bytes) -> bytes:
    """Any other message: its call (or chat, or session), type, time if it has one, and what only this type carries."""
    return digest("information", kind, subject, timestamp, own_fields)


def own_fields(body: bytes) -> bytes:
    """A hash of the fields that only this type carries, without those that change between retries.

    Raises:
        Invalid: the body cannot be read.
    """
    if body.count(b":") > MOST_COLONS:
        return digest(stable(body))
    fields = reread(FIELDS, body).message
    if len(fields) > MOST_FIELDS:
        return digest(stable(body))
    return digest(*(part for name in sorted(fields.keys() - COMMON_FIELDS) for part in (name, stable(bytes(fields[name])))))


def api_key(operation: str, idempotency_key: str) -> bytes:
    """A request of the tenant API under its Idempotency-Key (IETF draft-ietf-httpapi-idempotency-key-header)."""
    return digest("api", operation, idempotency_key)

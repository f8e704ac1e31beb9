"""Was this body signed with this key? Decided on the bytes that came, before anything is parsed.

What Vapi's HMAC credential can be told to do is in tenants/signature_plans.py. Unit and form of its timestamp are documented nowhere:
seconds and milliseconds are taken, with a fraction or without.
"""

import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from tenants.signature_plans import PLACES, SignaturePlan, decoded

TIMESTAMP = re.compile(rb"[0-9]{1,16}(?:\.[0-9]{1,9})?")
MILLISECONDS_FROM = 100_000_000_000  # as seconds this is the year 5138, as milliseconds 1973
HEX = re.compile(r"(?:[0-9a-fA-F]{2})+")

# Why a signature is refused, the nearest to being right last: of several credentials the nearest speaks.
NO_SIGNATURE, TWICE, MALFORMED = "no_signature", "header_twice", "malformed_signature"
NO_TIMESTAMP, ODD_TIMESTAMP, NO_MESSAGE_ID = "no_timestamp", "odd_timestamp", "no_message_id"
WRONG, OUTSIDE = "wrong_signature", "timestamp_outside_window"
NEARNESS = (NO_SIGNATURE, TWICE, MALFORMED, NO_TIMESTAMP, ODD_TIMESTAMP, NO_MESSAGE_ID, WRONG, OUTSIDE)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came: `headers` as the server read them, names in lower case; `url` is the public address it came to."""

    method: bytes
    url: bytes
    headers: Iterable[tuple[bytes, bytes]] = field(repr=False)
    body: bytes = field(repr=False)

    def header(self, name: str) -> list[bytes]:
        """Every value of a header."""
        wanted = name.encode()
        return [value for key, value in self.headers if key == wanted]


def fault_of(plan: SignaturePlan, key: bytes, delivery: Delivery, moment: float) -> str | None:
    """Why the signature is refused, or None: it was made with this key, over this body, within the window around `moment` (Unix seconds).

    The HMAC is computed whatever the headers are, so that a refusal costs one pass over the body for each key.
    """
    values, fault = headers_of(plan, delivery)
    expected = signature(plan, key, delivery.method, delivery.url, values, delivery.body)
    presented = presented_digest(plan, values.get("signature", b""))
    if fault is None and (presented is None or len(presented) != len(expected)):
        fault = MALFORMED
    same = hmac.compare_digest(presented or b"", expected) and key != b""
    if fault is not None:
        return fault
    if not same:
        return WRONG
    return OUTSIDE if plan.include_timestamp and not within(plan, values["timestamp"], moment) else None


def headers_of(plan: SignaturePlan, delivery: Delivery) -> tuple[dict[str, bytes], str | None]:
    """The values that the plan speaks of by what they are, and the first thing that is wrong with them."""
    wanted = [("signature", plan.signature_header, NO_SIGNATURE)]
    if plan.include_timestamp:
        wanted.append(("timestamp", plan.timestamp_header, NO_TIMESTAMP))
    if "{svix-id}" in plan.format:
        wanted.append(("svix-id", plan.message_id_header, NO_MESSAGE_ID))
    values, fault = {}, None
    for what, name, missing in wanted:
        found = delivery.header(name)
        value = found[0].strip() if found else b""
        values[what] = value
        fault = fault or (missing if not value else TWICE if len(found) > 1 else None)
    if fault is None and plan.include_timestamp and not TIMESTAMP.fullmatch(values["timestamp"]):
        fault = ODD_TIMESTAMP
    return values, fault


def signature(plan: SignaturePlan, key: bytes, method: bytes, url: bytes, values: dict[str, bytes], body: bytes) -> bytes:
    """The HMAC over the plan's payload; the body is not copied."""
    mac = hmac.new(key, digestmod=plan.algorithm)
    for part in parts_of(plan.format):
        match part:
            case "{body}":
                mac.update(body)
            case "{timestamp}":
                mac.update(values.get("timestamp", b""))
            case "{svix-id}":
                mac.update(values.get("svix-id", b""))
            case "{method}":
                mac.update(method)
            case "{url}":
                mac.update(url)
            case _:
                mac.update(part.encode())
    return mac.digest()


@lru_cache(maxsize=256)
def parts_of(payload_format: str) -> tuple[str, ...]:
    """A format in its parts: places like {body}, and the text between them."""
    return tuple(part for part in PLACES.split(payload_format) if part)


def presented_digest(plan: SignaturePlan, value: bytes) -> bytes | None:
    """The bytes that a signature header stands for; None where its prefix or its encoding is another."""
    prefix = plan.signature_prefix.encode()
    if not value.startswith(prefix):
        return None
    text = value[len(prefix) :].strip().decode("latin-1")
    if plan.signature_encoding == "hex":
        return bytes.fromhex(text) if HEX.fullmatch(text) else None
    return decoded(text)


def within(plan: SignaturePlan, timestamp: bytes, moment: float) -> bool:
    """Whether a timestamp is at most the window away, before or after."""
    return abs(seconds_of(timestamp) - moment) <= plan.replay_window_seconds


def seconds_of(timestamp: bytes) -> float:
    """Unix seconds of a timestamp in seconds or milliseconds."""
    value = float(timestamp)
    return value / 1000 if value >= MILLISECONDS_FROM else value

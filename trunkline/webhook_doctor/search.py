"""Under which other options would a signature hold? Every combination that the delivery's own headers allow is tried."""

import hmac
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from tenants.signature_plans import SignaturePlan, decoded
from trunkline.webhook_doctor.captured import Captured, compact
from webhooks.signatures import HEX, TIMESTAMP, signature

ALGORITHMS = {20: "sha1", 32: "sha256", 64: "sha512"}  # by the length of their digests
PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,15}[=,:]")
DATE = re.compile(r"\d{4}-\d\d-\d\dT\S+")
FORMATS = (
    "{timestamp}.{body}",
    "{body}",
    "{timestamp}{body}",
    "{timestamp}:{body}",
    "{body}.{timestamp}",
    "{svix-id}.{timestamp}.{body}",
    "v0:{timestamp}:{body}",
    "{url}{body}",
    "{url}.{body}",
    "{method}.{url}.{timestamp}.{body}",
    "{method}{url}{timestamp}{body}",
    "{timestamp}.{method}.{url}.{body}",
    "{timestamp}\n{body}",
)
MESSAGE_IDS = ("svix-id", "webhook-id", "x-message-id", "x-webhook-id", "x-request-id")


@dataclass(frozen=True, slots=True)
class Presented:
    """A header that can be read as a signature."""

    header: str
    prefix: str
    encoding: str
    digest: bytes = field(repr=False)

    @property
    def algorithm(self) -> str:
        """The only one that makes digests of this length."""
        return ALGORITHMS[len(self.digest)]


@dataclass(frozen=True, slots=True)
class Match:
    """What would have to be otherwise: options by their names in the HTTP contract, and what no option can mend."""

    options: dict[str, object]
    beside: tuple[str, ...] = ()

    @property
    def distance(self) -> int:
        """The fewer the nearer; what no option mends counts most."""
        return len(self.options) + 10 * len(self.beside)


def signatures_in(captured: Captured, plan: SignaturePlan) -> list[Presented]:
    """Every header that can be read as a signature, the plan's own first."""
    found = []
    for name, value in sorted(captured.headers, key=lambda pair: pair[0] != plan.signature_header):
        prefixes = {"", plan.signature_prefix if value.startswith(plan.signature_prefix) else ""}
        guessed = PREFIX.match(value)
        for prefix in sorted(prefixes | ({guessed[0]} if guessed else set()), key=len):
            text = value[len(prefix) :].strip()
            for encoding, digest in (("hex", bytes.fromhex(text) if HEX.fullmatch(text) else None), ("base64", decoded(text))):
                if digest is not None and len(digest) in ALGORITHMS:
                    found.append(Presented(name, prefix, encoding, digest))
    return found


def keys_for(plan: SignaturePlan, secret: str) -> Iterator[tuple[bytes, dict[str, object], tuple[str, ...]]]:
    """Keys that the secret could have been used as, with what that says."""
    raw = decoded(secret)
    yield secret.encode(), ({"secret_is_base64": False} if plan.secret_is_base64 else {}), ()
    if raw:
        yield raw, ({} if plan.secret_is_base64 else {"secret_is_base64": True}), ()
    yield f"{secret}\n".encode(), {}, ("the secret in Vapi has a line break at its end: copy it once more",)
    yield f" {secret}".encode(), {}, ("the secret in Vapi has a space before it: copy it once more",)
    yield f"{secret} ".encode(), {}, ("the secret in Vapi has a space behind it: copy it once more",)
    if HEX.fullmatch(secret):
        yield bytes.fromhex(secret), {}, ("the secret was used as hexadecimal bytes, which Vapi's credential cannot say: use another one",)


def bodies_for(captured: Captured) -> Iterator[tuple[bytes, tuple[str, ...]]]:
    """Bodies that may have been signed, with what that says."""
    body = captured.body or b""
    yield body, ()
    changed = ("something between Vapi and here changed the body: it holds over %s. Pass the bytes on as they come",)
    for variant, what in ((body + b"\n", "the body with a line break behind it"), (body.strip(), "the body without space around it")):
        if variant != body:
            yield variant, (changed[0] % what,)
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return
    rewritten = compact(parsed)
    if rewritten != body:
        yield rewritten, (changed[0] % "the same JSON written compactly",)


def nearest_match(plan: SignaturePlan, secret: str, captured: Captured, public_url: str) -> Match | None:
    """The nearest way in which a signature holds; None: under no combination."""
    found = [match for presented in signatures_in(captured, plan) for match in matches(plan, secret, captured, public_url, presented)]
    return min(found, key=lambda match: match.distance, default=None)


def matches(plan: SignaturePlan, secret: str, captured: Captured, public_url: str, presented: Presented) -> Iterator[Match]:
    """Every way in which one presented signature holds."""
    asked = SignaturePlan(algorithm=presented.algorithm)  # type: ignore[arg-type]  # one of ALGORITHMS
    changed = {
        "algorithm": (plan.algorithm, presented.algorithm),
        "signature_header": (plan.signature_header, presented.header),
        "signature_prefix": (plan.signature_prefix, presented.prefix),
        "signature_encoding": (plan.signature_encoding, presented.encoding),
    }
    options: dict[str, object] = {name: now for name, (before, now) in changed.items() if before != now}
    ways = itertools.product(dict.fromkeys((plan.format, *FORMATS)), keys_for(plan, secret), bodies_for(captured))
    for payload_format, (key, key_options, key_words), (body, body_words) in ways:
        for values, value_options in values_for(plan, captured, payload_format):
            for url, url_words in urls_for(captured, public_url, payload_format):
                tried = SignaturePlan(algorithm=asked.algorithm, payload_format=payload_format)
                if hmac.compare_digest(signature(tried, key, captured.method.encode(), url, values, body), presented.digest):
                    shape: dict[str, object] = {} if payload_format == plan.format else {"payload_format": payload_format}
                    yield Match({**options, **key_options, **shape, **value_options}, (*key_words, *body_words, *url_words))


def values_for(plan: SignaturePlan, captured: Captured, payload_format: str) -> Iterator[tuple[dict[str, bytes], dict[str, object]]]:
    """Timestamps and message ids that the format may have been filled with, and the options that name their headers."""
    dated, numbered = "{timestamp}" in payload_format, "{svix-id}" in payload_format
    stamps = (
        [(name, value) for name, value in captured.headers if TIMESTAMP.fullmatch(value.encode()) or DATE.fullmatch(value)]
        if dated
        else [None]
    )
    names = dict.fromkeys(name for name in (plan.message_id_header, *MESSAGE_IDS) if name)
    ids = [(name, value) for name in names for value in captured.values(name)] if numbered else [None]
    for stamp, message_id in itertools.product(stamps, ids):
        values: dict[str, bytes] = {}
        options: dict[str, object] = {}
        if stamp is not None:
            values["timestamp"] = stamp[1].encode()
            if stamp[0] != plan.timestamp_header:
                options["timestamp_header"] = stamp[0]
            if not plan.include_timestamp:
                options["include_timestamp"] = True
        elif plan.include_timestamp and not captured.values(plan.timestamp_header):
            options["include_timestamp"] = False
        if message_id is not None:
            values["svix-id"] = message_id[1].encode()
            if message_id[0] != plan.message_id_header:
                options["message_id_header"] = message_id[0]
        yield values, options


def urls_for(captured: Captured, public_url: str, payload_format: str) -> Iterator[tuple[bytes, tuple[str, ...]]]:
    """Addresses that may have been signed."""
    yield public_url.encode(), ()
    if "{url}" in payload_format and captured.url and captured.url != public_url:
        words = "the address that Vapi posts to is not ours: make TRUNKLINE_PUBLIC_BASE_URL and server.url in Vapi the same"
        yield captured.url.encode(), (words,)

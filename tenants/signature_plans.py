"""How Vapi is set up to prove itself: the options of its bearer and HMAC credentials, under our spelling of their names.

BearerAuthenticationPlan and HMACAuthenticationPlan of Vapi's OpenAPI; what each means is tried in tests/webhooks.
"""

import base64
import binascii
import re
import secrets
from typing import Literal

import msgspec

from runtime.refusals import Invalid

SECRET_PREFIX, SECRET_BYTES = "whs_", 32
SECRET_LENGTHS = range(16, 513)  # characters of a secret that a user gives; bytes of one that is base64
SECRET_OF_A_HEADER = re.compile(r"[\x21-\x7e]+")  # a header carries no others, and none at its ends
HEADER_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
NOT_FOR_PROOF = frozenset({"host", "content-length", "content-type", "content-encoding", "transfer-encoding", "connection", "cookie"})
PLACES = re.compile(r"(\{[^{}]*\})")
KNOWN_PLACES = frozenset({"{timestamp}", "{body}", "{method}", "{url}", "{svix-id}"})
WITH_TIMESTAMP, BODY_ONLY = "{timestamp}.{body}", "{body}"
AUTHORIZATION, VAPI_SECRET = "authorization", "x-vapi-secret"


class BearerPlan(msgspec.Struct, frozen=True):
    """A secret in a header; `bearer_prefix` says whether Vapi puts the word Bearer before it."""

    header_name: str = AUTHORIZATION
    bearer_prefix: bool = True


class SignaturePlan(msgspec.Struct, frozen=True):
    """An HMAC over what `payload_format` describes; an empty `payload_format` is Vapi's default, an empty header name is none."""

    algorithm: Literal["sha256", "sha512", "sha1"] = "sha256"
    signature_header: str = "x-signature"
    timestamp_header: str = "x-timestamp"
    signature_prefix: str = ""
    include_timestamp: bool = True
    payload_format: str = ""
    message_id_header: str = ""
    signature_encoding: Literal["hex", "base64"] = "hex"
    secret_is_base64: bool = False
    replay_window_seconds: int = 300

    @property
    def format(self) -> str:
        """What is signed; without a timestamp the default has none either."""
        return self.payload_format or (WITH_TIMESTAMP if self.include_timestamp else BODY_ONLY)


Plan = BearerPlan | SignaturePlan


def mode_of(plan: Plan) -> str:
    """The mode's name in the HTTP contract."""
    return "bearer" if isinstance(plan, BearerPlan) else "hmac"


def check(plan: Plan) -> None:
    """Refuse what cannot work.

    Raises:
        Invalid: a header that proves nothing, or a payload that leaves out the body or names what there is not.
    """
    if isinstance(plan, BearerPlan):
        check_header("header_name", plan.header_name)
        return
    check_header("signature_header", plan.signature_header)
    if plan.include_timestamp:
        check_header("timestamp_header", plan.timestamp_header)
    if plan.message_id_header:
        check_header("message_id_header", plan.message_id_header)
    places = PLACES.findall(plan.format)
    unknown = sorted(set(places) - KNOWN_PLACES)
    if unknown:
        raise Invalid.at("/auth/payload_format", f"There is no {unknown[0][:40]}; the parts are {', '.join(sorted(KNOWN_PLACES))}.")
    if places.count(BODY_ONLY) != 1:
        raise Invalid.at("/auth/payload_format", "The format has to hold {body} once: what is not signed proves nothing.")
    if "{timestamp}" in places and not plan.include_timestamp:
        raise Invalid.at("/auth/payload_format", "The format holds {timestamp}, but include_timestamp is false.")
    if "{svix-id}" in places and not plan.message_id_header:
        raise Invalid.at("/auth/message_id_header", "The format holds {svix-id}: name the header that it comes in.")


def check_header(option: str, name: str) -> None:
    """Refuse what is no name of a header, or one whose value others set.

    Raises:
        Invalid: it is.
    """
    if not HEADER_NAME.fullmatch(name) or name in NOT_FOR_PROOF:
        raise Invalid.at(f"/auth/{option}", "This header cannot carry it: use letters, digits and hyphens, and no header of HTTP itself.")


def new_secret(plan: Plan) -> str:
    """A secret of ours, in the form that the plan wants."""
    if isinstance(plan, SignaturePlan) and plan.secret_is_base64:
        return base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    return SECRET_PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def check_secret(plan: Plan, secret: str) -> None:
    """Refuse a given secret that cannot be one, or that is too short to be.

    Raises:
        Invalid: it is.
    """
    if not SECRET_OF_A_HEADER.fullmatch(secret) or len(secret) not in SECRET_LENGTHS:
        raise Invalid.at(
            "/auth/secret", f"A secret has {SECRET_LENGTHS[0]} to {SECRET_LENGTHS[-1]} printable ASCII characters without spaces."
        )
    if isinstance(plan, SignaturePlan) and plan.secret_is_base64 and len(decoded(secret) or b"") not in SECRET_LENGTHS:
        raise Invalid.at("/auth/secret", f"This secret should be the base64 of at least {SECRET_LENGTHS[0]} bytes.")


def signing_key(plan: SignaturePlan, secret: str) -> bytes:
    """The key of the HMAC; empty where the secret is no base64 though it should be: an empty key verifies nothing."""
    return (decoded(secret) or b"") if plan.secret_is_base64 else secret.encode()


def decoded(text: str) -> bytes | None:
    """The bytes of a base64 text, or None."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None

"""What authenticates a delivery: Vapi's credential modes with all their options (docs.vapi.ai, server authentication)."""

import base64
import binascii
import hashlib
import hmac
import secrets
from typing import Literal

import msgspec

from sandbox.clock import now

_DIGESTS = {"sha256": hashlib.sha256, "sha512": hashlib.sha512, "sha1": hashlib.sha1}
_WITH_TIME = "{timestamp}.{body}"


class BearerPlan(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Vapi's `BearerAuthenticationPlan`; header `X-Vapi-Secret` without the prefix imitates the legacy one."""

    header_name: str = "Authorization"
    bearer_prefix_enabled: bool = True


class HmacPlan(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Vapi's `HMACAuthenticationPlan`. `timestampIn` is ours: the unit is not documented.

    Without a timestamp the payload is the body alone, unless a format says otherwise.
    """

    algorithm: Literal["sha256", "sha512", "sha1"] = "sha256"
    signature_header: str = "x-signature"
    timestamp_header: str = "x-timestamp"
    signature_prefix: str = ""
    include_timestamp: bool = True
    payload_format: str = _WITH_TIME
    message_id_header: str | None = None
    signature_encoding: Literal["hex", "base64"] = "hex"
    secret_is_base64: bool = False
    timestamp_in: Literal["seconds", "milliseconds"] = "seconds"


class Credential(msgspec.Struct, forbid_unknown_fields=True):
    """What authenticates a delivery; `none` still sends an empty `x-vapi-secret`, as Vapi does."""

    mode: Literal["bearer", "x-vapi-secret", "hmac", "none"] = "none"
    secret: str = ""
    bearer: BearerPlan = msgspec.field(default_factory=BearerPlan)
    hmac: HmacPlan = msgspec.field(default_factory=HmacPlan)

    def __post_init__(self) -> None:
        """A secret in base64 has to be that.

        Raises:
            ValueError: it is not.
        """
        if self.mode == "hmac":
            _key(self.secret, is_base64=self.hmac.secret_is_base64)


def headers_of(credential: Credential, method: str, url: str, body: bytes) -> dict[str, str]:
    """The headers of one attempt, names in lower case; a time and a message id are made anew for each."""
    sent = {"x-vapi-secret": credential.secret if credential.mode == "x-vapi-secret" else ""}
    if credential.mode == "bearer":
        plan = credential.bearer
        sent[plan.header_name.lower()] = f"Bearer {credential.secret}" if plan.bearer_prefix_enabled else credential.secret
    if credential.mode == "hmac":
        sent |= _signed(credential, method, url, body)
    return sent


def _signed(credential: Credential, method: str, url: str, body: bytes) -> dict[str, str]:
    plan = credential.hmac
    moment = now().timestamp()
    timestamp = str(int(moment * 1000 if plan.timestamp_in == "milliseconds" else moment)) if plan.include_timestamp else ""
    message_id = f"msg_{secrets.token_hex(12)}"
    payload = _payload(plan, {"timestamp": timestamp, "method": method, "url": url, "svix-id": message_id}, body)
    digest = hmac.new(_key(credential.secret, is_base64=plan.secret_is_base64), payload, _DIGESTS[plan.algorithm]).digest()
    signature = digest.hex() if plan.signature_encoding == "hex" else base64.b64encode(digest).decode()
    sent = {plan.signature_header.lower(): plan.signature_prefix + signature}
    if plan.include_timestamp:
        sent[plan.timestamp_header.lower()] = timestamp
    if plan.message_id_header:
        sent[plan.message_id_header.lower()] = message_id
    return sent


def _payload(plan: HmacPlan, values: dict[str, str], body: bytes) -> bytes:
    """What is signed. The body goes in last and as it is: it may hold braces, and bytes that are no text."""
    wanted = "{body}" if not plan.include_timestamp and plan.payload_format == _WITH_TIME else plan.payload_format
    around = []
    for part in wanted.split("{body}"):
        filled = part
        for name, value in values.items():
            filled = filled.replace("{" + name + "}", value)
        around.append(filled.encode())
    return body.join(around)


def _key(secret: str, *, is_base64: bool) -> bytes:
    if not is_base64:
        return secret.encode()
    try:
        return base64.b64decode(secret, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("the secret is not base64") from error

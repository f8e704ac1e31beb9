"""Does whoever posts here hold the tenant's webhook secret? Decided from headers, before the body is read."""

import hmac
from collections.abc import Mapping

from runtime import clock
from runtime.crypto import Keyring
from tenants.snapshot import Snapshot

BEARER = "bearer "
NOBODY_HASH = bytes(32)


def presented_secrets(authorization: str | None, vapi_secret: str | None) -> list[str]:
    """The secrets in the headers that Vapi uses; an empty one is none (Vapi sends `x-vapi-secret: ""` where none is set)."""
    found = []
    if authorization and authorization[: len(BEARER)].lower() == BEARER:
        found.append(authorization[len(BEARER) :].strip())
    if vapi_secret:
        found.append(vapi_secret.strip())
    return [secret for secret in found if secret]


def authenticates(tenant: Snapshot | None, keyring: Keyring, secrets: list[str]) -> bool:
    """Whether one of the secrets is a valid one of this tenant; an unknown tenant costs the same work."""
    valid: Mapping[bytes, float] = tenant.credentials if tenant else {}
    moment, matched = clock.monotonic(), False
    for secret in secrets or [""]:
        for digest in keyring.digests(secret):
            # the table is searched by a keyed hash, which nobody outside can steer; the last word is a constant-time compare
            until = valid.get(digest)
            same = hmac.compare_digest(digest, digest if until is not None else NOBODY_HASH)
            matched |= same and until is not None and moment < until and secret != ""
    return matched

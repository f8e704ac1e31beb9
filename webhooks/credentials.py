"""Does whoever posts here hold the tenant's webhook secret? Decided from headers, before the body is read."""

import hmac
from collections.abc import Mapping

from runtime import clock
from runtime.crypto import Keyring
from tenants.snapshot import Snapshot

BEARER = b"bearer "
USUAL = (b"authorization", b"x-vapi-secret")
NOBODY_HASH = bytes(32)
MOST_PRESENTED = 6  # Authorization, X-Vapi-Secret, and a tenant's own headers (tenants/credentials.py)
Headers = Mapping[bytes, bytes]


def presented_secrets(headers: Headers, more: tuple[bytes, ...] = ()) -> list[str]:
    """The secrets in the headers that Vapi uses for a tenant, the word Bearer before them or not.

    An empty one is none (Vapi sends `x-vapi-secret: ""` where none is set).
    """
    found = []
    for name in (*USUAL, *more):
        value = headers.get(name)
        if value and (secret := without_prefix(value)):
            found.append(secret)
    return found


def without_prefix(value: bytes) -> str:
    """The secret in a header's value."""
    start = len(BEARER) if value[: len(BEARER)].lower() == BEARER else 0
    return value[start:].decode("latin-1").strip()


def authenticates(tenant: Snapshot | None, keyring: Keyring, secrets: list[str]) -> bool:
    """Whether one of the secrets is a valid one of this tenant.

    A refusal costs the same work whoever the tenant is, and whether there is one: as many hashes as secrets can be presented. One
    that was accepted is not hashed again under this snapshot; whoever presents it has it already.
    """
    valid: Mapping[bytes, float] = tenant.credentials if tenant else {}
    recognised = tenant.recognised if tenant else {}
    moment, matched = clock.monotonic(), False
    for secret in secrets:
        for digest in (recognised[secret],) if secret in recognised else keyring.digests(secret):
            # the table is searched by a keyed hash, which nobody outside can steer; the last word is a constant-time compare
            until = valid.get(digest)
            same = hmac.compare_digest(digest, digest if until is not None else NOBODY_HASH)
            if same and until is not None and moment < until and secret != "":
                recognised[secret] = digest
                matched = True
    if not matched:
        for _ in range(len(secrets), MOST_PRESENTED):
            keyring.digests("")
    return matched

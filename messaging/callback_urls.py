"""The address Twilio reports to: it names the message, and carries proof that we made it."""

import hmac
from base64 import urlsafe_b64encode
from uuid import UUID

from runtime.crypto import Keyring
from runtime.ids import TenantId

# Five tries at most, after connect failures, timeouts and 5xx: read by Twilio, never sent (webhooks connection overrides).
OVERRIDES = "#rc=5&rp=ct,rt,5xx"


def callback_url(public_base: str, slug: str, keyring: Keyring, tenant: TenantId, message: UUID) -> str:
    """Where the status of this message goes."""
    return f"{public_base.rstrip('/')}/twilio/{slug}/status/{message}?s={callback_token(keyring, tenant, message)}{OVERRIDES}"


def callback_token(keyring: Keyring, tenant: TenantId, message: UUID) -> str:
    """The MAC of tenant and message, as it stands in the callback's address."""
    return encoded(keyring.digest(named(tenant, message)))


def check_callback_token(keyring: Keyring, tenant: TenantId, message: UUID, token: str) -> bool:
    """Whether one of our keys made this token for this message of this tenant."""
    presented = token.encode("utf-8", "surrogatepass")
    matches = [hmac.compare_digest(encoded(digest).encode(), presented) for digest in keyring.digests(named(tenant, message))]
    return any(matches)


def named(tenant: TenantId, message: UUID) -> str:
    """What is signed: its purpose first, so that no other keyed hash of ours is one."""
    return f"status callback {tenant} {message}"


def encoded(digest: bytes) -> str:
    """As it stands in an address, unpadded."""
    return urlsafe_b64encode(digest).decode().rstrip("=")

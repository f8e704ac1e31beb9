"""Whose webhook is it? The tenant of the URL, if the delivery proves that it comes from its Vapi.

Two ways: a secret in a header, looked at before the body is read, and a signature over the body (docs/decisions/0023). Every refusal
is the same 401, and costs the same: it depends on what was sent, not on whether the tenant exists or how it is set up.
"""

import asyncio
from functools import partial

from runtime import clock, sentry
from runtime.crypto import Keyring, SealBroken
from runtime.logs import log
from runtime.refusals import Unauthorized
from tenants.credentials import MOST_SIGNING, SIGNING_COLUMN
from tenants.signature_plans import SignaturePlan, signing_key
from tenants.snapshot import SigningView, Snapshot, TenantBook
from webhooks.credentials import Headers, authenticates, presented_secrets
from webhooks.refusals import NO_CREDENTIAL, NOT_SET_UP, UNKNOWN_TENANT, WRONG_SECRET, RefusalBook
from webhooks.signatures import NEARNESS, NO_SIGNATURE, Delivery, fault_of

SIGNED_MARK = b"signature"  # in a header's name: the default x-signature, and what people call theirs
LONG_BODY = 100_000  # bytes; from here on hashing is done beside the event loop
NOBODYS_PLAN, NOBODYS_KEY = SignaturePlan(), b"nobody's"


class Gate:
    """Lets the tenant's own deliveries in."""

    def __init__(self, keyring: Keyring, tenants: TenantBook, refused: RefusalBook) -> None:
        self._keyring = keyring
        self._tenants = tenants
        self._refused = refused

    async def by_headers(self, slug: str, headers: Headers) -> Snapshot | None:
        """The tenant, if a header holds one of its secrets; None: the delivery is signed, and only its body can tell.

        Raises:
            Unauthorized: unknown tenant, missing, empty or wrong secret: one answer for all.
        """
        tenant = await self._tenants.by_slug(slug)
        presented = presented_secrets(headers, tenant.bearer_headers if tenant else ())
        if authenticates(tenant, self._keyring, presented) and tenant is not None:
            sentry.bind_tenant(tenant.tags)
            return tenant
        if looks_signed(tenant, headers):
            return None
        self._refuse(tenant, WRONG_SECRET if presented else NO_CREDENTIAL)
        raise Unauthorized

    async def by_signature(self, slug: str, delivery: Delivery) -> Snapshot:
        """The tenant, if the delivery is signed with one of its secrets.

        Raises:
            Unauthorized: unknown tenant, or no signature that holds: one answer for all.
        """
        tenant = await self._tenants.by_slug(slug)
        candidates = [(view.plan, self._key(tenant, view)) for view in living(tenant)] if tenant else []
        check = partial(nearest_fault, candidates, delivery, clock.now().timestamp())
        fault = check() if len(delivery.body) < LONG_BODY else await asyncio.to_thread(check)
        if fault is None and tenant is not None:
            sentry.bind_tenant(tenant.tags)
            return tenant
        self._refuse(tenant, fault if fault and candidates else NOT_SET_UP)
        raise Unauthorized

    def _key(self, tenant: Snapshot, view: SigningView) -> bytes:
        """The key of a signing secret, opened once per snapshot; empty, which verifies nothing, where it cannot be opened."""
        key = tenant.opened.get(view.sealed)
        if key is None:
            try:
                key = signing_key(view.plan, self._keyring.open(view.sealed, tenant.id, SIGNING_COLUMN))
            except SealBroken:
                log.error("signing secret does not open", **tenant.tags.by_name())
                key = b""
            tenant.opened[view.sealed] = key
        return key

    def _refuse(self, tenant: Snapshot | None, reason: str) -> None:
        self._refused.note(tenant, reason if tenant else UNKNOWN_TENANT)


def nearest_fault(candidates: list[tuple[SignaturePlan, bytes]], delivery: Delivery, moment: float) -> str | None:
    """None when one of the keys signed it, else what is wrong by the one that comes nearest; that costs `MOST_SIGNING` passes, always."""
    faults = []
    for plan, key in candidates:
        fault = fault_of(plan, key, delivery, moment)
        if fault is None:
            return None
        faults.append(fault)
    for _ in range(len(candidates), MOST_SIGNING):
        fault_of(NOBODYS_PLAN, NOBODYS_KEY, delivery, moment)
    return max(faults, key=NEARNESS.index, default=NO_SIGNATURE)


def looks_signed(tenant: Snapshot | None, headers: Headers) -> bool:
    """Whether the body has to be read to tell.

    Any header that calls itself a signature counts, whoever the tenant is; one of another name counts where the tenant signs with it,
    and whoever knows that name knows more already than that the tenant exists.
    """
    if any(SIGNED_MARK in name for name in headers):
        return True
    return tenant is not None and any(view.plan.signature_header.encode() in headers for view in living(tenant))


def living(tenant: Snapshot) -> list[SigningView]:
    """The signing secrets that have not ended, the newest first."""
    age = clock.monotonic() - tenant.taken_at
    return [view for view in tenant.signing if view.seconds_left is None or age < view.seconds_left]

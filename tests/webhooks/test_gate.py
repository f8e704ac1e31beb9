"""The gate costs the same whoever is refused: what is done depends on what was sent, never on the tenant."""

import base64
import os
from typing import Any, cast

import pytest

from runtime import clock
from runtime.crypto import Keyring, new_master_key
from runtime.refusals import Unauthorized
from tenants.credentials import MOST_SIGNING, SIGNING_COLUMN
from tenants.signature_plans import SignaturePlan
from tenants.snapshot import SigningView, Snapshot, TenantBook
from tests.webhooks.signing import Signer
from tests.webhooks.snapshots import snapshot
from webhooks import gate, refusals
from webhooks.gate import Gate
from webhooks.refusals import RefusalBook
from webhooks.signatures import Delivery

KEYRING = Keyring.parse(new_master_key("one"))
BODY = b"{}"
SIGNED = {"x-signature": "00" * 32, "x-timestamp": "1"}


class Book:
    """One tenant under one address."""

    def __init__(self, tenant: Snapshot) -> None:
        self._tenant = tenant

    async def by_slug(self, slug: str) -> Snapshot | None:
        return self._tenant if slug == self._tenant.slug else None


class Noted:
    """What was refused, and why."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def note(self, tenant: Snapshot | None, reason: str) -> None:
        assert (tenant is None) == (reason == refusals.UNKNOWN_TENANT)
        self.reasons.append(reason)


def tenant_with(*signers: Signer, left: float | None = None, **changes: Any) -> Snapshot:
    made = snapshot(**changes)
    views = tuple(
        SigningView(KEYRING.seal(signer.secret, made.id, SIGNING_COLUMN), SignaturePlan(**signer.options), left) for signer in signers
    )
    return snapshot(id=made.id, signing=views, **changes)


def opened(tenant: Snapshot, keyring: Keyring = KEYRING) -> tuple[Gate, list[str]]:
    noted = Noted()
    return Gate(keyring, cast(TenantBook, Book(tenant)), cast(RefusalBook, noted)), noted.reasons


def raw(headers: dict[str, str]) -> dict[bytes, bytes]:
    return {name.encode(): value.encode() for name, value in headers.items()}


def delivery(headers: dict[str, str], body: bytes = BODY) -> Delivery:
    return Delivery(b"POST", b"https://hooks.example.test/", list(raw(headers).items()), body)


def now() -> str:
    return str(int(clock.now().timestamp()))


def signers(count: int) -> list[Signer]:
    return [Signer(base64.b64encode(os.urandom(24)).decode()) for _ in range(count)]


@pytest.mark.parametrize("slug", ["a-tenant", "nobody"])
@pytest.mark.parametrize("many", [0, 1, 3, MOST_SIGNING])
@pytest.mark.parametrize("timestamp", ["", "nonsense", "1", "now"])
async def test_a_refused_signature_costs_the_same_passes_over_the_body(
    slug: str, many: int, timestamp: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    check = gate.fault_of

    def counted(plan: SignaturePlan, key: bytes, arrived: Delivery, moment: float) -> str | None:
        passes.append(len(arrived.body))
        return check(plan, key, arrived, moment)

    monkeypatch.setattr(gate, "fault_of", counted)
    at, reasons = opened(tenant_with(*signers(many)))
    headers = {**SIGNED, "x-timestamp": now() if timestamp == "now" else timestamp}
    with pytest.raises(Unauthorized):
        await at.by_signature(slug, delivery(headers, b"x" * 1000))
    assert passes == [1000] * MOST_SIGNING
    assert len(reasons) == 1


@pytest.mark.parametrize(
    ("headers", "read"),
    [
        ({}, False),
        ({"authorization": "Bearer wrong"}, False),
        ({"x-vapi-secret": ""}, False),
        ({"x-signature": ""}, True),
        ({"x-signature": "00", "authorization": "Bearer wrong"}, True),
        ({"x-vapi-signature": "00"}, True),
        ({"x-hub-signature-256": "00"}, True),
    ],
)
async def test_whether_the_body_is_read_depends_on_the_headers_alone(headers: dict[str, str], read: bool) -> None:
    for tenant in (tenant_with(), tenant_with(*signers(2)), tenant_with(credentials={KEYRING.digest("s"): float("inf")})):
        for slug in ("a-tenant", "nobody"):
            at, _ = opened(tenant)
            if read:
                assert await at.by_headers(slug, raw(headers)) is None
            else:
                with pytest.raises(Unauthorized):
                    await at.by_headers(slug, raw(headers))


async def test_a_header_of_another_name_counts_for_the_tenant_that_signs_with_it() -> None:
    signer = Signer("a-secret-of-the-suite", {"signature_header": "x-proof"})
    at, reasons = opened(tenant_with(signer))
    headers = signer.headers(BODY, now())
    assert await at.by_headers("a-tenant", raw(headers)) is None
    assert (await at.by_signature("a-tenant", delivery(headers))).slug == "a-tenant"
    with pytest.raises(Unauthorized):
        await at.by_headers("nobody", raw(headers))
    assert reasons == [refusals.UNKNOWN_TENANT]


async def test_a_secret_in_a_header_needs_no_body_though_the_delivery_is_signed_too() -> None:
    at, reasons = opened(tenant_with(*signers(1), credentials={KEYRING.digest("s"): float("inf")}))
    found = await at.by_headers("a-tenant", raw({**SIGNED, "authorization": "Bearer s"}))
    assert found is not None
    assert reasons == []


async def test_any_of_the_living_secrets_signs_and_one_that_ended_does_not() -> None:
    three = signers(3)
    for signer in three:
        at, _ = opened(tenant_with(*three))
        assert (await at.by_signature("a-tenant", delivery(signer.headers(BODY, now())))).slug == "a-tenant"
    at, reasons = opened(tenant_with(*three, left=0.0))
    with pytest.raises(Unauthorized):
        await at.by_signature("a-tenant", delivery(three[0].headers(BODY, now())))
    assert reasons == [refusals.NOT_SET_UP]


async def test_a_secret_is_opened_once_per_snapshot_and_stands_in_no_text() -> None:
    (signer,) = signers(1)
    tenant = tenant_with(signer)
    at, _ = opened(tenant)
    for _ in range(3):
        await at.by_signature("a-tenant", delivery(signer.headers(BODY, now())))
    assert list(tenant.opened.values()) == [signer.secret.encode()]
    assert signer.secret not in repr(tenant)
    assert tenant.signing[0].sealed not in repr(tenant)


async def test_a_secret_that_does_not_open_lets_nobody_in() -> None:
    (signer,) = signers(1)
    at, reasons = opened(tenant_with(signer), Keyring.parse(new_master_key("two")))
    for key in (signer, Signer("")):
        with pytest.raises(Unauthorized):
            await at.by_signature("a-tenant", delivery(key.headers(BODY, now())))
    assert reasons == ["wrong_signature"] * 2


@pytest.mark.parametrize("size", [gate.LONG_BODY - 1, gate.LONG_BODY, 5_000_000])
async def test_a_body_of_any_size_is_verified(size: int) -> None:
    (signer,) = signers(1)
    body = b"x" * size
    at, reasons = opened(tenant_with(signer))
    headers = signer.headers(body, now())
    assert (await at.by_signature("a-tenant", delivery(headers, body))).slug == "a-tenant"
    with pytest.raises(Unauthorized):
        await at.by_signature("a-tenant", delivery(headers, body[:-1] + b"y"))
    assert reasons == ["wrong_signature"]

"""Bodies that nobody has vouched for yet: bounded altogether and at each address, not for long, and all of it given back."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.allowance import Allowance
from api.routes import vapi
from api.routes.vapi import MOST_AT_AN_ADDRESS, MOST_UNVERIFIED, WebhookDoor
from runtime.refusals import Unavailable
from tests.api.people import Tenant
from tests.api.processes import Process
from tests.api.test_signed_webhooks import ASK, now, post, send, signing

SIGNED = {"x-signature": "00"}


@pytest.fixture
def door(api: Process) -> WebhookDoor:
    found: Any = api.edge.app
    assert isinstance(found, WebhookDoor)
    return found


class Slow:
    """A delivery, spoken to the application itself: its body begins, and its rest comes when it is told to."""

    def __init__(self, api: Process, slug: str, headers: dict[str, str], body: bytes = ASK) -> None:
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        self.answers: list[Any] = []
        self._parts = [body[:10], body[10:]]
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": "POST", "path": f"/vapi-webhook/{slug}", "query_string": b"", "headers": raw, "state": {}}
        self.task = asyncio.create_task(api.edge(scope, self._receive, self._send))  # type: ignore[arg-type]

    async def _receive(self) -> dict[str, Any]:
        if len(self._parts) == 1:
            self.begun.set()
            await self.go_on.wait()
        return {"type": "http.request", "body": self._parts.pop(0), "more_body": bool(self._parts)}

    async def _send(self, message: Any) -> None:
        self.answers.append(message)

    async def status(self) -> int:
        await self.task
        return int(self.answers[0]["status"])


async def test_what_waits_to_be_verified_is_bounded_and_given_back(
    tenant: Tenant, door: WebhookDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = await signing(tenant)
    monkeypatch.setattr(door, "unverified", Allowance(len(ASK) - 1, len(ASK)))
    refused = await post(tenant, signer.headers(ASK, now()))
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert (await tenant.webhook(ASK)).status_code == 200  # a secret in a header needs none of it
    monkeypatch.setattr(door, "unverified", Allowance(len(ASK), len(ASK)))
    for _ in range(3):
        assert await send(tenant, signer) == 200
        assert (await post(tenant, SIGNED)).status_code == 401
    assert MOST_UNVERIFIED == 64_000_000


async def test_who_fills_one_address_is_in_nobodys_way_at_another(
    tenant: Tenant, other: Tenant, api: Process, door: WebhookDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = await signing(tenant), await signing(other)
    monkeypatch.setattr(door, "unverified", Allowance(10 * len(ASK), len(ASK)))
    slow = Slow(api, tenant.slug, SIGNED)
    await slow.begun.wait()
    assert await send(tenant, mine) == 503
    assert await send(other, theirs) == 200
    assert (await post(tenant, SIGNED, slug="nobody-here")).status_code == 401
    slow.go_on.set()
    assert await slow.status() == 401
    assert await send(tenant, mine) == 200


async def test_a_body_that_only_trickles_in_is_given_up_unless_its_sender_is_known(
    tenant: Tenant, api: Process, door: WebhookDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vapi, "UNVERIFIED_SECONDS", 0.05)
    monkeypatch.setattr(door, "unverified", Allowance(10, 10))  # as much as a body begins with
    signer = await signing(tenant)
    known = Slow(api, tenant.slug, {"authorization": f"Bearer {tenant.secret}"})
    for slug in (tenant.slug, "nobody-here"):
        assert await Slow(api, slug, SIGNED).status() == 503
        assert await Slow(api, slug, signer.headers(ASK, now())).status() == 503
    known.go_on.set()
    assert await known.status() == 200


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 40)), max_size=30))
def test_never_more_is_held_than_allowed_and_everything_is_given_back(taken: list[tuple[str, int]]) -> None:
    allowance, held, given_back = Allowance(100, 50), {"a": 0, "b": 0, "c": 0}, []
    for address, size in taken:
        entered = allowance.held(address)
        take = entered.__enter__()
        given_back.append(entered)
        fits = held[address] + size <= 50 and sum(held.values()) + size <= 100
        if fits:
            take(size)
            held[address] += size
        else:
            with pytest.raises(Unavailable):
                take(size)
    for entered in given_back:
        entered.__exit__(None, None, None)
    with allowance.held("a") as take, allowance.held("b") as other:
        take(50)
        other(50)
    assert allowance._held == {}


def test_one_address_leaves_most_of_it_to_others() -> None:
    assert vapi.LARGEST_BODY <= MOST_AT_AN_ADDRESS <= MOST_UNVERIFIED // 4

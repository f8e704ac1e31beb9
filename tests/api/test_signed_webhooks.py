"""Signed deliveries at the real door: verified on the bytes that came, for one tenant, within the window, before anything is parsed."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as property_settings
from hypothesis import strategies as st

from api.routes.vapi import LARGEST_BODY, WebhookDoor
from api.wiring import Wiring
from runtime import clock
from runtime.settings import Settings
from tests.api.effects import Effects
from tests.api.people import PUBLIC, Tenant, tool_item, tool_message
from tests.api.processes import Process, running
from tests.webhooks.signing import Signer
from tests.webhooks.test_signatures import options

ASK = json.dumps(tool_message([tool_item("current_time", {})])).encode()
THEIRS = "YW5vdGhlciBzZWNyZXQsIG9mIGFub3RoZXIgdGVuYW50"
GIVEN = "c2VjcmV0IG9mIHRoZSBzdWl0ZSwgbG9uZyBlbm91Z2g="  # base64, and a text of its own


def now(unit: int = 1, away: float = 0) -> str:
    return str(int((clock.now().timestamp() + away) * unit))


async def signing(tenant: Tenant, grace: int = 0, **chosen: Any) -> Signer:
    """Give the tenant a signing secret for all its assistants."""
    made = await tenant.ask("PUT", "/v1/webhook-credential", {"auth": {"mode": "hmac", **chosen}, "grace_seconds": grace})
    assert made.status_code == 200, made.text
    secret = made.json()["auth"].get("secret") or chosen["secret"]
    return Signer(secret, {name: value for name, value in chosen.items() if name != "secret"})


async def post(tenant: Tenant, headers: Any, body: bytes = ASK, slug: str = "", http: httpx.AsyncClient | None = None) -> httpx.Response:
    return await (http or tenant.http).post(f"/vapi-webhook/{slug or tenant.slug}", content=body, headers=headers)


async def send(tenant: Tenant, signer: Signer, body: bytes = ASK, timestamp: str = "", http: httpx.AsyncClient | None = None) -> int:
    """Post as Vapi does with this credential; the status of the answer."""
    url = f"{PUBLIC}/vapi-webhook/{tenant.slug}"
    return (await post(tenant, signer.headers(body, timestamp or now(), url, "msg_1"), body, http=http)).status_code


@pytest.fixture
async def elsewhere(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Another process, with caches of its own."""
    async with running(settings) as started:
        yield started.http


@property_settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(chosen=options(), unit=st.sampled_from([1, 1000]))
async def test_any_credential_of_vapi_opens_the_door_of_its_tenant_and_no_other(
    chosen: dict[str, Any], unit: int, tenant: Tenant, other: Tenant
) -> None:
    mine = await signing(tenant, secret=GIVEN, **chosen)
    theirs = await signing(other, secret=THEIRS, **chosen)
    assert await send(tenant, mine, timestamp=now(unit)) == 200
    assert await send(other, theirs, timestamp=now(unit)) == 200
    assert await send(tenant, theirs, timestamp=now(unit)) == 401
    url = f"{PUBLIC}/vapi-webhook/{tenant.slug}"
    headers = mine.headers(ASK, now(unit), url, "msg_1")
    assert (await post(tenant, headers, ASK + b" ")).status_code == 401
    assert (await post(other, headers)).status_code == 401


async def test_an_assistant_has_a_signing_secret_of_its_own_beside_the_others(tenant: Tenant) -> None:
    made = await tenant.post("/v1/assistants", {"vapi_assistant_id": "a-signing", "name": "Signs", "auth": {"mode": "hmac"}})
    assert made.status_code == 201, made.text
    shown = made.json()["auth"]
    signer = Signer(shown["secret"])
    assert await send(tenant, signer) == 200
    assert (await tenant.webhook(ASK)).status_code == 200  # the first one's, in a header
    assert (await tenant.webhook(ASK, secret=signer.secret)).status_code == 401  # what signs is never presented
    assert (await post(tenant, Signer(tenant.secret).headers(ASK, now()))).status_code == 401  # and what is presented signs nothing


async def test_a_rotated_secret_signs_until_its_grace_ends(tenant: Tenant, elsewhere: httpx.AsyncClient) -> None:
    first = await signing(tenant)
    assert await send(tenant, first, http=elsewhere) == 200
    second = Signer((await tenant.post("/v1/webhook-credential/rotate", {"grace_seconds": 60})).json()["auth"]["secret"])
    assert await send(tenant, first) == 200
    assert await send(tenant, second) == 200
    third = Signer((await tenant.post("/v1/webhook-credential/rotate", {"grace_seconds": 0})).json()["auth"]["secret"])
    assert [await send(tenant, signer) for signer in (first, second, third)] == [401, 401, 200]  # where it was rotated, at once
    await asyncio.sleep(2.05)
    assert [await send(tenant, signer, http=elsewhere) for signer in (first, second, third)] == [401, 401, 200]


async def test_a_grace_ends_by_itself(tenant: Tenant) -> None:
    first = await signing(tenant)
    await tenant.post("/v1/webhook-credential/rotate", {"grace_seconds": 1})
    assert await send(tenant, first) == 200
    await asyncio.sleep(1.05)
    assert await send(tenant, first) == 401


async def test_a_replay_within_the_window_changes_nothing_and_one_outside_is_refused(tenant: Tenant, effects: Effects) -> None:
    signer = await signing(tenant)
    body = json.dumps(tool_message([tool_item("send_sms", {"body": "Your table is booked."})], "replayed")).encode()
    headers = signer.headers(body, now())
    first, again = await post(tenant, headers, body), await post(tenant, headers, body)
    assert (first.status_code, again.status_code, again.content) == (200, 200, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert await effects.count(tenant, "messages") == 1
    for away in (-310, 310):
        assert await send(tenant, signer, body, now(away=away)) == 401
    wide = await signing(tenant, secret=GIVEN, replay_window_seconds=600)
    assert await send(tenant, wide, body, now(away=-310)) == 200


async def test_names_of_headers_come_in_any_case_and_are_kept_in_lower_case(tenant: Tenant) -> None:
    signer = await signing(tenant, signature_header="X-My-Proof", timestamp_header="X-When")
    shown = (await tenant.get("/v1/webhook-credential")).json()["auth"]
    assert (shown["signature_header"], shown["timestamp_header"]) == ("x-my-proof", "x-when")
    headers = signer.headers(ASK, now())
    for named in (str.upper, str.lower, str.title):
        assert (await post(tenant, {named(name): value for name, value in headers.items()})).status_code == 200


@pytest.mark.parametrize("name", ["x-signature", "x-timestamp"])
async def test_a_header_that_comes_twice_is_refused(name: str, tenant: Tenant) -> None:
    signer = await signing(tenant)
    headers = list(signer.headers(ASK, now()).items())
    value = dict(headers)[name]
    for more in (value, "0", ""):
        assert (await post(tenant, [*headers, (name, more)])).status_code == 401
        assert (await post(tenant, [(name, more), *headers])).status_code == 401


@pytest.mark.parametrize(
    "changed",
    [
        {"x-signature": ""},
        {"x-signature": "0"},
        {"x-signature": "0" * 64},
        {"x-timestamp": ""},
        {"x-timestamp": "soon"},
        {"x-timestamp": "0"},
        {"x-vapi-secret": "", "x-signature": ""},
    ],
    ids=str,
)
async def test_what_does_not_hold_is_refused_in_the_words_of_every_refusal(changed: dict[str, str], tenant: Tenant) -> None:
    signer = await signing(tenant)
    headers = {**signer.headers(ASK, now()), **changed}
    mine, nobodys = await post(tenant, headers), await post(tenant, headers, slug="nobody-here")
    assert (mine.status_code, nobodys.status_code) == (401, 401)
    shown = [{**answer.json(), "request_id": ""} for answer in (mine, nobodys)]
    assert shown[0] == shown[1]


async def test_the_order_is_a_secret_in_a_header_then_the_size_then_the_signature_then_the_body(tenant: Tenant, other: Tenant) -> None:
    signer = await signing(tenant)
    large, broken = b"{" * (LARGEST_BODY + 1), b"{"
    assert (await post(tenant, {}, large)).status_code == 401
    for slug in (tenant.slug, other.slug, "nobody-here"):
        assert (await post(tenant, {"x-signature": "00"}, large, slug)).status_code == 413
    assert (await post(tenant, {"x-signature": "00"}, broken)).status_code == 401
    assert await send(tenant, signer, broken) == 400
    assert await send(tenant, signer, b"{" * LARGEST_BODY) == 400


async def test_a_wrong_secret_in_a_header_beside_a_signature_that_holds_is_no_matter(tenant: Tenant) -> None:
    signer = await signing(tenant)
    for more in ({"authorization": "Bearer wrong"}, {"x-vapi-secret": ""}, {"x-vapi-secret": "wrong"}):
        assert (await post(tenant, {**signer.headers(ASK, now()), **more})).status_code == 200


async def test_a_body_is_read_only_where_what_was_sent_calls_for_it(tenant: Tenant, api: Process) -> None:
    """Asked of the application itself: a client sends its body whatever happens."""
    await signing(tenant)
    for slug in (tenant.slug, "nobody-here"):
        for headers, wanted in (([], 0), ([(b"authorization", b"Bearer wrong")], 0), ([(b"x-signature", b"00")], 1)):
            asked: list[str] = []

            async def receive(asked: list[str] = asked) -> dict[str, Any]:
                asked.append("once more")
                return {"type": "http.request", "body": b"{}", "more_body": False}

            async def sent(_: Any) -> None:
                return None

            scope = {
                "type": "http",
                "method": "POST",
                "path": f"/vapi-webhook/{slug}",
                "query_string": b"",
                "headers": headers,
                "state": {},
            }
            await api.edge(scope, receive, sent)  # type: ignore[arg-type]
            assert len(asked) == wanted


async def test_what_waits_to_be_verified_is_bounded_and_given_back(tenant: Tenant, api: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    signer = await signing(tenant)
    door: Any = api.edge.app
    assert isinstance(door, WebhookDoor)
    whole = door.unverified._left
    monkeypatch.setattr(door.unverified, "_left", len(ASK) - 1)
    refused = await post(tenant, signer.headers(ASK, now()))
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert (await tenant.webhook(ASK)).status_code == 200  # a secret in a header needs none of it
    monkeypatch.setattr(door.unverified, "_left", len(ASK))
    for _ in range(3):
        assert await send(tenant, signer) == 200
        assert (await post(tenant, {"x-signature": "00"})).status_code == 401
    assert door.unverified._left == len(ASK)
    assert whole == 64_000_000


async def test_refusals_are_counted_by_reason_and_shown_to_the_tenant_alone(
    tenant: Tenant, other: Tenant, wiring: Wiring, http: httpx.AsyncClient
) -> None:
    signer = await signing(tenant)
    assert (await tenant.get("/v1/webhook-credential")).json()["last_refused"] is None
    assert await send(tenant, Signer("another-secret-of-the-suite")) == 401
    assert await send(tenant, signer, timestamp=now(away=-400)) == 401
    assert (await post(tenant, {}, slug="nobody-here")).status_code == 401
    await wiring.refused._flush()
    last = (await tenant.get("/v1/webhook-credential")).json()["last_refused"]
    assert last["reason"] == "timestamp_outside_window"
    assert last["at"].endswith("Z")
    assert (await other.get("/v1/webhook-credential")).json()["last_refused"] is None
    page = (await http.get("/metrics")).text
    for reason in ("wrong_signature", "timestamp_outside_window", "unknown_tenant"):
        assert f'trunkline_webhook_refusals_total{{reason="{reason}"}}' in page

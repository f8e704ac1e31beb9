"""The credential of a whole tenant, and the options of every credential: shown once, changed without a gap, nobody else's."""

import json
from typing import Any
from uuid import uuid4

import pytest

from api.wiring import Wiring
from tenants.credentials import MOST_HEADERS, MOST_SIGNING
from tests.api.effects import Effects
from tests.api.people import PUBLIC, Tenant, tool_item, tool_message
from tests.api.test_signed_webhooks import send
from tests.webhooks.signing import Signer

PATH = "/v1/webhook-credential"
ASK = json.dumps(tool_message([tool_item("current_time", {})])).encode()
GIVEN = "a-secret-that-the-user-has-at-vapi"
HMAC: dict[str, Any] = {
    "mode": "hmac",
    "algorithm": "sha512",
    "signature_header": "x-hub-signature",
    "timestamp_header": "x-when",
    "signature_prefix": "sha512=",
    "include_timestamp": True,
    "payload_format": "{svix-id}.{timestamp}.{body}",
    "message_id_header": "webhook-id",
    "signature_encoding": "base64",
    "secret_is_base64": True,
    "replay_window_seconds": 60,
}


async def put(tenant: Tenant, grace: int | None = None, **auth: Any) -> Any:
    body = {"auth": auth} if grace is None else {"auth": auth, "grace_seconds": grace}
    answer = await tenant.ask("PUT", PATH, body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def post(tenant: Tenant, headers: dict[str, str]) -> int:
    return (await tenant.http.post(f"/vapi-webhook/{tenant.slug}", content=ASK, headers=headers)).status_code


async def test_a_tenant_has_none_until_it_sets_one(tenant: Tenant) -> None:
    shown = (await tenant.get(PATH)).json()
    assert shown == {"webhook_url": f"{PUBLIC}/vapi-webhook/{tenant.slug}", "auth": None, "created_at": None, "last_refused": None}
    assert (await tenant.post(f"{PATH}/rotate", {})).status_code == 404
    assert (await tenant.ask("DELETE", PATH)).status_code == 404


async def test_a_bearer_secret_for_all_assistants_is_shown_once(tenant: Tenant, effects: Effects) -> None:
    made = await put(tenant, mode="bearer")
    secret = made["auth"].pop("secret")
    assert made["auth"] == {"mode": "bearer", "header_name": "authorization", "bearer_prefix": True}
    assert (await tenant.webhook(ASK, secret=secret)).status_code == 200
    assert (await tenant.webhook(ASK)).status_code == 200
    assert (await tenant.get(PATH)).json() == made
    tables = ("webhook_credentials", "control.audit")
    stored = "".join([str(await effects.owner.fetch(f"SELECT to_jsonb(t)::text FROM {table} AS t")) for table in tables])
    assert secret not in stored


async def test_every_option_of_a_signature_is_kept_and_shown(tenant: Tenant, effects: Effects) -> None:
    made = await put(tenant, **HMAC)
    secret = made["auth"].pop("secret")
    assert made["auth"] == HMAC
    assert (await tenant.get(PATH)).json()["auth"] == HMAC
    stored = str(await effects.owner.fetch("SELECT to_jsonb(t)::text FROM signing_credentials AS t"))
    assert "x-hub-signature" in stored
    assert secret not in stored
    assert secret not in str(await effects.owner.fetch("SELECT to_jsonb(t)::text FROM control.audit AS t"))


async def test_the_defaults_are_vapis(tenant: Tenant) -> None:
    made = await put(tenant, mode="hmac")
    made["auth"].pop("secret")
    assert made["auth"] == {
        "mode": "hmac",
        "algorithm": "sha256",
        "signature_header": "x-signature",
        "timestamp_header": "x-timestamp",
        "signature_prefix": "",
        "include_timestamp": True,
        "payload_format": "{timestamp}.{body}",
        "message_id_header": "",
        "signature_encoding": "hex",
        "secret_is_base64": False,
        "replay_window_seconds": 300,
    }
    assert (await put(tenant, mode="hmac", include_timestamp=False))["auth"]["payload_format"] == "{body}"


async def test_changed_options_keep_the_secret_and_what_was_set_up_before_works_for_the_grace(tenant: Tenant) -> None:
    first = Signer((await put(tenant, mode="hmac"))["auth"]["secret"])
    changed = await put(tenant, mode="hmac", algorithm="sha512")
    assert "secret" not in changed["auth"]
    second = Signer(first.secret, {"algorithm": "sha512"})
    assert [await send(tenant, signer) for signer in (first, second)] == [200, 200]
    await put(tenant, 0, mode="hmac", algorithm="sha1")
    third = Signer(first.secret, {"algorithm": "sha1"})
    assert [await send(tenant, signer) for signer in (first, second, third)] == [401, 401, 200]
    assert "secret" in (await put(tenant, mode="hmac", secret_is_base64=True))["auth"]  # the old one is no base64
    assert "secret" in (await put(tenant, mode="bearer"))["auth"]


@pytest.mark.parametrize(
    ("name", "prefixed"), [("Authorization", True), ("Authorization", False), ("X-Vapi-Secret", False), ("X-Token", True)]
)
async def test_a_bearer_secret_comes_in_the_header_and_the_form_that_was_chosen(
    name: str, prefixed: bool, tenant: Tenant, other: Tenant
) -> None:
    made = await put(tenant, mode="bearer", header_name=name, bearer_prefix=prefixed, secret=GIVEN)
    assert made["auth"] == {"mode": "bearer", "secret": GIVEN, "header_name": name.lower(), "bearer_prefix": prefixed}
    presented = {name: f"Bearer {GIVEN}" if prefixed else GIVEN}
    assert await post(tenant, presented) == 200
    assert await post(other, presented) == 401
    assert await post(tenant, {name: "Bearer " if prefixed else ""}) == 401
    assert await post(tenant, {"x-other": GIVEN}) == 401


async def test_an_assistant_changes_its_mode_when_it_rotates_and_keeps_its_options_otherwise(tenant: Tenant) -> None:
    path = f"/v1/assistants/{tenant.assistant['id']}"
    rotated = await tenant.post(f"{path}/rotate-secret", {"grace_seconds": 60, "auth": {"mode": "hmac", "algorithm": "sha512"}})
    assert rotated.status_code == 200, rotated.text
    first = Signer(rotated.json()["auth"]["secret"], {"algorithm": "sha512"})
    assert await send(tenant, first) == 200
    assert (await tenant.webhook(ASK)).status_code == 200  # the bearer secret, until its grace ends
    again = (await tenant.post(f"{path}/rotate-secret", {"grace_seconds": 0})).json()["auth"]
    assert (again["mode"], again["algorithm"]) == ("hmac", "sha512")
    second = Signer(again["secret"], {"algorithm": "sha512"})
    assert [await send(tenant, signer) for signer in (first, second)] == [401, 200]
    assert (await tenant.webhook(ASK)).status_code == 401
    for shown in ((await tenant.get(path)).json(), (await tenant.get("/v1/assistants")).json()["items"][0]):
        assert (shown["auth"]["mode"], shown["auth"]["algorithm"], "secret" in shown["auth"]) == ("hmac", "sha512", False)
    assert (await tenant.ask("DELETE", path)).status_code == 204
    assert await send(tenant, second) == 401


async def test_what_is_removed_ends_at_once_and_those_of_assistants_stay(tenant: Tenant) -> None:
    signer = Signer((await put(tenant, mode="hmac"))["auth"]["secret"])
    await put(tenant, mode="bearer", secret=GIVEN)
    assert (await tenant.ask("DELETE", PATH)).status_code == 204
    assert await send(tenant, signer) == 401
    assert (await tenant.webhook(ASK, secret=GIVEN)).status_code == 401
    assert (await tenant.webhook(ASK)).status_code == 200
    assert (await tenant.get(PATH)).json()["auth"] is None


async def test_another_tenants_credential_is_neither_seen_nor_changed(tenant: Tenant, other: Tenant) -> None:
    mine = await put(tenant, mode="hmac")
    assert (await other.get(PATH)).json()["auth"] is None
    for method, path in (("DELETE", PATH), ("POST", f"{PATH}/rotate")):
        assert (await other.ask(method, path, {} if method == "POST" else None)).status_code == 404
    await put(other, mode="bearer")
    assert (await tenant.get(PATH)).json()["created_at"] == mine["created_at"]
    stolen = f"/v1/assistants/{tenant.assistant['id']}/rotate-secret"
    assert (await other.post(stolen, {"auth": {"mode": "hmac"}})).status_code == 404


async def test_signing_secrets_are_few_and_ending_some_makes_room(tenant: Tenant, wiring: Wiring) -> None:
    await put(tenant, mode="hmac")
    for _ in range(MOST_SIGNING - 1):
        assert (await tenant.post(f"{PATH}/rotate", {"grace_seconds": 600})).status_code == 200
    refused = await tenant.post(f"{PATH}/rotate", {"grace_seconds": 600})
    assert (refused.status_code, "grace_seconds" in refused.json()["detail"]) == (409, True)
    assistant = {"vapi_assistant_id": str(uuid4()), "name": "One more", "auth": {"mode": "hmac"}}
    assert (await tenant.post("/v1/assistants", assistant)).status_code == 409
    assert len((await tenant.get("/v1/assistants")).json()["items"]) == 1  # and nothing is half-registered
    assert (await tenant.post(f"{PATH}/rotate", {"grace_seconds": 0})).status_code == 200
    snapshot = await wiring.tenants.by_slug(tenant.slug)
    assert snapshot is not None
    assert len(snapshot.signing) == 1
    assert (await tenant.post("/v1/assistants", assistant)).status_code == 201


async def test_headers_of_ones_own_are_few(tenant: Tenant) -> None:
    for number in range(MOST_HEADERS):
        await put(tenant, mode="bearer", header_name=f"x-token-{number}")
    refused = await tenant.ask("PUT", PATH, {"auth": {"mode": "bearer", "header_name": "x-one-more"}})
    assert refused.status_code == 409
    await put(tenant, 0, mode="bearer", header_name="x-one-more")


async def test_what_was_done_is_in_the_audit_trail_without_secrets(tenant: Tenant, effects: Effects) -> None:
    await put(tenant, mode="hmac", secret=GIVEN)
    await tenant.post(f"{PATH}/rotate", {})
    await tenant.ask("DELETE", PATH)
    rows = await effects.owner.fetch(
        "SELECT action, detail::text FROM control.audit WHERE tenant_id = $1 AND action LIKE 'credential.%' ORDER BY id", tenant.id
    )
    assert [row["action"] for row in rows] == ["credential.changed", "credential.secret_rotated", "credential.removed"]
    assert GIVEN not in str(rows)


BODIES = {
    "no auth": ({}, ""),
    "unknown mode": ({"auth": {"mode": "oauth2"}}, "/auth/mode"),
    "unknown field": ({"auth": {"mode": "hmac", "colour": 1}}, "/auth"),
    "an option of the other mode": ({"auth": {"mode": "bearer", "algorithm": "sha1"}}, "/auth/algorithm"),
    "the reverse": ({"auth": {"mode": "hmac", "header_name": "x-a"}}, "/auth/header_name"),
    "algorithm": ({"auth": {"mode": "hmac", "algorithm": "md5"}}, "/auth/algorithm"),
    "encoding": ({"auth": {"mode": "hmac", "signature_encoding": "base32"}}, "/auth/signature_encoding"),
    "no body in the format": ({"auth": {"mode": "hmac", "payload_format": "{timestamp}"}}, "/auth/payload_format"),
    "the body twice": ({"auth": {"mode": "hmac", "payload_format": "{body}{body}"}}, "/auth/payload_format"),
    "an unknown part": ({"auth": {"mode": "hmac", "payload_format": "{nonce}.{body}"}}, "/auth/payload_format"),
    "a timestamp that is not sent": (
        {"auth": {"mode": "hmac", "include_timestamp": False, "payload_format": "{timestamp}.{body}"}},
        "/auth/payload_format",
    ),
    "an id without a header": ({"auth": {"mode": "hmac", "payload_format": "{svix-id}.{body}"}}, "/auth/message_id_header"),
    "a header of HTTP": ({"auth": {"mode": "hmac", "signature_header": "Content-Length"}}, "/auth/signature_header"),
    "no header": ({"auth": {"mode": "hmac", "signature_header": ""}}, "/auth/signature_header"),
    "no name": ({"auth": {"mode": "bearer", "header_name": "x a"}}, "/auth/header_name"),
    "a line break in a name": ({"auth": {"mode": "bearer", "header_name": "x-a\n"}}, "/auth/header_name"),
    "a line break in the prefix": ({"auth": {"mode": "hmac", "signature_prefix": "v1\n"}}, "/auth/signature_prefix"),
    "a short secret": ({"auth": {"mode": "hmac", "secret": "fifteen-letters"}}, "/auth/secret"),
    "an empty secret": ({"auth": {"mode": "bearer", "secret": ""}}, "/auth/secret"),
    "a long secret": ({"auth": {"mode": "hmac", "secret": "x" * 513}}, "/auth/secret"),
    "a secret with a space": ({"auth": {"mode": "bearer", "secret": "sixteen letters and more"}}, "/auth/secret"),
    "no base64": ({"auth": {"mode": "hmac", "secret_is_base64": True, "secret": "%" * 40}}, "/auth/secret"),
    "short base64": ({"auth": {"mode": "hmac", "secret_is_base64": True, "secret": "c2hvcnQgc2VjcmV0"}}, "/auth/secret"),
    "window": ({"auth": {"mode": "hmac", "replay_window_seconds": 9}}, "/auth/replay_window_seconds"),
    "grace": ({"auth": {"mode": "hmac"}, "grace_seconds": -1}, "/grace_seconds"),
}


@pytest.mark.parametrize(("body", "pointer"), BODIES.values(), ids=BODIES)
async def test_a_body_that_is_wrong_says_where(body: Any, pointer: str, tenant: Tenant) -> None:
    answer = await tenant.ask("PUT", PATH, body)
    assert answer.status_code == 400, answer.text
    (error,) = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert error["detail"]
    assert (await tenant.get(PATH)).json()["auth"] is None
    if "auth" in body and "grace_seconds" not in body:
        registered = await tenant.post("/v1/assistants", {"vapi_assistant_id": str(uuid4()), "name": "x", **body})
        assert (registered.status_code, registered.json()["errors"][0]["pointer"]) == (400, pointer)

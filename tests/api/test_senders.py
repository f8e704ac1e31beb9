"""Senders: checked where they are declared, one tenant each, paced by their registration's tier, and silent about their secrets."""

import uuid
from typing import Any

import pytest

from tests.api.effects import Effects
from tests.api.people import AUTH_TOKEN, Person, Tenant, new_tenant, sender_body

TO = {"to": "+12135550123", "body": "Hi"}


async def put(tenant: Person, body: dict[str, Any]) -> dict[str, Any]:
    answer = await tenant.ask("PUT", "/v1/sender", body)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def test_a_sender_shows_its_tier_and_no_secret(tenant: Tenant, effects: Effects) -> None:
    body = sender_body("toll_free", api_key_sid="SK" + "0" * 32, api_key_secret="the-secret-of-a-key")
    answer = await tenant.ask("PUT", "/v1/sender", body)
    shown = answer.json()
    assert (shown["tier"], shown["tier_source"], shown["segments_per_second"], shown["is_default"]) == ("toll_free", "tenant", "3", True)
    listed = await tenant.get("/v1/senders")
    stored = str(await effects.owner.fetch("SELECT to_jsonb(s)::text FROM senders AS s WHERE tenant_id = $1", tenant.id))
    trail = str(await effects.owner.fetch("SELECT detail::text FROM control.audit WHERE tenant_id = $1", tenant.id))
    for text in (answer.text, listed.text, stored, trail):
        assert AUTH_TOKEN not in text
        assert "the-secret-of-a-key" not in text


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no sender": ({"from_number": None}, "/from_number"),
    "number and service": ({"messaging_service_sid": "MG" + "0" * 32}, "/from_number"),
    "no credentials": ({"auth_token": None}, "/auth_token"),
    "half a key": ({"api_key_sid": "SK" + "0" * 32}, "/api_key_secret"),
    "no tier": ({"tier": None}, "/tier"),
    "unknown tier": ({"tier": "warp"}, "/tier"),
    "tier of an account": ({"tier": "account_tree"}, "/tier"),
    "tier of pictures": ({"tier": "long_code_mms"}, "/tier"),
    "tier of toll-free pictures": ({"tier": "toll_free_mms"}, "/tier"),
    "tier of WhatsApp": ({"tier": "whatsapp"}, "/tier"),
    "bad account": ({"account_sid": "AC1"}, "/account_sid"),
    "bad number": ({"from_number": "213-555-0123"}, "/from_number"),
    "code too long": ({"from_number": "123456789"}, "/from_number"),
    "code too short": ({"from_number": "12"}, "/from_number"),
    "number with a line break": ({"from_number": "55555\n"}, "/from_number"),
    "bad service": ({"from_number": None, "messaging_service_sid": "MG1"}, "/messaging_service_sid"),
    "token with a space": ({"auth_token": "a b"}, "/auth_token"),
    "empty token": ({"auth_token": ""}, "/auth_token"),
    "unknown field": ({"colour": "red"}, ""),
}


@pytest.mark.parametrize(("change", "pointer"), REFUSED.values(), ids=REFUSED)
async def test_a_sender_that_cannot_be_is_refused_with_its_place(change: dict[str, Any], pointer: str, tenant: Tenant) -> None:
    for method, path in (("PUT", "/v1/sender"), ("POST", "/v1/senders")):
        answer = await tenant.ask(method, path, {**sender_body(), **change})
        assert answer.status_code == 400, answer.text
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert len((await tenant.get("/v1/senders")).json()["items"]) == 1


async def test_a_refused_sender_does_not_say_its_secret_back(tenant: Tenant) -> None:
    answer = await tenant.ask("PUT", "/v1/sender", {**sender_body(), "auth_token": "a secret\n", "tier": "warp"})
    assert answer.status_code == 400
    assert "a secret" not in answer.text


async def test_one_sender_belongs_to_one_tenant(tenant: Tenant, other: Tenant) -> None:
    body = sender_body()
    await put(tenant, body)
    for method, path in (("PUT", "/v1/sender"), ("POST", "/v1/senders")):
        assert (await other.ask(method, path, body)).status_code == 409
    elsewhere = {**body, "account_sid": f"AC{uuid.uuid4().hex}"}
    await put(other, elsewhere)  # the same number in another account is another sender


async def test_repeating_a_sender_renews_it(tenant: Tenant) -> None:
    body = sender_body("toll_free")
    first = await put(tenant, body)
    second = await put(tenant, {**body, "auth_token": "renewed", "tier": "toll_free_pending"})
    assert (second["id"], second["registration_id"], second["tier"]) == (first["id"], first["registration_id"], "toll_free_pending")
    assert len((await tenant.get("/v1/senders")).json()["items"]) == 2


async def test_the_last_one_put_is_the_default_and_one_added_is_not(tenant: Tenant) -> None:
    added = await tenant.post("/v1/senders", sender_body())
    assert (added.status_code, added.json()["is_default"]) == (201, False)
    changed = await put(tenant, sender_body())
    defaults = [each["id"] for each in (await tenant.get("/v1/senders")).json()["items"] if each["is_default"]]
    assert defaults == [changed["id"]]
    sent = await tenant.post("/v1/messages", {**TO, "sender_id": added.json()["id"]})
    assert (await tenant.get(f"/v1/messages/{sent.json()['id']}")).json()["sender_id"] == added.json()["id"]
    assert (await tenant.post("/v1/messages", {**TO, "sender_id": str(uuid.uuid4())})).status_code == 400


async def test_anothers_sender_cannot_be_used(tenant: Tenant, other: Tenant) -> None:
    answer = await tenant.post("/v1/messages", {**TO, "sender_id": other.sender["id"]})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/sender_id")


async def test_senders_of_a_campaign_share_its_registration(tenant: Tenant, other: Tenant) -> None:
    campaign = f"C{uuid.uuid4().hex}"
    one, two = [await put(tenant, sender_body("standard_75_100", campaign_sid=campaign)) for _ in range(2)]
    assert one["registration_id"] == two["registration_id"] != tenant.sender["registration_id"]
    assert one["campaign_sid"] == campaign
    foreign = await put(other, sender_body("standard_75_100", campaign_sid=campaign))
    assert foreign["registration_id"] != one["registration_id"]


async def test_the_operators_cap_slows_a_tier_down_and_never_up(admin: Person, tenant: Tenant) -> None:
    path = f"/v1/admin/tenants/{tenant.id}"
    assert (await admin.ask("PATCH", path, {"max_tier": "toll_free"})).json()["max_tier"] == "toll_free"
    capped = await put(tenant, sender_body("short_code"))
    assert (capped["tier"], capped["tier_source"], capped["segments_per_second"]) == ("toll_free", "capped", "3")
    slower = await put(tenant, sender_body("sole_proprietor"))
    assert (slower["tier"], slower["tier_source"]) == ("sole_proprietor", "tenant")


async def test_the_operators_tier_counts_where_the_tenant_names_none(admin: Person) -> None:
    tenant = await new_tenant(admin, tier="short_code")
    await admin.ask("PATCH", f"/v1/admin/tenants/{tenant.id}", {"tier": "toll_free"})
    body = {**sender_body(), "tier": None}
    shown = await put(tenant, body)
    assert (shown["tier"], shown["tier_source"]) == ("toll_free", "operator")


async def test_a_sender_without_a_token_is_warned_of(tenant: Tenant) -> None:
    key = {"auth_token": None, "api_key_sid": "SK" + "0" * 32, "api_key_secret": "k"}
    shown = await put(tenant, {**sender_body(), **key})
    assert any("signature" in warning for warning in shown["warnings"])
    assert (await put(tenant, sender_body("toll_free")))["warnings"] == []


@pytest.mark.parametrize("tier", ["unregistered", "toll_free_unverified"])
async def test_a_sender_that_may_not_send_is_taken_warned_of_and_refuses_texts(tier: str, tenant: Tenant) -> None:
    shown = await put(tenant, sender_body(tier))
    assert shown["warnings"]
    answer = await tenant.post("/v1/messages", TO)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/to")
    assert "Twilio" in answer.json()["errors"][0]["detail"]


async def test_a_tenant_without_a_sender_cannot_text_yet(admin: Person) -> None:
    made = await admin.post("/v1/admin/tenants", {"slug": f"t-{uuid.uuid4().hex[:12]}", "name": "A tenant", "timezone": "UTC"})
    person = Person(admin.http, made.json()["api_key"])
    answer = await person.post("/v1/messages", TO)
    assert answer.status_code == 409
    limits = (await person.get("/v1/limits")).json()
    assert (limits["senders"], limits["tier"]) == ([], None)
    first = await person.post("/v1/senders", sender_body())
    assert first.json()["is_default"] is True
    assert (await person.post("/v1/messages", TO)).status_code == 202

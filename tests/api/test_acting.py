"""Who acts for whom: the operator in a tenant's name leaves a trail, strangers leave nothing, an unreadable number is nobody's."""

import pytest
from msgspec import json

from api.wiring import Wiring
from tests.api.effects import Effects
from tests.api.people import CALLER, Person, Tenant, tool_item

ACTED = "tenant.acted_for"
LONG = 60_000


async def acted_for(admin: Person, tenant: Tenant) -> list[tuple[str, str]]:
    """Who entered the tenant's scope, and by which route; the newest first."""
    found = await admin.get(f"/v1/admin/audit?tenant_id={tenant.id}&limit=200")
    assert found.status_code == 200, found.text
    return [(entry["actor"], entry["target"]) for entry in found.json()["items"] if entry["action"] == ACTED]


async def test_the_operator_in_a_tenants_name_leaves_a_trail_of_reads_and_writes(admin: Person, tenant: Tenant, other: Tenant) -> None:
    sent = await admin.post("/v1/messages", {"to": CALLER, "body": "Hi"}, X_Tenant=tenant.slug)
    assert sent.status_code == 202
    assert await acted_for(admin, tenant) == [("admin", "POST /v1/messages")]
    read = await admin.ask("GET", f"/v1/messages/{sent.json()['id']}", X_Tenant=tenant.slug)
    assert read.status_code == 200
    entries = await acted_for(admin, tenant)
    assert [actor for actor, _ in entries] == ["admin", "admin"]
    method, template = entries[0][1].split(" ", 1)
    assert (method, template.startswith("/v1/messages/{message_id")) == ("GET", True)
    assert sent.json()["id"] not in template
    assert await acted_for(admin, other) == []


async def test_a_tenants_own_key_leaves_no_such_trail(admin: Person, tenant: Tenant) -> None:
    sent = await tenant.post("/v1/messages", {"to": CALLER, "body": "Hi"}, X_Tenant=tenant.slug)
    read = await tenant.ask("GET", "/v1/messages", X_Tenant=tenant.slug)
    assert (sent.status_code, read.status_code) == (202, 200)
    assert await acted_for(admin, tenant) == []


async def test_the_trail_stands_although_what_was_asked_for_is_refused(admin: Person, tenant: Tenant) -> None:
    refused = await admin.post("/v1/messages", {"to": "nobody", "body": "Hi"}, X_Tenant=tenant.slug)
    assert refused.status_code == 400
    assert await acted_for(admin, tenant) == [("admin", "POST /v1/messages")]


async def test_long_unknown_slugs_are_refused_and_fill_no_cache(tenant: Tenant, wiring: Wiring) -> None:
    cached = set(wiring.tenants._by_slug._entries)
    slugs = [f"{number}{'a' * LONG}" for number in range(5)] + ["not_a_slug", "a--b", "a" * 64]
    for slug in slugs:
        answer = await tenant.http.post(f"/vapi-webhook/{slug}", content=b"{}", headers={"Authorization": f"Bearer {tenant.secret}"})
        assert answer.status_code == 401, answer.text
    assert set(wiring.tenants._by_slug._entries) == cached
    assert not wiring.tenants._by_slug._loading


BROKEN = b'{"number":"+1213\xff\xfe"}'
PLACES = {
    "of the message": b'{"message":{"type":"tool-calls","customer":%b,"call":{"id":"c"},"toolCallList":%b}}',
    "of the call": b'{"message":{"type":"tool-calls","call":{"id":"c","customer":%b},"toolCallList":%b}}',
}


@pytest.mark.parametrize("arguments", [{"body": "Hi"}, {"to": CALLER, "body": "Hi"}], ids=["the caller", "by number"])
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
async def test_a_number_that_is_no_text_is_no_fault_of_ours(
    place: bytes, arguments: dict[str, str], tenant: Tenant, effects: Effects
) -> None:
    answer = await tenant.webhook(place % (BROKEN, json.encode([tool_item("send_sms", arguments)])))
    assert answer.status_code in (200, 400), answer.text
    texted = [row["recipient"] for row in await effects.rows(tenant, "messages")]
    assert texted == ([CALLER] if answer.status_code == 200 and "to" in arguments else [])

"""A tenant's own key at Vapi: set, renewed and forgotten, and never shown again."""

from typing import Any
from uuid import UUID

import pytest

from api.wiring import Wiring
from runtime.ids import TenantId
from tenants.vapi_accounts import VapiKeys
from tests.api.effects import Effects
from tests.api.people import Person, Tenant

KEY = "5c0d7a3e-0000-4000-8000-00000000abcd"


async def put(tenant: Person, key: str = KEY) -> dict[str, Any]:
    answer = await tenant.ask("PUT", "/v1/vapi", {"api_key": key})
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def test_a_key_is_sealed_and_only_its_end_is_shown(tenant: Tenant, effects: Effects, wiring: Wiring) -> None:
    shown = await put(tenant)
    assert set(shown) == {"hint", "updated_at"}
    assert shown["hint"] == "abcd"
    read = await tenant.get("/v1/vapi")
    assert (read.status_code, read.json()) == (200, shown)
    stored = str(await effects.owner.fetch("SELECT to_jsonb(v)::text FROM vapi_accounts AS v WHERE tenant_id = $1", tenant.id))
    trail = str(await effects.owner.fetch("SELECT action, detail::text FROM control.audit WHERE tenant_id = $1", tenant.id))
    assert "vapi.put" in trail
    for text in (str(shown), read.text, stored, trail):
        assert KEY not in text
        assert KEY[:-4] not in text
    assert await VapiKeys(wiring.database, wiring.keyring).key(TenantId(UUID(tenant.id))) == KEY


async def test_another_key_takes_its_place(tenant: Tenant, effects: Effects) -> None:
    first = await put(tenant)
    second = await put(tenant, KEY[:-4] + "wxyz")
    assert (second["hint"], second["updated_at"] > first["updated_at"]) == ("wxyz", True)
    assert await effects.owner.fetchval("SELECT count(*) FROM vapi_accounts WHERE tenant_id = $1", tenant.id) == 1


async def test_a_key_is_one_tenants(tenant: Tenant, other: Tenant) -> None:
    await put(tenant)
    assert (await other.get("/v1/vapi")).status_code == 404
    assert (await other.ask("DELETE", "/v1/vapi")).status_code == 404
    assert (await tenant.get("/v1/vapi")).json()["hint"] == "abcd"


async def test_a_forgotten_key_is_gone(tenant: Tenant, effects: Effects) -> None:
    await put(tenant)
    assert (await tenant.ask("DELETE", "/v1/vapi")).status_code == 204
    assert (await tenant.get("/v1/vapi")).status_code == 404
    assert (await tenant.ask("DELETE", "/v1/vapi")).status_code == 404
    assert await effects.owner.fetchval("SELECT count(*) FROM vapi_accounts WHERE tenant_id = $1", tenant.id) == 0
    actions = await effects.owner.fetch(
        "SELECT action FROM control.audit WHERE tenant_id = $1 AND action LIKE 'vapi%' ORDER BY id", tenant.id
    )
    assert [row[0] for row in actions] == ["vapi.put", "vapi.removed"]


@pytest.mark.parametrize("key", ["", "short", "with a space in the middle", "línes-of-a-key-that-is", KEY + "\n", "x" * 201])
async def test_what_is_no_key_is_refused_with_its_place(key: str, tenant: Tenant) -> None:
    answer = await tenant.ask("PUT", "/v1/vapi", {"api_key": key})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/api_key")
    assert key not in answer.text or not key


async def test_who_may_only_read_changes_nothing(tenant: Tenant, admin: Person) -> None:
    made = await admin.post(f"/v1/admin/tenants/{tenant.id}/keys", {"name": "reader", "scopes": ["read"]})
    reader = Person(tenant.http, made.json()["api_key"])
    await put(tenant)
    assert (await reader.get("/v1/vapi")).json()["hint"] == "abcd"
    for method, body in (("PUT", {"api_key": KEY}), ("DELETE", None)):
        assert (await reader.ask(method, "/v1/vapi", body)).status_code == 403


async def test_a_new_key_makes_calls_that_were_given_up_due_again(tenant: Tenant, other: Tenant, effects: Effects) -> None:
    for each in (tenant, other):
        await effects.owner.execute(
            "INSERT INTO calls (tenant_id, call_id, state, state_rank, reported_at, reported_by, looks)"
            " VALUES ($1, 'call-1', 'ended', 90, app.now(), 'nobody', 2)",
            each.id,
        )
    assert (await tenant.get("/v1/calls/call-1")).json()["reported_by"] == "nobody"
    await put(tenant)
    assert [(await each.get("/v1/calls/call-1")).json()["reported_by"] for each in (tenant, other)] == [None, "nobody"]


async def test_a_call_only_a_tool_call_spoke_of_says_that_nobody_reported(tenant: Tenant) -> None:
    await tenant.tool("current_time", {})
    assert (await tenant.get("/v1/calls/call-1")).json()["reported_by"] is None

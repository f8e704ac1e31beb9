"""Assistants and their secrets: shown once, rotated without a gap, ended with their assistant."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest

from runtime.settings import Settings
from tests.api.effects import Effects
from tests.api.people import PUBLIC, Tenant, tool_item, tool_message
from tests.api.processes import running

ASK = tool_message([tool_item("current_time", {})])


@pytest.fixture
async def elsewhere(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Another process, with caches of its own."""
    async with running(settings) as started:
        yield started.http


async def opens(tenant: Tenant, secret: str, *doors: httpx.AsyncClient) -> list[int]:
    return [(await tenant.webhook(ASK, secret=secret, http=door)).status_code for door in doors]


async def test_registering_shows_the_address_and_the_secret(tenant: Tenant) -> None:
    vapi_id = str(uuid4())
    made = await tenant.post("/v1/assistants", {"vapi_assistant_id": vapi_id, "name": "Night desk"})
    assert made.status_code == 201
    shown = made.json()
    assert (shown["vapi_assistant_id"], shown["name"], shown["auth"]["mode"]) == (vapi_id, "Night desk", "bearer")
    assert shown["webhook_url"] == f"{PUBLIC}/vapi-webhook/{tenant.slug}"
    assert shown["created_at"].endswith("Z")
    assert await opens(tenant, shown["auth"]["secret"], tenant.http) == [200]  # at once, here
    again = await tenant.post("/v1/assistants", {"vapi_assistant_id": vapi_id, "name": "Night desk"})
    assert again.status_code == 409


async def test_a_secret_is_shown_once_and_stands_nowhere(tenant: Tenant, effects: Effects) -> None:
    path = f"/v1/assistants/{tenant.assistant['id']}"
    read = [await tenant.get("/v1/assistants"), await tenant.get(path), await tenant.ask("PATCH", path, {"name": "Renamed"})]
    assert all(answer.status_code == 200 for answer in read)
    assert all(tenant.secret not in answer.text and "secret" not in answer.json().get("auth", {}) for answer in read)
    tables = ("assistants", "webhook_credentials", "control.audit")
    stored = "".join([str(await effects.owner.fetch(f"SELECT to_jsonb(t)::text FROM {table} AS t")) for table in tables])
    assert tenant.assistant["id"] in stored
    assert tenant.secret not in stored


async def test_a_name_changes_and_nothing_else(tenant: Tenant) -> None:
    path = f"/v1/assistants/{tenant.assistant['id']}"
    assert (await tenant.ask("PATCH", path, {"name": "Renamed"})).json()["name"] == "Renamed"
    assert (await tenant.get(path)).json()["name"] == "Renamed"
    assert (await tenant.ask("PATCH", path, {"vapi_assistant_id": "other"})).status_code == 400


async def test_rotation_leaves_no_gap_and_the_old_secret_ends(tenant: Tenant, elsewhere: httpx.AsyncClient) -> None:
    path, doors = f"/v1/assistants/{tenant.assistant['id']}/rotate-secret", (tenant.http, elsewhere)
    first = tenant.secret
    assert await opens(tenant, first, *doors) == [200, 200]
    rotated = await tenant.post(path, {"grace_seconds": 60})
    assert rotated.status_code == 200
    second = rotated.json()["auth"]["secret"]
    assert (rotated.json()["id"], second != first) == (tenant.assistant["id"], True)
    assert await opens(tenant, first, *doors) == [200, 200]
    assert await opens(tenant, second, tenant.http) == [200]
    third = (await tenant.post(path, {"grace_seconds": 0})).json()["auth"]["secret"]
    assert await opens(tenant, second, tenant.http) == [401]  # where it was rotated, at once
    await asyncio.sleep(2.05)
    for secret, status in ((first, 401), (second, 401), (third, 200)):  # an earlier grace ends with the last one
        assert await opens(tenant, secret, *doors) == [status, status]


async def test_a_grace_ends_by_itself(tenant: Tenant) -> None:
    second = (await tenant.post(f"/v1/assistants/{tenant.assistant['id']}/rotate-secret", {"grace_seconds": 1})).json()["auth"]["secret"]
    assert await opens(tenant, tenant.secret, tenant.http) == [200]
    await asyncio.sleep(1.05)
    assert await opens(tenant, tenant.secret, tenant.http) == [401]
    assert await opens(tenant, second, tenant.http) == [200]


async def test_each_assistant_has_a_secret_of_its_own(tenant: Tenant) -> None:
    more = (await tenant.post("/v1/assistants", {"vapi_assistant_id": str(uuid4()), "name": "More"})).json()
    await tenant.post(f"/v1/assistants/{more['id']}/rotate-secret", {"grace_seconds": 0})
    assert await opens(tenant, tenant.secret, tenant.http) == [200]
    assert await opens(tenant, more["auth"]["secret"], tenant.http) == [401]


async def test_what_is_removed_is_gone_and_its_secret_ends(tenant: Tenant) -> None:
    path = f"/v1/assistants/{tenant.assistant['id']}"
    removed = await tenant.ask("DELETE", path)
    assert (removed.status_code, removed.content) == (204, b"")
    assert await opens(tenant, tenant.secret, tenant.http) == [401]
    for method, where, body in (
        ("GET", path, None),
        ("PATCH", path, {"name": "x"}),
        ("DELETE", path, None),
        ("POST", path + "/rotate-secret", {}),
    ):
        assert (await tenant.ask(method, where, body)).status_code == 404
    again = await tenant.post("/v1/assistants", {"vapi_assistant_id": tenant.assistant["vapi_assistant_id"], "name": "Again"})
    assert again.status_code == 201


async def test_another_tenants_secret_opens_nothing_here(tenant: Tenant, other: Tenant) -> None:
    assert await opens(tenant, other.secret, tenant.http) == [401]


async def test_the_secret_may_come_in_the_older_header(tenant: Tenant) -> None:
    for headers in ({"X-Vapi-Secret": tenant.secret}, {"X-Vapi-Secret": tenant.secret, "Authorization": "Bearer "}):
        answer = await tenant.http.post(f"/vapi-webhook/{tenant.slug}", json=ASK, headers=headers)
        assert answer.status_code == 200


BODIES = {
    "no id": ({"name": "x"}, ""),
    "no name": ({"vapi_assistant_id": "a"}, ""),
    "empty name": ({"vapi_assistant_id": "a", "name": ""}, "/name"),
    "long name": ({"vapi_assistant_id": "a", "name": "x" * 201}, "/name"),
    "id with a line break": ({"vapi_assistant_id": "a\n", "name": "x"}, "/vapi_assistant_id"),
    "id with a space": ({"vapi_assistant_id": "a b", "name": "x"}, "/vapi_assistant_id"),
    "unknown field": ({"vapi_assistant_id": "a", "name": "x", "colour": "red"}, ""),
    "unknown mode": ({"vapi_assistant_id": "a", "name": "x", "auth": {"mode": "none"}}, "/auth/mode"),
    "unknown field inside": ({"vapi_assistant_id": "a", "name": "x", "auth": {"mode": "bearer", "colour": 1}}, "/auth"),
    "array": ([], ""),
}


@pytest.mark.parametrize(("body", "pointer"), BODIES.values(), ids=BODIES)
async def test_a_body_that_is_wrong_says_where(body: object, pointer: str, tenant: Tenant) -> None:
    answer = await tenant.post("/v1/assistants", body)
    assert answer.status_code == 400, answer.text
    (error,) = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert error["detail"]


@pytest.mark.parametrize("grace", [-1, 604_801, "soon", 1.5, None])
async def test_a_grace_is_a_number_of_seconds_up_to_a_week(grace: object, tenant: Tenant) -> None:
    answer = await tenant.post(f"/v1/assistants/{tenant.assistant['id']}/rotate-secret", {"grace_seconds": grace})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/grace_seconds")

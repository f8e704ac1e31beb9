"""Who may do what: every address of the tenant API against everybody who may come."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from runtime.settings import Settings
from tests.api.people import ADMIN_KEY, Person, Tenant, new_tenant, sender_body
from tests.api.processes import running

ADDRESSES: dict[str, tuple[str, str, Any]] = {
    "list assistants": ("GET", "/v1/assistants", None),
    "register an assistant": ("POST", "/v1/assistants", {"vapi_assistant_id": "{new}", "name": "New"}),
    "one assistant": ("GET", "/v1/assistants/{assistant}", None),
    "rename an assistant": ("PATCH", "/v1/assistants/{assistant}", {"name": "Renamed"}),
    "rotate a secret": ("POST", "/v1/assistants/{assistant}/rotate-secret", {}),
    "set the sender": ("PUT", "/v1/sender", "{sender}"),
    "add a sender": ("POST", "/v1/senders", "{sender}"),
    "list senders": ("GET", "/v1/senders", None),
    "queue a text": ("POST", "/v1/messages", {"to": "+12135550123", "body": "Hi"}),
    "list texts": ("GET", "/v1/messages", None),
    "one text": ("GET", "/v1/messages/{message}", None),
    "cancel a text": ("POST", "/v1/messages/{message}/cancel", None),
    "list webhooks": ("GET", "/v1/webhooks", None),
    "one webhook": ("GET", "/v1/webhooks/{webhook}", None),
    "list calls": ("GET", "/v1/calls", None),
    "one call": ("GET", "/v1/calls/{call}", None),
    "usage": ("GET", "/v1/usage", None),
    "the invoice": ("GET", "/v1/invoices/current", None),
    "limits": ("GET", "/v1/limits", None),
    "limits of a sender": ("GET", "/v1/limits?sender_id={sender_id}", None),
    "remove an assistant": ("DELETE", "/v1/assistants/{assistant}", None),
}
OWNED = {name: address for name, address in ADDRESSES.items() if "{" in address[1]}
LISTS = {name: address for name, address in ADDRESSES.items() if address[0] == "GET" and name not in OWNED}


async def things_of(tenant: Tenant) -> dict[str, str]:
    """One of everything that a tenant owns."""
    call = f"call-{uuid4()}"
    assert (await tenant.tool("send_sms", {"body": "Hi"}, call)).status_code == 200
    return {
        "assistant": tenant.assistant["id"],
        "message": (await tenant.get(f"/v1/messages?call_id={call}")).json()["items"][0]["id"],
        "webhook": (await tenant.get(f"/v1/webhooks?call_id={call}")).json()["items"][0]["id"],
        "sender_id": tenant.sender["id"],
        "call": call,
    }


async def ask(person: Person, address: tuple[str, str, Any], things: dict[str, str], **headers: str) -> httpx.Response:
    method, path, body = address
    if body == "{sender}":
        body = sender_body()
    elif body and body.get("vapi_assistant_id"):
        body = {**body, "vapi_assistant_id": str(uuid4())}
    return await person.ask(method, path.format(**things), body, **headers)


@pytest.fixture(scope="module")
async def shared(admin: Person) -> Tenant:
    return await new_tenant(admin)


@pytest.fixture(scope="module")
async def things(shared: Tenant) -> dict[str, str]:
    return await things_of(shared)


@pytest.fixture(scope="module")
async def stranger(admin: Person) -> Tenant:
    return await new_tenant(admin)


async def key_of(admin: Person, tenant: Tenant, *scopes: str) -> Person:
    made = await admin.post(f"/v1/admin/tenants/{tenant.id}/keys", {"name": "another", "scopes": list(scopes)})
    assert made.status_code == 201, made.text
    return Person(admin.http, made.json()["api_key"])


@pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES)
async def test_a_tenants_own_key_opens_its_api(address: tuple[str, str, Any], tenant: Tenant) -> None:
    assert (await ask(tenant, address, await things_of(tenant))).is_success


@pytest.mark.parametrize("address", OWNED.values(), ids=OWNED)
async def test_another_tenants_thing_is_not_there(
    address: tuple[str, str, Any], shared: Tenant, things: dict[str, str], stranger: Tenant
) -> None:
    answer = await ask(stranger, address, things)
    assert answer.status_code == 404, answer.text
    nothing = {name: str(uuid4()) for name in things}
    same = await ask(stranger, address, nothing)  # what is not there at all looks the same
    assert {**answer.json(), "request_id": ""} == {**same.json(), "request_id": ""}
    assert (await shared.get(f"/v1/assistants/{things['assistant']}")).json()["name"] == "Front desk"
    assert (await shared.get(f"/v1/messages/{things['message']}")).json()["status"] == "queued"


@pytest.mark.parametrize("address", LISTS.values(), ids=LISTS)
async def test_lists_and_sums_of_another_hold_nothing_of_ours(
    address: tuple[str, str, Any], shared: Tenant, things: dict[str, str], stranger: Tenant
) -> None:
    text = (await ask(stranger, address, things)).text
    assert [thing for thing in (*things.values(), shared.slug, shared.id) if thing in text] == []


@pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES)
async def test_a_reading_key_reads_and_writes_nothing(
    address: tuple[str, str, Any], admin: Person, shared: Tenant, things: dict[str, str]
) -> None:
    answer = await ask(await key_of(admin, shared, "read"), address, things)
    if address[0] == "GET":
        assert answer.status_code == 200, answer.text
    else:
        assert (answer.status_code, "write" in answer.json()["detail"]) == (403, True)


async def test_a_writing_key_that_may_not_read_reads_nothing(admin: Person, shared: Tenant) -> None:
    assert (await (await key_of(admin, shared, "write")).get("/v1/messages")).status_code == 403


@pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES)
@pytest.mark.parametrize("key", ["", "wrong", "trk_wrong.00000000", "\u00e9"], ids=["none", "wrong", "like one", "no ASCII"])
async def test_nobody_gets_a_401_before_anything_else(
    key: str, address: tuple[str, str, Any], http: httpx.AsyncClient, things: dict[str, str]
) -> None:
    headers = [(b"authorization", f"Bearer {key}".encode("latin-1"))] if key else []
    answer = await http.request(address[0], address[1].format(**things), content=b"{", headers=headers)
    assert answer.status_code == 401, answer.text
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["detail"] == "A valid credential is needed."


@pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES)
async def test_the_operator_acts_for_a_tenant_it_names(address: tuple[str, str, Any], admin: Person, tenant: Tenant) -> None:
    assert (await ask(admin, address, await things_of(tenant), X_Tenant=tenant.slug)).is_success


@pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES)
async def test_the_operator_has_to_name_a_tenant(address: tuple[str, str, Any], admin: Person, things: dict[str, str]) -> None:
    for headers in ({}, {"X_Tenant": "nobody"}):
        answer = await ask(admin, address, things, **headers)
        assert (answer.status_code, "X-Tenant" in answer.json()["detail"]) == (404, True)


async def test_a_tenants_key_cannot_name_another_tenant(tenant: Tenant, other: Tenant) -> None:
    answer = await tenant.ask("GET", "/v1/senders", X_Tenant=other.slug)
    assert [sender["id"] for sender in answer.json()["items"]] == [tenant.sender["id"]]


async def test_what_the_operator_does_for_a_tenant_is_in_the_audit_trail(admin: Person, tenant: Tenant) -> None:
    path = f"/v1/assistants/{tenant.assistant['id']}"
    assert (await admin.ask("PATCH", path, {"name": "By the operator"}, X_Tenant=tenant.slug)).status_code == 200
    assert (await tenant.ask("PATCH", path, {"name": "By the tenant"})).status_code == 200
    entries = (await admin.get(f"/v1/admin/audit?tenant_id={tenant.id}")).json()["items"]
    actors = [entry["actor"] for entry in entries if entry["action"] == "assistant.changed"]
    assert (actors[1], actors[0][:4]) == ("admin", "key:")


@pytest.fixture
async def elsewhere(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Another process, with caches of its own."""
    async with running(settings) as started:
        yield started.http


async def test_a_revoked_key_ends_everywhere_within_two_seconds(admin: Person, tenant: Tenant, elsewhere: httpx.AsyncClient) -> None:
    key = await key_of(admin, tenant, "read", "write")
    there = Person(elsewhere, key.key)
    assert [(await each.get("/v1/senders")).status_code for each in (key, there)] == [200, 200]
    (listed,) = [each for each in (await admin.get(f"/v1/admin/tenants/{tenant.id}/keys")).json()["items"] if each["name"] == "another"]
    assert key.key not in str(listed)
    revoked = await admin.ask("DELETE", f"/v1/admin/tenants/{tenant.id}/keys/{listed['id']}")
    assert revoked.status_code == 204
    await asyncio.sleep(2.05)
    assert [(await each.get("/v1/senders")).status_code for each in (key, there)] == [401, 401]
    assert (await tenant.get("/v1/senders")).status_code == 200
    again = await admin.ask("DELETE", f"/v1/admin/tenants/{tenant.id}/keys/{listed['id']}")
    assert again.status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/admin/tenants"),
        ("POST", "/v1/admin/tenants"),
        ("GET", "/v1/admin/tenants/{id}"),
        ("PATCH", "/v1/admin/tenants/{id}"),
        ("POST", "/v1/admin/tenants/{id}/suspend"),
        ("POST", "/v1/admin/tenants/{id}/resume"),
        ("GET", "/v1/admin/tenants/{id}/keys"),
        ("POST", "/v1/admin/tenants/{id}/keys"),
        ("DELETE", "/v1/admin/tenants/{id}/keys/{id}"),
        ("GET", "/v1/admin/switches"),
        ("PUT", "/v1/admin/switches"),
        ("GET", "/v1/admin/plans"),
        ("POST", "/v1/admin/plans"),
        ("GET", "/v1/admin/audit"),
    ],
)
async def test_the_operators_api_is_the_operators(method: str, path: str, shared: Tenant) -> None:
    where = path.format(id=shared.id)
    assert (await shared.ask(method, where, {})).status_code == 403  # a tenant's key, also for its own things
    for key in ("", "wrong", ADMIN_KEY[:-1], ADMIN_KEY + " x"):
        assert (await Person(shared.http, key).ask(method, where, {})).status_code == 401
    assert (await shared.get(f"/v1/assistants/{shared.assistant['id']}")).status_code == 200

"""The header Idempotency-Key on every call that changes something: one effect, one answer, nobody else's."""

import asyncio
import base64
import re
from dataclasses import replace
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from api.wiring import Wiring
from runtime.crypto import new_master_key
from runtime.ids import OPERATOR
from runtime.settings import Settings
from tests.api.effects import Effects
from tests.api.keyed_calls import CALLS, OWN_WAY, TENANTS, assistant_body, new_tenant_body
from tests.api.people import Person, Tenant, new_tenant
from tests.api.processes import running

MUTATING = {"post", "put", "patch", "delete"}
TABLES = "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN ('public', 'control') ORDER BY 1"


async def operations(http: httpx.AsyncClient) -> dict[str, dict[str, Any]]:
    """Every operation of our own API that changes something, by its method and address."""
    paths = (await http.get("/schema/openapi.json")).json()["paths"]
    return {f"{m} {path}": each for path, item in paths.items() if path.startswith("/v1") for m, each in item.items() if m in MUTATING}


async def everything(owner: "asyncpg.Connection[asyncpg.Record]") -> dict[str, tuple[int, str]]:
    """How many rows each table has, and a hash of them."""
    found = {}
    for (table,) in await owner.fetch(TABLES):
        row = await owner.fetchrow(f"SELECT count(*), coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM {table} AS t")
        assert row is not None
        found[table] = (row[0], row[1])
    return found


def person(name: str, tenant: Tenant, admin: Person) -> Person:
    return admin if "/v1/admin" in name else tenant


def assert_same(first: httpx.Response, again: httpx.Response) -> None:
    assert first.is_success, first.text
    assert (again.status_code, again.content) == (first.status_code, first.content)
    for header in ("content-type", "content-length"):
        assert again.headers.get(header) == first.headers.get(header)
    assert (first.headers.get("idempotent-replayed"), again.headers.get("idempotent-replayed")) == (None, "true")


async def test_every_call_that_changes_something_is_tried_and_documented(http: httpx.AsyncClient) -> None:
    listed = await operations(http)
    assert set(listed) == set(CALLS) | OWN_WAY
    for name, operation in listed.items():
        headers = [each for each in operation.get("parameters", []) if each["in"] == "header"]
        assert [(each["name"], each["required"], bool(each["description"])) for each in headers] == [("Idempotency-Key", False, True)], name
        assert {"400", "409", "422"} <= set(operation["responses"]), name


@pytest.mark.parametrize("name", CALLS)
async def test_twice_is_once(name: str, tenant: Tenant, admin: Person, effects: Effects) -> None:
    """The second call changes no row of any table."""
    path, body = await CALLS[name](tenant, admin)
    who, method = person(name, tenant, admin), name.split(" ", 1)[0].upper()
    key, before = str(uuid4()), await everything(effects.owner)
    first = await who.ask(method, path, body, Idempotency_Key=key)
    after = await everything(effects.owner)
    assert before != after
    again = await who.ask(method, path, dict(reversed(body.items())) if body else body, Idempotency_Key=f'"{key}"')
    assert_same(first, again)
    assert await everything(effects.owner) == after


@pytest.mark.parametrize("name", CALLS)
async def test_another_body_is_422_and_changes_nothing(name: str, tenant: Tenant, admin: Person, effects: Effects) -> None:
    path, body = await CALLS[name](tenant, admin)
    who, method, key = person(name, tenant, admin), name.split(" ", 1)[0].upper(), str(uuid4())
    first = await who.ask(method, path, body, Idempotency_Key=key)
    after = await everything(effects.owner)
    if name != "post /v1/messages":  # there a body is read before its key is looked for
        other = await who.ask(method, path, {**(body or {}), "colour": "red"}, Idempotency_Key=key)
        assert (other.status_code, other.headers["content-type"]) == (422, "application/problem+json"), other.text
        elsewhere = await who.ask(method, f"{path}?colour=red", body, Idempotency_Key=key)
        assert elsewhere.status_code == 422
    assert await everything(effects.owner) == after
    assert_same(first, await who.ask(method, path, body, Idempotency_Key=key))


@pytest.mark.parametrize("name", TENANTS)
async def test_two_tenants_with_one_key_are_two(name: str, tenant: Tenant, other: Tenant, admin: Person) -> None:
    key, method = str(uuid4()), name.split(" ", 1)[0].upper()
    answers = []
    for who in (tenant, other):
        path, body = await CALLS[name](who, admin)
        answers.append(await who.ask(method, path, body, Idempotency_Key=key))
    assert [answer.is_success for answer in answers] == [True, True]
    assert ["idempotent-replayed" in answer.headers for answer in answers] == [False, False]


async def test_one_body_and_one_key_of_two_tenants_have_an_effect_each(tenant: Tenant, other: Tenant, effects: Effects) -> None:
    body, ids = assistant_body(), set()
    for who in (tenant, other, tenant, other):
        ids.add((await who.post("/v1/assistants", body, Idempotency_Key="k-1")).json()["id"])
    assert len(ids) == 2
    for who in (tenant, other):
        assert [row["type"] for row in await effects.rows(who, "processed_webhooks")] == ["POST /v1/assistants"]


async def test_the_operator_in_a_tenants_name_has_the_tenants_keys(tenant: Tenant, admin: Person) -> None:
    body = assistant_body()
    first = await admin.post("/v1/assistants", body, Idempotency_Key="k-1", X_Tenant=tenant.slug)
    assert_same(first, await tenant.post("/v1/assistants", body, Idempotency_Key="k-1"))
    acted = (await admin.get(f"/v1/admin/audit?tenant_id={tenant.id}&limit=200")).json()["items"]
    assert [entry["action"] for entry in acted].count("tenant.acted_for") == 1  # the guard saw one request once


async def test_a_key_belongs_to_its_address(tenant: Tenant) -> None:
    made = [(await tenant.post("/v1/assistants", assistant_body())).json()["id"] for _ in range(2)]
    answers = [await tenant.ask("PATCH", f"/v1/assistants/{each}", {"name": "Same"}, Idempotency_Key="k-1") for each in made]
    assert {answer.status_code for answer in answers} == {200}
    assert [answer.json()["id"] for answer in answers] == made
    assert (await tenant.ask("DELETE", f"/v1/assistants/{made[0]}", Idempotency_Key="k-1")).status_code == 204


@pytest.mark.parametrize("key", ["", '""', " ", "two words", '"unclosed', "x" * 256, '"' + "x" * 256 + '"', "\u00e9", "a\tb", "a\x01"])
async def test_a_malformed_key_is_400(key: str, tenant: Tenant, effects: Effects) -> None:
    before = await everything(effects.owner)
    headers = [(b"authorization", f"Bearer {tenant.key}".encode()), (b"idempotency-key", key.encode("latin-1"))]
    answer = await tenant.http.post("/v1/assistants", json=assistant_body(), headers=headers)
    assert answer.status_code == 400, answer.text
    assert answer.json()["errors"]
    assert await everything(effects.owner) == before


async def test_two_keys_are_400(tenant: Tenant) -> None:
    headers = [("authorization", f"Bearer {tenant.key}"), ("idempotency-key", "k-1"), ("idempotency-key", "k-2")]
    assert (await tenant.http.post("/v1/assistants", json=assistant_body(), headers=headers)).status_code == 400


@pytest.mark.parametrize("key", ["x", "x" * 255, '"' + "x" * 255 + '"', '"two words"', '"a \\"quoted\\" one"', "!~"])
async def test_a_well_formed_key_is_taken(key: str, tenant: Tenant) -> None:
    body = assistant_body()
    answers = [await tenant.post("/v1/assistants", body, Idempotency_Key=key) for _ in range(2)]
    assert_same(*answers)


async def test_reading_takes_no_notice_of_a_key(tenant: Tenant) -> None:
    for key in ("k-1", "", "two words"):
        answer = await tenant.ask("GET", "/v1/assistants", Idempotency_Key=key)
        assert (answer.status_code, "idempotent-replayed" in answer.headers) == (200, False)


async def test_without_a_key_every_call_is_its_own(tenant: Tenant, effects: Effects) -> None:
    for _ in range(2):
        await tenant.post(f"/v1/assistants/{tenant.assistant['id']}/rotate-secret", {})
    assert await effects.count(tenant, "processed_webhooks") == 0


async def test_a_refusal_holds_no_key_and_leaves_nothing(tenant: Tenant, effects: Effects) -> None:
    body = assistant_body()
    taken = (await tenant.post("/v1/assistants", body)).json()["id"]
    before = await everything(effects.owner)
    for status, sent in ((409, body), (400, {"name": "no id"}), (400, [])):
        assert (await tenant.post("/v1/assistants", sent, Idempotency_Key="k-1")).status_code == status
    missing = await tenant.ask("PATCH", f"/v1/assistants/{uuid4()}", {"name": "x"}, Idempotency_Key="k-1")
    assert missing.status_code == 404
    assert await everything(effects.owner) == before
    await tenant.ask("DELETE", f"/v1/assistants/{taken}")
    assert (await tenant.post("/v1/assistants", body, Idempotency_Key="k-1")).status_code == 201


async def test_a_body_that_is_none_of_ours_is_refused_as_without_a_key(tenant: Tenant) -> None:
    for content, kind, status in (
        (b"x=1", "text/plain", 415),
        (b"\xff", "application/json", 400),
        (b"[" * 9_000 + b"]" * 9_000, "application/json", 400),
        (b'{"name":"' + b"x" * 70_000 + b'"}', "application/json", 413),
    ):
        headers = {"Authorization": f"Bearer {tenant.key}", "Content-Type": kind, "Idempotency-Key": "k-1"}
        assert (await tenant.http.post("/v1/assistants", content=content, headers=headers)).status_code == status


async def test_whoever_may_not_call_sees_no_stored_answer(tenant: Tenant, other: Tenant, admin: Person) -> None:
    body = assistant_body()
    made = (await admin.post(f"/v1/admin/tenants/{tenant.id}/keys", {"scopes": ["read"]})).json()
    more = (await admin.post(f"/v1/admin/tenants/{tenant.id}/keys", {})).json()
    reader, ended = Person(tenant.http, made["api_key"]), Person(tenant.http, more["api_key"])
    assert (await ended.post("/v1/assistants", body, Idempotency_Key="k-1")).status_code == 201
    assert (await reader.post("/v1/assistants", body, Idempotency_Key="k-1")).status_code == 403
    assert (await Person(tenant.http, "no key").post("/v1/assistants", body, Idempotency_Key="k-1")).status_code == 401
    assert (await Person(tenant.http, "no key").post("/v1/assistants", body, Idempotency_Key="")).status_code == 401
    assert (await other.post("/v1/admin/tenants", new_tenant_body(), Idempotency_Key="k-1")).status_code == 403
    await admin.ask("DELETE", f"/v1/admin/tenants/{tenant.id}/keys/{more['id']}")
    await asyncio.sleep(2.1)
    assert (await ended.post("/v1/assistants", body, Idempotency_Key="k-1")).status_code == 401


def readable(text: str) -> str:
    """A text with what anybody can make of it: base64 hides nothing."""
    runs = [run[: len(run) // 4 * 4] for run in re.findall(r"[A-Za-z0-9+/]{16,}", text)]
    return "\n".join([text, *(base64.b64decode(run).decode("latin-1") for run in runs)])


async def test_a_secret_in_a_kept_answer_stands_nowhere(tenant: Tenant, admin: Person, effects: Effects) -> None:
    body = assistant_body()
    secret = (await tenant.post("/v1/assistants", body, Idempotency_Key="k-1")).json()["auth"]["secret"]
    key = (await admin.post("/v1/admin/tenants", new_tenant_body(), Idempotency_Key=str(uuid4()))).json()["api_key"]
    written = await effects.everything(tenant)
    rows = await effects.owner.fetch("SELECT to_jsonb(t)::text FROM processed_webhooks AS t WHERE tenant_id = $1", OPERATOR)
    assert "POST /v1/assistants" in written
    assert any("POST /v1/admin/tenants" in row[0] for row in rows)
    for text in map(readable, (written, *(row[0] for row in rows))):
        assert not [each for each in (secret, key, body["vapi_assistant_id"], "secret") if each in text]


async def test_an_answer_opens_in_its_own_tenant_only(tenant: Tenant, other: Tenant, effects: Effects) -> None:
    body = assistant_body()
    await tenant.post("/v1/assistants", body, Idempotency_Key="k-1")
    columns = "key, fingerprint, webhook_id, place, source, type, state, answer, received_at"
    copied = f"INSERT INTO processed_webhooks (tenant_id, {columns}) SELECT $2, {columns} FROM processed_webhooks WHERE tenant_id = $1"
    await effects.owner.execute(copied, tenant.id, other.id)
    assert (await other.post("/v1/assistants", body, Idempotency_Key="k-1")).status_code == 409


async def test_an_answer_whose_key_was_taken_away_is_told_of(tenant: Tenant, settings: Settings, effects: Effects) -> None:
    body = assistant_body()
    async with running(replace(settings, secret_keys=f"{new_master_key('newer')},{settings.secret_keys}")) as newer:
        first = await Person(newer.http, tenant.key).post("/v1/assistants", body, Idempotency_Key="k-1")
        assert first.status_code == 201
    answer = await tenant.post("/v1/assistants", body, Idempotency_Key="k-1")
    assert (answer.status_code, "out of service" in answer.json()["detail"]) == (409, True)
    found = await effects.owner.fetchval("SELECT count(*) FROM assistants WHERE tenant_id = $1", tenant.id)
    assert found == 2


async def test_a_change_is_seen_at_once_in_its_process(tenant: Tenant, admin: Person, wiring: Wiring) -> None:
    assert await wiring.tenants.by_slug(tenant.slug)
    made = (await tenant.post("/v1/assistants", assistant_body(), Idempotency_Key="k-1")).json()
    ask = {"message": {"type": "assistant-request", "call": {"id": "c"}}}
    assert (await tenant.webhook(ask, secret=made["auth"]["secret"])).status_code == 200
    await admin.post(f"/v1/admin/tenants/{tenant.id}/suspend", {}, Idempotency_Key=str(uuid4()))
    assert (await tenant.post("/v1/messages", {"to": "+12135550123", "body": "Hi"})).status_code == 403


async def test_a_tenant_made_under_a_key_is_whole(admin: Person) -> None:
    """Its plan, its key and itself are of two schemas and one commit."""
    body, key = new_tenant_body(), str(uuid4())
    answers = [await admin.post("/v1/admin/tenants", body, Idempotency_Key=key) for _ in range(2)]
    assert_same(*answers)
    person = Person(admin.http, answers[1].json()["api_key"])
    assert (await person.get("/v1/usage")).status_code == 200
    assert (await new_tenant(admin)).id != answers[0].json()["id"]

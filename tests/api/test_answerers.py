"""Endpoints of a tenant's own that answer in its name: asked once, believed only in Vapi's shapes, and never waited for too long."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from runtime.settings import Settings
from sandbox.tool import ToolSandbox
from tenants.answerers import TYPES
from tests.api.asking import Oracle, asking, has, told
from tests.api.effects import Effects
from tests.api.people import CALLER, Person, Tenant, new_tenant
from tests.api.processes import Process, running
from tests.api.test_own_tools import arm, effects_at
from tests.webhooks.toolbox import verified
from webhooks.answer_shapes import ENDPOINTING, HANDOFF, KNOWLEDGE, PREDIAL, SAFE, TRANSFER

DOCUMENTS = {"documents": [{"content": "We open at nine.", "similarity": 0.9}]}
NUMBER = {"destination": {"type": "number", "number": "+19075550101"}}
SAYS = {
    KNOWLEDGE: DOCUMENTS,
    ENDPOINTING: {"timeoutSeconds": 0.4},
    PREDIAL: {"eligible": True},
    HANDOFF: {"destination": {"type": "assistant", "assistantName": "Billing"}},
    TRANSFER: NUMBER,
}
SAFELY = {**SAFE, TRANSFER: {"error": "Sorry, there is nobody to put this call through to."}}


@pytest.fixture(scope="module")
async def first(settings: Settings) -> AsyncIterator[Process]:
    """The operator allows this machine, where the tenant's server stands."""
    async with running(replace(settings, tool_hosts_allowed="127.0.0.1")) as started:
        yield started


@pytest.fixture(scope="module")
async def second(settings: Settings) -> AsyncIterator[Process]:
    async with running(replace(settings, tool_hosts_allowed="127.0.0.1")) as started:
        yield started


@pytest.fixture
async def tenant(first: Process, admin: Person) -> Tenant:
    return await new_tenant(Person(first.http, admin.key))


@pytest.fixture
async def other(first: Process, admin: Person) -> Tenant:
    return await new_tenant(Person(first.http, admin.key))


@pytest.fixture
async def oracle() -> AsyncIterator[Oracle]:
    async with Oracle.running() as started:
        yield started


@pytest.fixture
async def server() -> AsyncIterator[ToolSandbox]:
    async with ToolSandbox.running() as sandbox:
        yield sandbox


async def answered_by(tenant: Tenant, url: str, kind: str = KNOWLEDGE, **more: Any) -> dict[str, Any]:
    return await has(tenant, f"/v1/answerers/{kind}", url=url, **more)


def question(kind: str = KNOWLEDGE, call_id: str | None = "call-1", **more: Any) -> dict[str, Any]:
    return asking(kind, None if kind == PREDIAL else call_id, **{"messages": [{"role": "user", "content": "When?"}], **more})


@pytest.mark.parametrize("kind", TYPES)
async def test_each_type_is_answered_by_the_tenants_own_endpoint_and_no_others(
    kind: str, tenant: Tenant, other: Tenant, oracle: Oracle
) -> None:
    oracle.says = SAYS[kind]
    await answered_by(tenant, oracle.url, kind)
    assert await told(tenant, question(kind)) == SAYS[kind]
    assert await told(other, question(kind)) == SAFELY[kind]
    (asked,) = oracle.asked
    assert (asked["type"], asked["message"]) == (kind, {"messages": [{"role": "user", "content": "When?"}]})
    assert (asked["call_id"], asked["customer"], asked["timezone"]) == (
        None if kind == PREDIAL else "call-1",
        {"number": CALLER},
        "America/Los_Angeles",
    )


async def test_the_endpoint_is_shown_who_asks_and_nothing_it_need_not_know(tenant: Tenant, oracle: Oracle) -> None:
    secret = (await answered_by(tenant, oracle.url))["secret"]
    oracle.says = DOCUMENTS
    private = {"assistant": {"server": {"secret": "s3cret"}}, "phoneNumber": {"twilioAuthToken": "t0ken"}, "artifact": {"messages": []}}
    await told(tenant, question(**private))
    ((asked,), (headers,)) = oracle.asked, oracle.headers
    lowered = {name.lower(): value for name, value in headers.items()}
    assert lowered["idempotency-key"] == f'"{lowered["webhook-id"]}"'
    assert not {"s3cret", "t0ken"} & set(str(asked).split("'"))
    rotated = (await tenant.post(f"/v1/answerers/{KNOWLEDGE}/rotate-secret", {"grace_seconds": 60})).json()["secret"]
    assert rotated != secret
    await told(tenant, question(call_id="call-2"))
    assert len(oracle.headers[1]["webhook-signature"].split(" ")) == 2


async def test_a_signature_is_that_of_standard_webhooks(tenant: Tenant, server: ToolSandbox) -> None:
    secret = (await answered_by(tenant, f"{server.url}/ask"))["secret"]
    await told(tenant, question())
    (delivery,) = list(server.deliveries)
    headers = {name.lower(): value for name, value in delivery["headers"].items()}
    assert verified(headers, delivery["text"], secret)


@pytest.mark.parametrize("kind", TYPES)
async def test_a_duplicate_is_told_the_same_and_the_endpoint_is_asked_once(
    kind: str, tenant: Tenant, second: Process, oracle: Oracle, effects: Effects
) -> None:
    oracle.says = SAYS[kind]
    await answered_by(tenant, oracle.url, kind)
    answers = await asyncio.gather(*(tenant.webhook(question(kind), http=http) for _ in range(3) for http in (tenant.http, second.http)))
    assert {answer.content for answer in answers} == {answers[0].content}
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert len(oracle.asked) == 1
    (row,) = await effects.rows(tenant, "processed_webhooks")
    assert (row["type"], row["state"], row["arguments"]) == (kind, "done", None)
    assert await effects.usage(tenant) == {}


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(
    "lie",
    [
        {},
        [],
        {"documents": "all", "timeoutSeconds": 99, "eligible": "yes", "destination": {"type": "pigeon"}},
        b"<html>",
        b'{"eligible": tru',
        b'{"documents": [], "timeoutSeconds": 1, "eligible": true, "error": "x", "padding": "' + b"x" * 70_000 + b'"}',
    ],
    ids=["empty", "list", "wrong", "page", "cut off", "over-long"],
)
async def test_an_answer_that_is_none_is_replaced_by_the_safe_one(kind: str, lie: Any, tenant: Tenant, oracle: Oracle) -> None:
    oracle.says = lie
    await answered_by(tenant, oracle.url, kind)
    assert [await told(tenant, question(kind)) for _ in range(2)] == [SAFELY[kind]] * 2
    assert len(oracle.asked) == 1  # it would say the same again
    (shown,) = (await tenant.get("/v1/webhooks?state=failed")).json()["items"]
    assert "none that Vapi takes" in shown["reason"]


async def test_a_destination_of_another_tenant_is_none(tenant: Tenant, other: Tenant, oracle: Oracle) -> None:
    await answered_by(tenant, oracle.url, HANDOFF)
    for whose, taken in ((other, False), (tenant, True)):
        oracle.says = {"destination": {"type": "assistant", "assistantId": whose.assistant["vapi_assistant_id"]}}
        assert (await told(tenant, question(HANDOFF, whose.slug)) == oracle.says) is taken


@pytest.mark.parametrize("kind", TYPES)
async def test_a_slow_endpoint_is_not_waited_for_and_the_next_delivery_asks_again(kind: str, tenant: Tenant, server: ToolSandbox) -> None:
    await answered_by(tenant, f"{server.url}/ask", kind, timeout_ms=300)
    await arm(server, action="delay", seconds=5.0)
    assert await told(tenant, question(kind)) == SAFELY[kind]
    (dead,) = (await tenant.get("/v1/webhooks?state=dead")).json()["items"]
    assert "no answer in time" in dead["reason"]
    assert await told(tenant, question(kind)) == SAFELY[kind]
    assert len(list(server.deliveries)) >= 2


async def test_an_endpoint_that_is_away_for_a_moment_is_asked_again_under_the_same_key(tenant: Tenant, server: ToolSandbox) -> None:
    await answered_by(tenant, f"{server.url}/ask")
    await arm(server, action="reset_after", times=1)
    await told(tenant, question())
    (effect,) = await effects_at(server)
    assert effect["deliveries"] == 2


@pytest.mark.parametrize("status", [400, 403, 404, 500, 503])
async def test_an_endpoint_that_refuses_or_fails_gets_the_safe_answer(status: int, tenant: Tenant, oracle: Oracle) -> None:
    oracle.says, oracle.status = DOCUMENTS, status
    await answered_by(tenant, oracle.url, timeout_ms=500)
    assert await told(tenant, question()) == SAFE[KNOWLEDGE]


async def test_an_endpoint_that_is_down_gets_the_safe_answer_and_later_its_own(tenant: Tenant, oracle: Oracle) -> None:
    await answered_by(tenant, "http://127.0.0.1:1/nobody", timeout_ms=300)
    assert await told(tenant, question()) == SAFE[KNOWLEDGE]
    oracle.says = DOCUMENTS
    await answered_by(tenant, oracle.url)
    assert await told(tenant, question()) == DOCUMENTS  # the same message, delivered again


async def test_an_answerer_of_transfers_wins_over_the_directory_and_falls_back_to_it(tenant: Tenant, oracle: Oracle) -> None:
    desk = {"type": "number", "number": "+19075550102"}
    await has(tenant, "/v1/transfer-directory/desk", destination=desk, is_default=True)
    await answered_by(tenant, oracle.url, TRANSFER)
    oracle.says = NUMBER
    assert await told(tenant, question(TRANSFER)) == NUMBER
    oracle.status = 500
    assert await told(tenant, question(TRANSFER, "call-2")) == {"destination": desk}


async def test_a_suspended_tenants_endpoint_is_not_asked(tenant: Tenant, admin: Person, oracle: Oracle, effects: Effects) -> None:
    await answered_by(tenant, oracle.url)
    await admin.post(f"/v1/admin/tenants/{tenant.id}/suspend", {})
    await asyncio.sleep(2.1)
    assert await told(tenant, question()) == SAFE[KNOWLEDGE]
    assert (oracle.asked, await effects.count(tenant, "processed_webhooks")) == ([], 0)


@pytest.mark.parametrize(("mode", "rows"), [("observe", 1), ("off", 0)])
async def test_away_from_enforce_a_duplicate_is_asked_again(
    mode: str, rows: int, admin: Person, tenant: Tenant, oracle: Oracle, effects: Effects
) -> None:
    oracle.says = DOCUMENTS
    await answered_by(tenant, oracle.url)
    await admin.ask("PUT", "/v1/admin/switches", {"name": "idempotency", "mode": mode, "tenant_id": tenant.id})
    await asyncio.sleep(2.1)
    assert [await told(tenant, question()) for _ in range(2)] == [DOCUMENTS] * 2
    assert (len(oracle.asked), await effects.count(tenant, "processed_webhooks")) == (2, rows)


async def test_what_was_asked_and_said_stays_out_of_the_record(tenant: Tenant, oracle: Oracle, effects: Effects) -> None:
    oracle.says = DOCUMENTS
    await answered_by(tenant, oracle.url)
    await told(tenant, question(messages=[{"role": "user", "content": "a very private question"}]))
    assert "very private" not in await effects.everything(tenant)


@pytest.mark.parametrize(
    ("kind", "body", "pointer"),
    [
        ("assistant-request", {"url": "https://example.com"}, "/type"),
        (KNOWLEDGE, {"url": "http://example.com"}, "/url"),
        (KNOWLEDGE, {"url": "https://10.0.0.1/"}, "/url"),
        (KNOWLEDGE, {"url": "https://example.com", "secret": "whsec_AAAA"}, "/secret"),
        (KNOWLEDGE, {"url": "https://example.com", "timeout_ms": 16_000}, "/timeout_ms"),
        (KNOWLEDGE, {"url": "https://example.com", "method": "GET"}, "/method"),
    ],
)
async def test_what_cannot_work_is_refused_where_it_is_wrong(kind: str, body: dict[str, Any], pointer: str, tenant: Tenant) -> None:
    answer = await tenant.ask("PUT", f"/v1/answerers/{kind}", body)
    assert (answer.status_code, [each["pointer"] for each in answer.json()["errors"]]) == (400, [pointer]), answer.text


async def test_an_endpoint_inside_is_not_connected_to(tenant: Tenant, http: httpx.AsyncClient, oracle: Oracle) -> None:
    """The same definition, in a process whose operator allows no private address."""
    oracle.says = DOCUMENTS
    await answered_by(tenant, oracle.url, timeout_ms=500)
    answer = await tenant.webhook(question(), http=http)
    assert (answer.json(), oracle.asked) == (SAFE[KNOWLEDGE], [])


async def test_what_is_put_is_read_listed_audited_and_another_tenants_is_not_there(tenant: Tenant, other: Tenant, effects: Effects) -> None:
    made = await answered_by(tenant, "https://example.com/a", method="PUT", timeout_ms=900)
    secret = made.pop("secret")
    assert (await tenant.get(f"/v1/answerers/{KNOWLEDGE}")).json() == made
    assert "secret" not in await answered_by(tenant, "https://example.com/b")
    await answered_by(tenant, "https://example.com/a", PREDIAL)
    first = (await tenant.get("/v1/answerers?limit=1")).json()
    rest = (await tenant.get(f"/v1/answerers?limit=1&cursor={first['next_cursor']}")).json()
    assert [each["type"] for each in first["items"] + rest["items"]] == [PREDIAL, KNOWLEDGE]
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/rotate-secret")):
        assert (await other.ask(method, f"/v1/answerers/{KNOWLEDGE}{path}", {} if path else None)).status_code == 404
    await tenant.ask("DELETE", f"/v1/answerers/{KNOWLEDGE}")
    rows = await effects.owner.fetch(
        "SELECT action, detail::text FROM control.audit WHERE tenant_id = $1 AND action LIKE 'answerer%' ORDER BY id", tenant.id
    )
    assert [row["action"].rsplit(".")[1] for row in rows] == ["created", "changed", "created", "removed"]
    stored = await effects.everything(tenant)
    assert secret not in stored
    assert "whsec_" not in str(rows)

"""Replaying by hand: reports under their own key and without new usage, tool calls only by explicit wish, linked and audited."""

import json
from typing import Any

import asyncpg
import pytest

import webhooks.ingest
from tests.api.effects import Effects
from tests.api.people import CALLER, Person, Tenant, tool_item, tool_message

SMS = {"body": "See you at ten."}
REPORT = {
    "message": {
        "type": "end-of-call-report",
        "call": {"id": "call-1"},
        "startedAt": "2026-11-01T10:00:00Z",
        "endedAt": "2026-11-01T10:01:00Z",
        "cost": 0.1,
        "endedReason": "customer-ended-call",
    }
}
BILL = {"calls": (1, 1.0), "call_seconds": (1, 60.0), "vapi_cost_usd": (1, 0.1)}


async def webhooks_of(tenant: Tenant, **wanted: str) -> list[dict[str, Any]]:
    query = "&".join(f"{name}={value}" for name, value in wanted.items())
    found: list[dict[str, Any]] = (await tenant.get(f"/v1/webhooks?{query}")).json()["items"]
    return found


async def replay(tenant: Tenant, webhook: dict[str, Any], body: Any = None, **headers: str) -> Any:
    return await tenant.post(f"/v1/webhooks/{webhook['id']}/replay", body if body is not None else {}, **headers)


async def test_a_report_is_handled_again_under_its_own_key(tenant: Tenant, effects: Effects, admin: Person) -> None:
    await tenant.webhook(REPORT)
    (webhook,) = await webhooks_of(tenant)
    await effects.owner.execute("UPDATE calls SET seconds = NULL, ended_reason = NULL WHERE tenant_id = $1", tenant.id)
    answer = await replay(tenant, webhook)
    assert (answer.status_code, answer.json()["id"], answer.json()["state"]) == (200, webhook["id"], "done")
    (call,) = await effects.rows(tenant, "calls")
    assert (call["seconds"], call["ended_reason"]) == (60, "customer-ended-call")  # the gap is filled again
    assert await effects.usage(tenant) == BILL
    assert await effects.count(tenant, "processed_webhooks") == 1
    (entry,) = [
        each for each in (await admin.get(f"/v1/admin/audit?tenant_id={tenant.id}")).json()["items"] if each["action"] == "webhook.replayed"
    ]
    assert (entry["target"], entry["detail"]["result"]) == (webhook["id"], webhook["id"])
    assert entry["actor"].startswith("key:")


async def test_a_status_and_what_only_informs_are_handled_again_too(tenant: Tenant, effects: Effects) -> None:
    await tenant.webhook({"message": {"type": "status-update", "status": "ended", "call": {"id": "call-1"}}})
    await tenant.webhook({"message": {"type": "hang", "call": {"id": "call-1"}}})
    before = await effects.counts(tenant)
    for webhook in await webhooks_of(tenant):
        assert (await replay(tenant, webhook)).status_code == 200
    assert await effects.counts(tenant) == before


async def test_a_tool_call_is_done_anew_only_by_explicit_wish(tenant: Tenant, effects: Effects, admin: Person) -> None:
    await tenant.webhook(tool_message([tool_item("send_sms", SMS), tool_item("current_time", {}, "tool-2")]))
    (webhook,) = await webhooks_of(tenant)
    refused = await replay(tenant, webhook)
    assert refused.status_code == 400, refused.text
    assert refused.json()["errors"][0]["pointer"] == "/effects"
    assert await effects.count(tenant, "messages") == 1
    answer = await replay(tenant, webhook, {"effects": "new"})
    assert answer.status_code == 200, answer.text
    fresh = answer.json()
    assert (fresh["replay_of"], fresh["id"] != webhook["id"], fresh["state"]) == (webhook["id"], True, "done")
    assert len(fresh["results"]) == 2
    assert await effects.counts(tenant) == {"processed_webhooks": 4, "messages": 2, "usage_events": 4}
    assert {row["recipient"] for row in await effects.rows(tenant, "messages")} == {CALLER}  # nobody was named: the caller of then
    assert await effects.usage(tenant) == {"tool_calls": (4, 4.0)}
    (entry,) = [
        each for each in (await admin.get(f"/v1/admin/audit?tenant_id={tenant.id}")).json()["items"] if each["action"] == "webhook.replayed"
    ]
    assert (entry["target"], entry["detail"]) == (webhook["id"], {"result": fresh["id"]})
    listed = await webhooks_of(tenant, call_id="call-1")
    assert {each["id"]: each["replay_of"] for each in listed} == {webhook["id"]: None, fresh["id"]: webhook["id"]}


async def test_a_wish_with_a_key_is_granted_once(tenant: Tenant, effects: Effects) -> None:
    await tenant.webhook(tool_message([tool_item("send_sms", SMS)]))
    (webhook,) = await webhooks_of(tenant)
    answers = [await replay(tenant, webhook, {"effects": "new"}, Idempotency_Key="wish-1") for _ in range(3)]
    assert len({answer.text for answer in answers}) == 1
    assert await effects.count(tenant, "messages") == 2
    other = await replay(tenant, webhook, {"effects": "new"}, Idempotency_Key="wish-2")
    assert other.json()["id"] != answers[0].json()["id"]
    assert await effects.count(tenant, "messages") == 3


async def test_a_delivery_after_a_replay_gets_the_first_answer(tenant: Tenant, effects: Effects) -> None:
    body = tool_message([tool_item("send_sms", SMS)])
    first = await tenant.webhook(body)
    (webhook,) = await webhooks_of(tenant)
    await replay(tenant, webhook, {"effects": "new"})
    again = await tenant.webhook(body)
    assert (again.json(), again.headers["idempotent-replayed"]) == (first.json(), "true")
    assert await effects.count(tenant, "messages") == 2


@pytest.mark.parametrize("effects_wished", [{}, {"effects": "new"}], ids=str)
async def test_what_is_in_flight_is_refused(tenant: Tenant, effects: Effects, effects_wished: dict[str, str]) -> None:
    await tenant.webhook(tool_message([tool_item("send_sms", SMS)]))
    (webhook,) = await webhooks_of(tenant)
    await effects.owner.execute(
        "UPDATE processed_webhooks SET state = 'in_flight', lease_until = app.now() + interval '1 minute' WHERE tenant_id = $1", tenant.id
    )
    assert (await replay(tenant, webhook, effects_wished)).status_code == 409
    assert [each["id"] for each in await webhooks_of(tenant, state="in_flight")] == [webhook["id"]]
    assert await effects.count(tenant, "messages") == 1


async def test_anothers_webhook_is_not_there(tenant: Tenant, other: Tenant, effects: Effects) -> None:
    await tenant.webhook(tool_message([tool_item("send_sms", SMS)]))
    (webhook,) = await webhooks_of(tenant)
    for body in ({}, {"effects": "new"}):
        assert (await replay(other, webhook, body)).status_code == 404
    assert await effects.count(tenant, "messages") == 1
    assert (await replay(tenant, webhook, {"effects": "old"})).status_code == 400


async def test_a_suspended_tenants_tool_calls_are_not_done_anew(tenant: Tenant, effects: Effects, admin: Person) -> None:
    await tenant.webhook(tool_message([tool_item("send_sms", SMS)]))
    (webhook,) = await webhooks_of(tenant)
    await admin.post(f"/v1/admin/tenants/{tenant.id}/suspend", {"reason": "unpaid"})
    assert (await replay(tenant, webhook, {"effects": "new"})).status_code == 403
    assert await effects.count(tenant, "messages") == 1


@pytest.fixture
def broken_reports(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A fault of ours in reading reports."""

    def fails(_body: bytes) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(webhooks.ingest, "report_facts", fails)
    return monkeypatch


async def test_a_report_that_we_fail_on_is_kept_and_run_again_by_hand(
    tenant: Tenant, effects: Effects, broken_reports: pytest.MonkeyPatch
) -> None:
    answer = await tenant.webhook(REPORT)
    assert (answer.status_code, answer.json()) == (200, {})  # it is ours now
    (webhook,) = await webhooks_of(tenant, state="dead")
    assert (webhook["type"], webhook["call_id"], webhook["state"]) == ("end-of-call-report", "call-1", "dead")
    assert "ZeroDivisionError" in webhook["reason"]
    assert await effects.usage(tenant) == {}
    broken_reports.undo()
    done = await replay(tenant, webhook)
    assert (done.status_code, done.json()["state"], done.json()["reason"]) == (200, "done", None)
    assert await effects.usage(tenant) == BILL
    assert await webhooks_of(tenant, state="dead") == []


async def test_a_report_that_we_failed_on_is_handled_when_it_comes_again(
    tenant: Tenant, effects: Effects, broken_reports: pytest.MonkeyPatch
) -> None:
    await tenant.webhook(REPORT)
    broken_reports.undo()
    again = await tenant.webhook(REPORT)
    assert (again.status_code, "idempotent-replayed" in again.headers) == (200, False)
    assert await effects.usage(tenant) == BILL
    assert await webhooks_of(tenant, state="dead") == []
    assert await effects.count(tenant, "processed_webhooks") == 1


@pytest.mark.parametrize("by_hand", [True, False], ids=["by hand", "when it comes again"])
async def test_a_status_that_we_failed_on_is_handled_after_all(
    tenant: Tenant, effects: Effects, monkeypatch: pytest.MonkeyPatch, *, by_hand: bool
) -> None:
    def fails(_body: bytes) -> None:
        raise ZeroDivisionError

    body = {"message": {"type": "status-update", "status": "ended", "endedReason": "silence", "call": {"id": "call-1"}}}
    monkeypatch.setattr(webhooks.ingest, "status_facts", fails)
    assert (await tenant.webhook(body)).json() == {}
    (webhook,) = await webhooks_of(tenant, state="dead")
    monkeypatch.undo()
    answer = await replay(tenant, webhook) if by_hand else await tenant.webhook(body)
    assert answer.status_code == 200, answer.text
    (call,) = await effects.rows(tenant, "calls")
    assert (call["state"], call["ended_reason"]) == ("ended", "silence")
    assert await webhooks_of(tenant, state="dead") == []


async def test_information_that_we_failed_on_is_settled_when_it_comes_again(
    tenant: Tenant, effects: Effects, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError

    body = {"message": {"type": "hang", "call": {"id": "call-1"}}}
    monkeypatch.setattr(webhooks.ingest, "information", fails)
    assert (await tenant.webhook(body)).json() == {}
    assert len(await webhooks_of(tenant, state="dead")) == 1
    monkeypatch.undo()
    assert (await tenant.webhook(body)).json() == {}
    assert await webhooks_of(tenant, state="dead") == []
    assert await effects.count(tenant, "processed_webhooks") == 1


async def test_the_body_of_an_unknown_type_is_kept_without_its_secrets(tenant: Tenant, other: Tenant) -> None:
    body = {
        "message": {"type": "moon-phase", "call": {"id": "c"}, "phase": "full", "phoneNumber": {"twilioAuthToken": "a-secret-of-twilio"}}
    }
    for _ in range(2):
        assert (await tenant.webhook(body)).json() == {}
    (webhook,) = await webhooks_of(tenant)
    kept = await tenant.get(f"/v1/webhooks/{webhook['id']}/body")
    assert kept.status_code == 200
    assert kept.json()["message"]["phase"] == "full"
    assert "a-secret-of-twilio" not in kept.text
    assert (await other.get(f"/v1/webhooks/{webhook['id']}/body")).status_code == 404


async def test_a_function_call_of_old_is_answered_in_its_own_shape_and_once(tenant: Tenant, effects: Effects) -> None:
    call = {"type": "function-call", "call": {"id": "call-1"}, "customer": {"number": CALLER}}
    bodies = [
        {"message": {**call, "functionCall": {"name": "send_sms", "parameters": parameters}}}
        for parameters in (SMS, json.dumps(SMS), {"body": "Another."})
    ]
    first, again, other = [await tenant.webhook(body) for body in bodies]
    assert set(first.json()) == {"result"}
    assert first.json()["result"].startswith("Queued")
    assert (again.json(), again.headers["idempotent-replayed"]) == (first.json(), "true")
    assert "idempotent-replayed" not in other.headers
    assert await effects.count(tenant, "messages") == 2
    refused = await tenant.webhook({"message": {**call, "functionCall": 5}})
    assert refused.status_code == 400


async def test_no_dead_letter_of_one_tenant_is_seen_by_another(
    tenant: Tenant, other: Tenant, owner: "asyncpg.Connection[asyncpg.Record]", broken_reports: pytest.MonkeyPatch
) -> None:
    await tenant.webhook(REPORT)
    broken_reports.undo()
    assert await webhooks_of(other, state="dead") == []
    assert await owner.fetchval("SELECT count(*) FROM processed_webhooks WHERE tenant_id = $1", other.id) == 0

"""Every kept delivery gets the status, the answers and the metering that its index expects."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.api.effects import Effects
from tests.api.people import Tenant
from webhooks.bodies import unpack

PAYLOADS = Path(__file__).parents[1] / "webhooks" / "payloads"
INDEX = {entry["file"]: entry for entry in json.loads((PAYLOADS / "index.json").read_text("utf-8"))}
BODIES = [entry for name, entry in INDEX.items() if name != "headers.json"]
HEADERS = json.loads((PAYLOADS / "headers.json").read_text("utf-8"))
FULL = "tool-calls-full-51kb.json"


def body_of(name: str) -> bytes:
    return (PAYLOADS / name).read_bytes()


def named(entry: dict[str, Any]) -> str:
    return str(entry["file"]).removesuffix(".json")


@pytest.mark.parametrize("entry", BODIES, ids=named)
async def test_each_body_is_answered_as_its_index_expects(entry: dict[str, Any], tenant: Tenant) -> None:
    answer = await tenant.webhook(body_of(entry["file"]))
    assert answer.status_code in entry["expect"]["status"], answer.text
    assert answer.headers["content-type"].startswith("application/json")
    assert "idempotent-replayed" not in answer.headers
    said = answer.json()
    if entry["type"] == "tool-calls":
        expected = [(call["toolCallId"], call["name"]) for call in entry["expect"]["toolCalls"]]
        assert [(each["toolCallId"], each["name"]) for each in said["results"]] == expected
        for each in said["results"]:
            (spoken,) = [each[kind] for kind in ("result", "error") if kind in each]
            assert isinstance(spoken, str)
            assert spoken.splitlines() == [spoken]
    elif entry["type"] == "assistant-request":
        assert said == {"assistantId": tenant.assistant["vapi_assistant_id"]}
    else:
        assert said == {}


@pytest.mark.parametrize("entry", BODIES, ids=named)
async def test_each_body_leaves_one_record_and_a_second_delivery_none(entry: dict[str, Any], tenant: Tenant, effects: Effects) -> None:
    first = await tenant.webhook(body_of(entry["file"]))
    before = await effects.counts(tenant)
    second = await tenant.webhook(body_of(entry["file"]))
    assert second.json() == first.json()
    assert await effects.counts(tenant) == before
    assert before["processed_webhooks"] == 1
    assert second.headers["idempotent-replayed"] == "true"


REPORTS = [entry for entry in BODIES if entry["expect"]["meter"]]


@pytest.mark.parametrize("entry", REPORTS, ids=named)
async def test_each_report_is_metered_once_and_what_is_unknown_stays_so(entry: dict[str, Any], tenant: Tenant, effects: Effects) -> None:
    for _ in range(3):
        await tenant.webhook(body_of(entry["file"]))
    call_id = json.loads(body_of(entry["file"]))["message"]["call"]["id"]
    call = (await tenant.get(f"/v1/calls/{call_id}")).json()
    meter, usage = entry["expect"]["meter"], await effects.usage(tenant)
    assert call["state"] == "ended"
    assert usage["calls"] == (1, 1.0)
    if meter["seconds"] is None:
        estimate = entry["expect"].get("estimate_seconds")
        assert (call["estimated"], call["seconds"]) == (estimate is not None, None if estimate is None else str(estimate))
        assert call["cost"] is None
        assert set(usage) == {"calls"}  # an estimate is shown and never billed
    else:
        assert float(call["seconds"]) == meter["seconds"]
        assert float(call["cost"]["amount"]) == meter["cost_usd"]
        assert usage == {"calls": (1, 1.0), "call_seconds": (1, meter["seconds"]), "vapi_cost_usd": (1, meter["cost_usd"])}
    if "endedReason" in entry["expect"]:
        assert call["ended_reason"] == entry["expect"]["endedReason"]


async def test_all_bodies_at_one_tenant_do_not_swallow_each_other(tenant: Tenant, effects: Effects) -> None:
    """Several of them share call ids and timestamps; the key holds the type and the status."""
    for entry in BODIES:
        answer = await tenant.webhook(body_of(entry["file"]))
        assert "idempotent-replayed" not in answer.headers, entry["file"]
    assert await effects.count(tenant, "processed_webhooks") == len(BODIES)


async def test_the_headers_as_sent_are_refused(tenant: Tenant, effects: Effects) -> None:
    """An empty x-vapi-secret came with the real delivery: it matches nothing."""
    sent = {name: value for name, value in HEADERS.items() if name.lower() not in ("host", "content-length")}
    assert sent["x-vapi-secret"] == ""
    answer = await tenant.http.post(f"/vapi-webhook/{tenant.slug}", content=body_of(FULL), headers=sent)
    assert answer.status_code == 401
    assert await effects.counts(tenant) == {}
    answer = await tenant.http.post(f"/vapi-webhook/{tenant.slug}", content=body_of(FULL), headers={**sent, "x-vapi-secret": tenant.secret})
    assert answer.status_code == 200
    assert len(body_of(FULL)) == int(HEADERS["content-length"])
    assert json.loads(body_of(FULL))["message"]["call"]["id"] == HEADERS["x-call-id"]


async def test_what_is_stored_and_shown_holds_no_secret_and_no_prompt(tenant: Tenant, effects: Effects) -> None:
    private = {text for entry in BODIES for text in entry["expect"].get("redact", [])}
    assert private
    system = json.loads(body_of(FULL))["message"]["assistant"]["model"]["messages"][0]["content"]
    private |= {system[:60], "INVITE", "twilioAuthToken"}
    for entry in BODIES:
        await tenant.webhook(body_of(entry["file"]))
    stored = await effects.everything(tenant)
    shown = (await tenant.get("/v1/webhooks?limit=200")).text + (await tenant.get("/v1/calls?limit=200")).text
    assert [text for text in private if text in stored or text in shown] == []
    assert "call_45ct" in stored  # the delivery that held the secret is there


async def test_the_call_of_the_history_is_not_run_again(tenant: Tenant, effects: Effects) -> None:
    await tenant.webhook(body_of(FULL))
    (row,) = await effects.rows(tenant, "processed_webhooks")
    assert (row["name"], row["tool_call_id"]) == ("cancelBookingAtlasClinic", "call_yCCpXwPFvEJq5ixf5G9WNF1q")
    assert json.loads(row["arguments"]) == {"name": "When Sugar", "phone": "2025550110"}


@pytest.mark.parametrize("entry", [entry for entry in BODIES if entry["type"] == "tool-calls"], ids=named)
async def test_the_arguments_are_read_whatever_shape_they_have(entry: dict[str, Any], tenant: Tenant, effects: Effects) -> None:
    await tenant.webhook(body_of(entry["file"]))
    rows = await effects.rows(tenant, "processed_webhooks")
    assert [json.loads(row["arguments"]) for row in rows] == [call["arguments"] for call in entry["expect"]["toolCalls"]]


async def test_kept_whole_and_logged_they_hold_no_secret_either(
    tenant: Tenant, effects: Effects, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await tenant.ask("PUT", "/v1/retention", {"keys_hours": 720, "bodies_days": 7, "capture": "all"})
    for entry in BODIES:
        await tenant.webhook(body_of(entry["file"]))
    kept = [
        unpack(row["body"]).decode() for row in await effects.owner.fetch("SELECT body FROM webhook_bodies WHERE tenant_id = $1", tenant.id)
    ]
    assert len(kept) >= sum(entry["type"] != "assistant-request" for entry in BODIES)
    call = json.loads(body_of(FULL))["message"]["call"]
    headers = [value for value in call["phoneCallProviderDetails"]["sip"]["headers"].values() if len(value) > 20]
    private = {text for entry in BODIES for text in entry["expect"].get("redact", [])} | set(headers)
    private |= {value for value in call["assistantOverrides"]["variableValues"].values() if len(value) > 20}
    private -= {call["phoneCallProviderDetails"].get("sbcCallId")}  # an id that opens nothing stays, also where it comes in a header
    captured = capfd.readouterr()
    everywhere = "".join([*kept, captured.out, captured.err, caplog.text])
    assert [text for text in private if text in everywhere] == []
    system = json.loads(body_of(FULL))["message"]["assistant"]["model"]["messages"][0]["content"]
    assert system[:60] not in captured.out + captured.err + caplog.text

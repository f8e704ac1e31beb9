"""What Twilio taught about a sender, as its tenant sees it: what may be used of the grant, until when nothing leaves, what to do."""

from typing import Any

import pytest

from api.wiring import Wiring
from tests.api.effects import Effects
from tests.api.people import CALLER, Person, Tenant, new_tenant, sender_body

HI = {"to": CALLER, "body": "Hi"}
CLOSED = {"state": "closed", "until": None, "code": None, "reason": None, "what_to_do": None}


async def teach(effects: Effects, tenant: Tenant, code: int, action: str) -> None:
    """What an answer to a text of its sender teaches, as the worker records it."""
    sender = tenant.sender
    async with effects.owner.transaction():
        await effects.owner.execute("SELECT set_config('app.tenant_id', $1, true)", tenant.id)
        sql = "SELECT app.learn_v1($1, $2, $3, $4, $5, app.now(), NULL)"
        await effects.owner.execute(sql, tenant.id, sender["registration_id"], sender["id"], code, action)


async def limits_of(tenant: Tenant) -> dict[str, Any]:
    found: dict[str, Any] = (await tenant.get("/v1/limits")).json()
    return found


@pytest.fixture
async def neighbour(admin: Person) -> Tenant:
    return await new_tenant(admin)


async def test_a_lowered_rate_is_shown_beside_the_grant_and_makes_texts_wait_longer(
    tenant: Tenant, neighbour: Tenant, effects: Effects, wiring: Wiring
) -> None:
    before = (await limits_of(tenant))["senders"][0]
    assert (before["granted_segments_per_second"], before["segments_per_second"], before["learned"]) == ("100", "100", None)
    await teach(effects, tenant, 30022, "slow_down")
    columns = "tenant_id, registration_id, next_at, queued_segments, queued_messages"
    schedule = f"INSERT INTO control.schedule ({columns}) VALUES ($1, $2, app.now(), 1000, 1000)"
    await effects.owner.execute(schedule, tenant.id, tenant.sender["registration_id"])
    await effects.owner.execute(
        "INSERT INTO messages (tenant_id, id, recipient, body, class, priority, encoding, segments, status, sender_id, registration_id,"
        " due_at, expected_at, created_at, updated_at) SELECT $1, gen_random_uuid(), '+12025550101', 'Hi', 'transactional', 1, 'GSM-7', 1,"
        " 'queued', $2, $3, app.now(), app.now(), app.now(), app.now() FROM generate_series(1, 1000)",
        tenant.id, tenant.sender["id"], tenant.sender["registration_id"],
    )  # fmt: skip
    wiring.tenants.forget(tenant.slug)
    limits = await limits_of(tenant)
    (sender,) = limits["senders"]
    assert (sender["granted_segments_per_second"], sender["segments_per_second"], limits["segments_per_second"]) == ("100", "50", "50")
    assert (sender["learned"]["segments_per_second"], sender["learned"]["code"]) == ("50", 30022)
    assert sender["learned"]["reason"].startswith("The carrier refused the text because its rate")
    assert sender["learned"]["since"] is not None
    assert 20.0 <= sender["expected_drain_seconds"] <= 22.5
    (entry,) = (await tenant.tool("send_sms", {"body": "Hi"})).json()["results"]
    assert "about 20 s" in entry["result"]
    assert (await limits_of(neighbour))["senders"][0]["learned"] is None


async def test_lowered_concurrency_is_shown(tenant: Tenant, neighbour: Tenant, effects: Effects) -> None:
    assert (await limits_of(tenant))["senders"][0]["concurrency"] is None
    await teach(effects, tenant, 20429, "retry_backoff")
    shown = (await limits_of(tenant))["senders"][0]["concurrency"]
    assert (shown["code"], 25 <= shown["at_once"] <= 27) == (20429, True)
    assert (await limits_of(neighbour))["senders"][0]["concurrency"] is None


@pytest.mark.parametrize(("code", "action", "says", "todo"), [
    (20003, "open_circuit", "Twilio refuses the sender's credentials (20003)", "Check the account Sid"),
    (20005, "open_circuit", "the Twilio account is not active (20005)", "Bring the Twilio account back"),
    (30034, "stop_sender", "Twilio does not send for this sender (30034)", "Register an A2P 10DLC campaign"),
])  # fmt: skip
async def test_an_open_circuit_says_why_and_what_to_do_and_ends_when_the_sender_is_declared_anew(
    code: int, action: str, says: str, todo: str, tenant: Tenant, neighbour: Tenant, effects: Effects, wiring: Wiring
) -> None:
    async def circuit(one: Tenant) -> Any:
        (sender,) = (await one.get("/v1/senders")).json()["items"]
        return sender["circuit"]

    assert await circuit(tenant) == CLOSED
    await teach(effects, tenant, code, action)
    await teach(effects, neighbour, code, action)
    opened = await circuit(tenant)
    assert (opened["state"], opened["code"], opened["reason"]) == ("open", code, says)
    assert opened["what_to_do"].startswith(todo)
    limits = await limits_of(tenant)
    assert (limits["paused_reason"], limits["paused_until"]) == (says, opened["until"])
    await effects.owner.execute(  # as the worker's look writes it
        "INSERT INTO control.schedule (tenant_id, registration_id, next_at, hold_reason, held_until)"
        " VALUES ($1, $2, app.now(), 'held', app.now() + interval '1 hour')",
        tenant.id, tenant.sender["registration_id"],
    )  # fmt: skip
    wiring.tenants.forget(tenant.slug)
    sent = (await tenant.post("/v1/messages", HI)).json()
    assert sent["status"] == "held"
    assert (await tenant.get(f"/v1/messages/{sent['id']}")).json()["error"]["what_to_do"].startswith(todo)
    same = {**sender_body(), "account_sid": tenant.sender["account_sid"], "from_number": tenant.sender["from_number"]}
    renewed = await tenant.ask("PUT", "/v1/sender", same)
    assert (renewed.status_code, renewed.json()["circuit"]) == (200, CLOSED), renewed.text
    assert renewed.json()["registration_id"] == tenant.sender["registration_id"]
    assert (await limits_of(tenant))["paused_reason"] is None
    assert (await tenant.post("/v1/messages", HI)).json()["status"] == "queued"
    assert (await circuit(neighbour))["state"] == "open"


async def test_a_cap_of_the_account_is_no_fault_of_the_sender_and_stays(tenant: Tenant, effects: Effects) -> None:
    await teach(effects, tenant, 60728, "hold_1h")
    (sender,) = (await tenant.get("/v1/senders")).json()["items"]
    assert sender["circuit"] == CLOSED
    same = {**sender_body(), "account_sid": tenant.sender["account_sid"], "from_number": tenant.sender["from_number"]}
    assert (await tenant.ask("PUT", "/v1/sender", same)).status_code == 200
    assert (await limits_of(tenant))["paused_reason"] == "the Twilio account's message limit is used up (60728)"


async def test_a_sender_that_another_tenant_owns_closes_nobodys_circuit(tenant: Tenant, neighbour: Tenant, effects: Effects) -> None:
    await teach(effects, tenant, 20003, "open_circuit")
    theirs = {**sender_body(), "account_sid": tenant.sender["account_sid"], "from_number": tenant.sender["from_number"]}
    assert (await neighbour.ask("PUT", "/v1/sender", theirs)).status_code == 409
    assert (await tenant.get("/v1/senders")).json()["items"][0]["circuit"]["state"] == "open"

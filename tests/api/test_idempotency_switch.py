"""The switch idempotency: enforce, observe, off; for all or one tenant, followed by every process within two seconds."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from runtime.settings import Settings
from tests.api.effects import Effects
from tests.api.people import Person, Tenant, tool_item, tool_message
from tests.api.processes import Process, running

SMS = {"to": "+12135550199", "body": "See you at ten."}
FOLLOWED_SECONDS = 2.2  # two, and what the machine takes


@pytest.fixture(scope="module")
async def second(settings: Settings) -> AsyncIterator[Process]:
    async with running(settings) as started:
        yield started


@pytest.fixture(autouse=True)
async def as_before(effects: Effects) -> AsyncIterator[None]:
    """A switch for everybody would reach other tests."""
    yield
    await effects.owner.execute("DELETE FROM control.switches WHERE tenant_id IS NULL")


async def turn(admin: Person, mode: str, tenant: Tenant | None) -> None:
    wanted = {"name": "idempotency", "mode": mode, "tenant_id": None if tenant is None else tenant.id}
    answer = await admin.ask("PUT", "/v1/admin/switches", wanted)
    assert answer.status_code == 200, answer.text
    await asyncio.sleep(FOLLOWED_SECONDS)


async def twice(tenant: Tenant, body: dict[str, Any], http: Any = None) -> list[Any]:
    return [await tenant.webhook(body, http=http) for _ in range(2)]


CALL = tool_message([tool_item("send_sms", SMS)])
REPORT = {
    "message": {
        "type": "end-of-call-report",
        "call": {"id": "call-1"},
        "startedAt": "2026-11-01T10:00:00Z",
        "endedAt": "2026-11-01T10:01:00Z",
        "cost": 0.1,
    }
}


@pytest.mark.parametrize(
    ("mode", "texts", "keys"), [("enforce", 1, 1), ("observe", 2, 1), ("off", 2, 0)], ids=["enforce", "observe", "off"]
)
async def test_what_a_mode_does_with_a_duplicate(
    admin: Person, tenant: Tenant, other: Tenant, effects: Effects, mode: str, texts: int, keys: int
) -> None:
    await turn(admin, mode, tenant)
    answers = await twice(tenant, CALL)
    assert {answer.status_code for answer in answers} == {200}
    assert all("Queued" in answer.json()["results"][0]["result"] for answer in answers)
    assert ("idempotent-replayed" in answers[1].headers) == (mode == "enforce")
    assert (await effects.count(tenant, "messages"), await effects.count(tenant, "processed_webhooks")) == (texts, keys)
    assert await effects.arrivals(tenant) == texts
    await twice(other, CALL)
    assert (await effects.count(other, "messages"), await effects.count(other, "processed_webhooks")) == (1, 1)


@pytest.mark.parametrize("mode", ["observe", "off"])
async def test_a_call_is_billed_once_whatever_the_switch_says(admin: Person, tenant: Tenant, effects: Effects, mode: str) -> None:
    await turn(admin, mode, tenant)
    for answer in await twice(tenant, REPORT):
        assert (answer.status_code, answer.json()) == (200, {})
    assert await effects.usage(tenant) == {"calls": (1, 1.0), "call_seconds": (1, 60.0), "vapi_cost_usd": (1, 0.1)}
    assert await effects.count(tenant, "calls") == 1


async def test_off_works_while_the_store_of_keys_is_the_trouble(admin: Person, tenant: Tenant, effects: Effects) -> None:
    """That is what it is for."""
    await turn(admin, "off", tenant)
    captured = await tenant.ask("PUT", "/v1/retention", {"keys_hours": 168, "bodies_days": 7, "capture": "all"})
    assert captured.status_code == 200, captured.text
    await asyncio.sleep(FOLLOWED_SECONDS)
    broken = effects.owner.transaction()
    await broken.start()
    try:
        await effects.owner.execute("LOCK TABLE processed_webhooks IN ACCESS EXCLUSIVE MODE")
        answer = await asyncio.wait_for(tenant.webhook(CALL), 5)
        assert "Queued" in answer.json()["results"][0]["result"]
    finally:
        await broken.rollback()
    assert await effects.count(tenant, "messages") == 1


async def test_every_process_follows_and_everybody_with_it(admin: Person, tenant: Tenant, second: Process, effects: Effects) -> None:
    await tenant.webhook(CALL, http=second.http)  # it knows the tenant as it was
    await turn(admin, "observe", None)
    await twice(tenant, CALL, second.http)
    assert await effects.count(tenant, "messages") == 3
    await turn(admin, "enforce", None)
    await twice(tenant, CALL, second.http)
    assert await effects.count(tenant, "messages") == 3


async def test_of_two_modes_the_one_farther_from_the_default_holds(admin: Person, tenant: Tenant, effects: Effects) -> None:
    await turn(admin, "off", None)
    await turn(admin, "observe", tenant)
    await tenant.webhook(CALL)
    assert await effects.count(tenant, "processed_webhooks") == 0
    await turn(admin, "enforce", None)
    await tenant.webhook(CALL)
    assert await effects.count(tenant, "processed_webhooks") == 1


async def test_the_turn_is_in_the_audit_trail(admin: Person, tenant: Tenant) -> None:
    await admin.ask("PUT", "/v1/admin/switches", {"name": "idempotency", "mode": "observe", "tenant_id": tenant.id})
    (entry,) = [
        each for each in (await admin.get(f"/v1/admin/audit?tenant_id={tenant.id}")).json()["items"] if each["action"] == "switch.turned"
    ]
    assert (entry["target"], entry["detail"]) == ("idempotency", {"mode": "observe"})

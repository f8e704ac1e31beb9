"""Tools of the tenant's own through the whole way: Vapi's webhook, the tenant's server over HTTP, one effect, one answer."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from runtime.settings import Settings
from sandbox.tool import ToolSandbox
from tests.api.effects import Effects
from tests.api.people import CALLER, Person, Tenant, new_tenant, tool_item, tool_message
from tests.api.processes import Process, running

SLOT = {"date": "2026-12-01", "phone": CALLER}


@pytest.fixture(scope="module")
def open_settings(settings: Settings) -> Settings:
    """The operator allows this machine, where the tenant's server stands."""
    return replace(settings, tool_hosts_allowed="127.0.0.1")


@pytest.fixture(scope="module")
async def first(open_settings: Settings) -> AsyncIterator[Process]:
    async with running(open_settings) as started:
        yield started


@pytest.fixture(scope="module")
async def second(open_settings: Settings) -> AsyncIterator[Process]:
    async with running(open_settings) as started:
        yield started


@pytest.fixture
async def server() -> AsyncIterator[ToolSandbox]:
    async with ToolSandbox.running() as sandbox:
        yield sandbox


@pytest.fixture
async def tenant(first: Process, admin: Person) -> Tenant:
    return await new_tenant(Person(first.http, admin.key))


@pytest.fixture
async def other(first: Process, admin: Person) -> Tenant:
    return await new_tenant(Person(first.http, admin.key))


async def has_tool(tenant: Tenant, server: ToolSandbox, name: str = "book", **more: Any) -> None:
    answer = await tenant.ask("PUT", f"/v1/tools/{name}", {"url": f"{server.url}/{name}", "repeatable": True, **more})
    assert answer.status_code == 200, answer.text


async def effects_at(server: ToolSandbox) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(base_url=server.url) as http:
        found: list[dict[str, Any]] = (await http.get("/control/effects")).json()["effects"]
    return found


async def arm(server: ToolSandbox, **fault: Any) -> None:
    async with httpx.AsyncClient(base_url=server.url) as http:
        answer = await http.post("/control/faults", json=fault)
    assert answer.is_success, answer.text


def entry(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    (found,) = answer.json()["results"]
    result: dict[str, Any] = found
    return result


async def test_a_call_is_done_once_and_its_answer_replayed(tenant: Tenant, server: ToolSandbox, effects: Effects) -> None:
    await has_tool(tenant, server)
    answers = [await tenant.tool("book", SLOT) for _ in range(3)]
    assert len({answer.text for answer in answers}) == 1
    assert "result" in entry(answers[0])
    assert ["idempotent-replayed" in answer.headers for answer in answers] == [False, True, True]
    (effect,) = await effects_at(server)
    assert effect["body"]["arguments"] == SLOT
    assert await effects.usage(tenant) == {"tool_calls": (1, 1.0)}
    (row,) = await effects.rows(tenant, "processed_webhooks")
    assert (row["state"], row["attempt"], row["lease_until"]) == ("done", 1, None)


async def test_twins_at_once_over_two_processes_are_one_call(
    tenant: Tenant, second: Process, server: ToolSandbox, effects: Effects
) -> None:
    await has_tool(tenant, server)
    await arm(server, action="delay", seconds=0.7)
    body = tool_message([tool_item("book", SLOT)])
    answers = await asyncio.gather(*(tenant.webhook(body, http=http) for _ in range(20) for http in (tenant.http, second.http)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert [effect["deliveries"] for effect in await effects_at(server)] == [1]
    assert await effects.usage(tenant) == {"tool_calls": (1, 1.0)}


async def test_the_same_id_with_other_arguments_is_an_error_and_does_nothing(tenant: Tenant, server: ToolSandbox) -> None:
    await has_tool(tenant, server)
    await tenant.tool("book", SLOT)
    assert "other arguments" in entry(await tenant.tool("book", {**SLOT, "date": "2026-12-02"}))["error"]
    assert len(await effects_at(server)) == 1


async def test_two_tenants_with_equal_ids_are_two_calls(tenant: Tenant, other: Tenant, server: ToolSandbox) -> None:
    for each in (tenant, other):
        await has_tool(each, server, each.slug)
        assert "result" in entry(await each.tool(each.slug, SLOT))
    assert len(await effects_at(server)) == 2


async def test_anothers_tool_is_no_tool(tenant: Tenant, other: Tenant, server: ToolSandbox) -> None:
    await has_tool(tenant, server)
    assert "no tool named book" in entry(await other.tool("book", SLOT))["error"]
    assert await effects_at(server) == []


async def test_ours_and_theirs_in_one_delivery_are_answered_in_order(tenant: Tenant, server: ToolSandbox, effects: Effects) -> None:
    await has_tool(tenant, server)
    items = [tool_item("current_time", {}, "a"), tool_item("book", SLOT, "b"), tool_item("send_sms", {"body": "Booked."}, "c")]
    answer = await tenant.webhook(tool_message(items))
    assert [each["toolCallId"] for each in answer.json()["results"]] == ["a", "b", "c"]
    assert await effects.usage(tenant) == {"tool_calls": (3, 3.0)}
    assert (await tenant.webhook(tool_message(items))).text == answer.text
    assert (len(await effects_at(server)), await effects.count(tenant, "messages")) == (1, 1)


async def test_the_same_thing_under_another_id_is_done_once_and_says_the_same(
    tenant: Tenant, server: ToolSandbox, effects: Effects
) -> None:
    await has_tool(tenant, server, business_key={"arguments": ["date", "phone"]})
    first = entry(await tenant.tool("book", {**SLOT, "note": "first"}, tool_call_id="tool-1"))
    again = entry(await tenant.tool("book", {**SLOT, "note": "again"}, tool_call_id="tool-2"))
    assert (again["toolCallId"], again["result"]) == ("tool-2", first["result"])
    assert len(await effects_at(server)) == 1
    assert await effects.usage(tenant) == {"tool_calls": (1, 1.0)}
    another = entry(await tenant.tool("book", {**SLOT, "date": "2026-12-02"}, tool_call_id="tool-3"))
    assert "result" in another
    assert len(await effects_at(server)) == 2
    assert "result" in entry(await tenant.tool("book", SLOT, call_id="call-2", tool_call_id="tool-4"))
    assert len(await effects_at(server)) == 3  # another caller's booking is another booking


async def test_the_same_thing_at_once_under_many_ids_is_done_once(tenant: Tenant, second: Process, server: ToolSandbox) -> None:
    await has_tool(tenant, server, business_key={"arguments": ["date", "phone"]})
    await arm(server, action="delay", seconds=0.4)
    bodies = [tool_message([tool_item("book", SLOT, f"tool-{number}")]) for number in range(6)]
    answers = await asyncio.gather(*(tenant.webhook(body, http=http) for body in bodies for http in (tenant.http, second.http)))
    assert len({entry(answer)["result"] for answer in answers}) == 1
    assert len(await effects_at(server)) == 1


async def test_a_server_that_fails_is_tried_again_under_the_same_key(tenant: Tenant, server: ToolSandbox) -> None:
    await has_tool(tenant, server)
    await arm(server, action="status", status=503, times=1)
    assert "result" in entry(await tenant.tool("book", SLOT))
    assert len(await effects_at(server)) == 1


async def test_an_answer_that_is_lost_is_asked_for_again_and_done_once(tenant: Tenant, server: ToolSandbox) -> None:
    await has_tool(tenant, server)
    await arm(server, action="reset_after", times=1)
    assert "result" in entry(await tenant.tool("book", SLOT))
    (effect,) = await effects_at(server)
    assert effect["deliveries"] == 2


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "GET", "DELETE"])
async def test_what_may_not_be_repeated_is_not_and_says_that_it_is_not_certain(
    tenant: Tenant, server: ToolSandbox, effects: Effects, method: str
) -> None:
    await has_tool(tenant, server, repeatable=False, method=method)
    await arm(server, action="reset_after", times=1)
    answers = [await tenant.tool("book", SLOT) for _ in range(2)]
    assert "not certain" in entry(answers[0])["error"]
    assert answers[1].text == answers[0].text
    (effect,) = await effects_at(server)
    assert effect["deliveries"] == 1
    assert await effects.usage(tenant) == {}


async def test_a_server_that_is_away_is_a_dead_letter_and_run_when_it_is_back(tenant: Tenant, server: ToolSandbox) -> None:
    await has_tool(tenant, server)
    await arm(server, action="reset_before")
    assert "error" in entry(await tenant.tool("book", SLOT))
    (dead,) = (await tenant.get("/v1/webhooks?state=dead")).json()["items"]
    assert dead["reason"]
    assert await effects_at(server) == []
    async with httpx.AsyncClient(base_url=server.url) as http:
        await http.delete("/control/faults")
    ran = await tenant.post(f"/v1/webhooks/{dead['id']}/replay", {})
    assert (ran.status_code, ran.json()["state"]) == (200, "done"), ran.text
    assert "result" in entry(await tenant.tool("book", SLOT))
    assert len(await effects_at(server)) == 1


@pytest.mark.parametrize(("mode", "deliveries"), [("observe", 2), ("off", 2)])
async def test_away_from_enforce_a_duplicate_is_asked_again(
    admin: Person, tenant: Tenant, server: ToolSandbox, effects: Effects, mode: str, deliveries: int
) -> None:
    await has_tool(tenant, server)
    await admin.ask("PUT", "/v1/admin/switches", {"name": "idempotency", "mode": mode, "tenant_id": tenant.id})
    await asyncio.sleep(2.2)
    for _ in range(2):
        assert "result" in entry(await tenant.tool("book", SLOT))
    (effect,) = await effects_at(server)  # the endpoint knows the key, whatever the switch says
    assert effect["deliveries"] == deliveries
    assert await effects.count(tenant, "processed_webhooks") == (1 if mode == "observe" else 0)
    assert await effects.usage(tenant) == {"tool_calls": (2, 2.0)}


async def test_no_connection_is_held_while_the_server_is_asked(
    tenant: Tenant, first: Process, server: ToolSandbox, effects: Effects
) -> None:
    await has_tool(tenant, server)
    await arm(server, action="delay", seconds=1.0)
    asking = asyncio.create_task(tenant.tool("book", SLOT))
    await asyncio.sleep(0.5)
    busy = await effects.owner.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'trunkline_app' AND state <> 'idle' AND query LIKE '%run_v1%'"
    )
    assert busy == 0
    assert first.wiring.database.pool.get_idle_size() == first.wiring.database.pool.get_size()
    assert "result" in entry(await asking)

"""Once: a delivery may come many times, at once, to several processes; its effects happen once."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from runtime.settings import Settings
from tests.api.effects import Effects
from tests.api.people import CALLER, Person, Tenant, tool_item, tool_message
from tests.api.processes import Process, running

SMS = {"to": "+12135550199", "body": "See you at ten."}
ONE_TEXT = {"processed_webhooks": 1, "messages": 1, "usage_events": 1}


@pytest.fixture(scope="module")
async def second(settings: Settings) -> AsyncIterator[Process]:
    """Another process on the same database."""
    async with running(settings) as started:
        yield started


def replayed(answers: list[httpx.Response]) -> int:
    return sum(answer.headers.get("idempotent-replayed") == "true" for answer in answers)


def only(answers: list[httpx.Response]) -> dict[str, Any]:
    """The one body that all of them have."""
    assert {answer.status_code for answer in answers} == {200}
    (body,) = {answer.text for answer in answers}
    found: dict[str, Any] = json.loads(body)
    return found


async def test_fifty_deliveries_at_once_are_one_text(tenant: Tenant, effects: Effects) -> None:
    answers = await asyncio.gather(*(tenant.tool("send_sms", SMS) for _ in range(50)))
    (result,) = only(list(answers))["results"]
    assert (result["toolCallId"], result["name"]) == ("tool-1", "send_sms")
    assert result["result"].startswith("Queued, leaves ")
    assert replayed(list(answers)) == 49
    assert await effects.counts(tenant) == ONE_TEXT
    assert await effects.usage(tenant) == {"tool_calls": (1, 1.0)}
    assert await effects.arrivals(tenant) == 1
    (message,) = await effects.rows(tenant, "messages")
    assert (message["recipient"], message["body"], message["call_id"]) == (SMS["to"], SMS["body"], "call-1")


async def test_deliveries_spread_over_two_processes_are_one_text(tenant: Tenant, second: Process, effects: Effects) -> None:
    body = tool_message([tool_item("send_sms", SMS)])
    answers = await asyncio.gather(*(tenant.webhook(body, http=http) for _ in range(20) for http in (tenant.http, second.http)))
    only(list(answers))
    assert replayed(list(answers)) == 39
    assert await effects.counts(tenant) == ONE_TEXT
    assert await effects.arrivals(tenant) == 1


async def test_different_calls_at_once_over_two_processes_are_all_done(tenant: Tenant, second: Process, effects: Effects) -> None:
    """Each twice, in other orders, so that batches hold the same keys."""
    bodies = [
        tool_message(
            [tool_item("send_sms", {"to": f"+1213555011{n}", "body": f"Number {m}."}, f"tool-{n}-{m}") for m in range(3)], f"call-{n}"
        )
        for n in range(10)
    ]
    mirrored = [{"message": {**body["message"], "toolCallList": body["message"]["toolCallList"][::-1]}} for body in bodies]
    deliveries = [tenant.webhook(body) for body in bodies] + [tenant.webhook(body, http=second.http) for body in mirrored]
    answers = await asyncio.gather(*deliveries)
    assert {answer.status_code for answer in answers} == {200}
    for there, back in zip(answers[:10], answers[10:], strict=True):
        assert there.json()["results"] == back.json()["results"][::-1]
    assert await effects.counts(tenant) == {"processed_webhooks": 30, "messages": 30, "usage_events": 30}


async def test_the_same_id_with_other_arguments_is_an_error_and_sends_nothing(tenant: Tenant, effects: Effects) -> None:
    first = await tenant.tool("send_sms", SMS)
    other = await tenant.tool("send_sms", {**SMS, "body": "Something else."})
    assert other.status_code == 200
    (entry,) = other.json()["results"]
    assert "other arguments" in entry["error"]
    assert "result" not in entry
    assert "idempotent-replayed" not in other.headers
    again = await tenant.tool("send_sms", dict(reversed(SMS.items())))
    assert (again.json(), replayed([again])) == (first.json(), 1)
    assert await effects.counts(tenant) == ONE_TEXT


async def test_the_same_id_of_another_tool_or_call_is_another_effect(tenant: Tenant, effects: Effects) -> None:
    answers = [
        await tenant.tool("send_sms", SMS),
        await tenant.tool("current_time", {}),
        await tenant.tool("send_sms", SMS, call_id="call-2"),
        await tenant.tool("send_sms", {**SMS, "body": "Bring your card."}, tool_call_id="tool-2"),
    ]
    assert replayed(answers) == 0
    assert await effects.counts(tenant) == {"processed_webhooks": 4, "messages": 3, "usage_events": 4}


async def test_a_new_call_beside_a_seen_one_is_done_and_the_seen_one_is_not(tenant: Tenant, effects: Effects) -> None:
    seen, new = tool_item("send_sms", SMS, "seen"), tool_item("send_sms", {**SMS, "body": "New."}, "new")
    first = await tenant.webhook(tool_message([seen]))
    both = await tenant.webhook(tool_message([seen, new]))
    assert both.json()["results"][0] == first.json()["results"][0]
    assert [each["toolCallId"] for each in both.json()["results"]] == ["seen", "new"]
    assert replayed([both]) == 0  # not all of it is a replay
    assert replayed([await tenant.webhook(tool_message([new, seen]))]) == 1
    assert await effects.counts(tenant) == {"processed_webhooks": 2, "messages": 2, "usage_events": 2}


async def test_a_call_that_stands_in_three_lists_is_done_once(tenant: Tenant, effects: Effects) -> None:
    item = tool_item("send_sms", SMS)
    await tenant.webhook(tool_message([item], toolCalls=[item], toolWithToolCallList=[{"toolCall": item}]))
    assert await effects.counts(tenant) == ONE_TEXT
    answer = await tenant.webhook(
        {"message": {"type": "tool-calls", "call": {"id": "call-1"}, "toolWithToolCallList": [{"toolCall": item}]}}
    )
    assert replayed([answer]) == 1


async def test_equal_ids_of_two_tenants_are_two_effects(tenant: Tenant, other: Tenant, effects: Effects) -> None:
    answers = await asyncio.gather(*(each.tool("send_sms", SMS) for _ in range(5) for each in (tenant, other)))
    assert replayed(list(answers)) == 8
    for each in (tenant, other):
        assert await effects.counts(each) == ONE_TEXT
        (message,) = await effects.rows(each, "messages")
        assert str(message["sender_id"]) == each.sender["id"]


async def test_who_opted_out_is_not_texted_and_every_delivery_says_so(tenant: Tenant, other: Tenant, effects: Effects) -> None:
    await effects.owner.execute("INSERT INTO opt_outs (tenant_id, recipient, source) VALUES ($1, $2, 'api')", tenant.id, CALLER)
    answers = [await tenant.tool("send_sms", {"body": "Hi"}) for _ in range(3)]
    assert "asked not to be texted" in only(answers)["results"][0]["error"]
    assert replayed(answers) == 2
    assert await effects.count(tenant, "messages") == 0
    assert await effects.arrivals(tenant) == 0
    await effects.owner.execute("DELETE FROM opt_outs WHERE tenant_id = $1", tenant.id)
    assert replayed([await tenant.tool("send_sms", {"body": "Hi"})]) == 1  # what was answered stays answered
    assert (await other.tool("send_sms", {"body": "Hi"})).json()["results"][0]["result"]  # their choice concerns one tenant


async def test_what_was_refused_for_the_moment_runs_when_it_is_retried(
    admin: Person, tenant: Tenant, second: Process, effects: Effects
) -> None:
    await admin.post(f"/v1/admin/tenants/{tenant.id}/suspend", {})
    assert "error" in (await tenant.tool("send_sms", SMS)).json()["results"][0]
    await admin.post(f"/v1/admin/tenants/{tenant.id}/resume", {})
    answers = [await tenant.tool("send_sms", SMS), await tenant.webhook(tool_message([tool_item("send_sms", SMS)]), http=second.http)]
    assert only(answers)["results"][0]["result"]
    assert await effects.counts(tenant) == ONE_TEXT


async def test_a_retry_while_suspended_gets_the_stored_answer(admin: Person, tenant: Tenant) -> None:
    first = await tenant.tool("send_sms", SMS)
    await admin.post(f"/v1/admin/tenants/{tenant.id}/suspend", {})
    again = await tenant.tool("send_sms", SMS)
    assert (again.json(), replayed([again])) == (first.json(), 1)


async def test_calls_of_hooks_which_share_an_id_are_told_apart_by_their_arguments(tenant: Tenant, effects: Effects) -> None:
    hooks = [tool_item("send_sms", {**SMS, "body": body}, "hook-function-call") for body in ("One.", "Two.")]
    for _ in range(2):
        answer = await tenant.webhook(tool_message(hooks))
        assert [each["toolCallId"] for each in answer.json()["results"]] == ["hook-function-call"] * 2
    assert sorted(row["body"] for row in await effects.rows(tenant, "messages")) == ["One.", "Two."]


async def test_hand_made_calls_without_any_id_are_the_same_only_byte_for_byte(tenant: Tenant, effects: Effects) -> None:
    bare = {"function": {"name": "send_sms", "arguments": SMS}}
    for customer in (CALLER, CALLER, "+12135550124"):
        await tenant.webhook({"message": {"toolCallList": [bare], "customer": {"number": customer}}})
    assert await effects.count(tenant, "messages") == 2


async def test_a_first_delivery_still_in_flight_is_waited_for(tenant: Tenant, effects: Effects) -> None:
    """Another process has claimed the key and not yet committed: its stored answer is the answer."""
    first = await tenant.tool("send_sms", SMS)
    twin = effects.owner.transaction()
    (row,) = await effects.rows(tenant, "processed_webhooks")
    await effects.owner.execute("DELETE FROM processed_webhooks WHERE tenant_id = $1", tenant.id)
    await twin.start()
    names = ", ".join(row.keys())
    places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    await effects.owner.execute(f"INSERT INTO processed_webhooks ({names}) VALUES ({places})", *row.values())
    second_delivery = asyncio.create_task(tenant.tool("send_sms", SMS))
    await asyncio.sleep(0.2)
    assert not second_delivery.done()
    await twin.commit()
    answer = await second_delivery
    assert (answer.json(), replayed([answer])) == (first.json(), 1)
    assert await effects.counts(tenant) == ONE_TEXT


async def test_every_delivery_stored_is_shown_once_with_its_duplicates_aside(tenant: Tenant) -> None:
    for _ in range(3):
        await tenant.webhook(tool_message([tool_item("send_sms", SMS, "a"), tool_item("current_time", {}, "b")]))
    (webhook,) = (await tenant.get("/v1/webhooks")).json()["items"]
    assert [each["toolCallId"] for each in webhook["results"]] == ["a", "b"]
    (message,) = (await tenant.get("/v1/messages")).json()["items"]
    assert webhook["message_ids"] == [message["id"]]

"""cancel_sms and opt_out: they act once, say what happened, and reach the caller's texts of their own tenant only."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from api.wiring import Wiring
from runtime import clock
from runtime.ids import TenantId, uuid7
from tests.api.effects import Effects
from tests.api.people import CALLER, Person, Tenant, tool_item, tool_message
from tests.api.test_idempotency_switch import turn
from webhooks.acting_tools import ANOTHER, CANCELED, LEAVING, NO_MORE, STOPPED
from webhooks.acts import ACT, as_json
from webhooks.asked import Asked
from webhooks.tool_calls import ToolCall
from webhooks.tool_work import effect_of, prepared_for

LATER = {"send_at": clock.rfc3339(clock.now() + timedelta(days=30))}


async def said(tenant: Tenant, name: str, tool_call_id: str, arguments: dict[str, Any] | None = None, call_id: str = "call-1") -> str:
    """What the model hears."""
    answer = await tenant.tool(name, arguments or {}, call_id, tool_call_id)
    assert answer.status_code == 200, answer.text
    (entry,) = answer.json()["results"]
    assert (entry["toolCallId"], entry["name"]) == (tool_call_id, name)
    found: str = entry.get("result") or entry["error"]
    return found


async def text(tenant: Tenant, number: int, call_id: str = "call-1", **more: str) -> None:
    heard = await said(tenant, "send_sms", f"text-{number}", {"body": f"Text {number}.", **LATER, **more}, call_id)
    assert heard.startswith("Scheduled, leaves on ")


async def states(tenant: Tenant, effects: Effects) -> list[tuple[str, str]]:
    """Every text of the tenant with its status, in order of acceptance."""
    return [(row["body"], row["status"]) for row in sorted(await effects.rows(tenant, "messages"), key=lambda row: str(row["id"]))]


def words(said_of: dict[str, Any], happened: str) -> str:
    found: str = said_of[happened].result or said_of[happened].error
    return found


async def test_the_newest_waiting_text_to_the_caller_is_cancelled_and_only_it(tenant: Tenant, other: Tenant, effects: Effects) -> None:
    for number in (1, 2):
        await text(tenant, number)
        await text(other, number)
    await text(tenant, 3, to="+12135550199")
    await text(tenant, 4, call_id="call-2")
    assert await said(tenant, "cancel_sms", "cancel-1") == words(CANCELED, "canceled_more")
    assert await states(tenant, effects) == [
        ("Text 1.", "scheduled"),
        ("Text 2.", "canceled"),
        ("Text 3.", "scheduled"),
        ("Text 4.", "scheduled"),
    ]
    assert await states(other, effects) == [("Text 1.", "scheduled"), ("Text 2.", "scheduled")]
    assert await effects.arrivals(tenant) == 3  # the schedule is told what will not leave
    ((event,), (webhook, *_)) = (
        await effects.rows(tenant, "message_events"),
        [row for row in await effects.rows(tenant, "processed_webhooks") if row["name"] == "cancel_sms"],
    )
    assert (event["status"], event["detail"]) == ("canceled", f"tool call 0 of webhook {webhook['webhook_id']}")
    assert webhook["message_id"] == event["message_id"]  # the record leads to the text
    shown = (await tenant.get(f"/v1/messages/{event['message_id']}")).json()
    assert [step["status"] for step in shown["history"]] == ["scheduled", "canceled"]
    assert await effects.usage(tenant) == {"tool_calls": (5, 5.0)}


async def test_a_repeated_delivery_cancels_no_more_and_says_the_same(tenant: Tenant, effects: Effects) -> None:
    await text(tenant, 1)
    await text(tenant, 2)
    bodies = [await tenant.tool("cancel_sms", {}, "call-1", "cancel-1") for _ in range(3)]
    bodies += await asyncio.gather(*(tenant.tool("cancel_sms", {}, "call-1", "cancel-1") for _ in range(10)))
    assert len({body.text for body in bodies}) == 1
    assert [body.headers.get("idempotent-replayed") for body in bodies] == [None] + ["true"] * 12
    assert [status for _, status in await states(tenant, effects)] == ["scheduled", "canceled"]


async def test_asked_for_again_at_once_under_another_id_it_is_one_cancellation(tenant: Tenant, effects: Effects) -> None:
    await text(tenant, 1)
    await text(tenant, 2)
    heard = await asyncio.gather(*(said(tenant, "cancel_sms", f"cancel-{number}") for number in range(5)))
    assert sorted(set(heard)) == sorted({words(CANCELED, "canceled_more"), words(CANCELED, "again_more")})
    assert heard.count(words(CANCELED, "canceled_more")) == 1
    assert ANOTHER in words(CANCELED, "again_more")
    assert [status for _, status in await states(tenant, effects)] == ["scheduled", "canceled"]


async def test_asked_for_again_later_it_is_the_next_one(tenant: Tenant, effects: Effects) -> None:
    await text(tenant, 1)
    await text(tenant, 2)
    await said(tenant, "cancel_sms", "cancel-1")
    await effects.owner.execute("UPDATE message_events SET at = at - interval '6 seconds' WHERE tenant_id = $1", tenant.id)
    assert await said(tenant, "cancel_sms", "cancel-2") == words(CANCELED, "canceled")
    await effects.owner.execute("UPDATE message_events SET at = at - interval '6 seconds' WHERE tenant_id = $1", tenant.id)
    assert await said(tenant, "cancel_sms", "cancel-3") == words(CANCELED, "gone")
    assert [status for _, status in await states(tenant, effects)] == ["canceled", "canceled"]
    assert await effects.arrivals(tenant) == 0


@pytest.mark.parametrize(
    ("status", "happened"),
    [
        ("sending", "left"),
        ("unknown", "left"),
        ("sent", "left"),
        ("delivered", "left"),
        ("failed", "failed"),
        ("undelivered", "failed"),
        ("queued", "canceled"),
        ("held", "canceled"),
    ],
)
async def test_it_says_honestly_what_became_of_the_text(tenant: Tenant, effects: Effects, status: str, happened: str) -> None:
    await text(tenant, 1)
    await effects.owner.execute("UPDATE messages SET status = $2 WHERE tenant_id = $1", tenant.id, status)
    assert await said(tenant, "cancel_sms", "cancel-1") == words(CANCELED, happened)
    assert await states(tenant, effects) == [("Text 1.", "canceled" if happened == "canceled" else status)]
    assert (await effects.usage(tenant))["tool_calls"][0] == (2 if happened == "canceled" else 1)  # what was not done is not billed


async def test_without_a_text_or_a_caller_or_a_call_nothing_is_done(tenant: Tenant) -> None:
    assert await said(tenant, "cancel_sms", "cancel-1") == words(CANCELED, "none")
    for name in ("cancel_sms", "opt_out"):
        for number in (None, "anonymous", "12"):
            body = tool_message([tool_item(name, {"to": CALLER, "caller": CALLER}, f"{name}-{number}")], customer={"number": number})
            entry = (await tenant.webhook(body)).json()["results"][0]
            assert entry["error"] == "Nothing was done: the number of the caller is not known."
    no_call = await tenant.webhook(tool_message([tool_item("cancel_sms", {}, "x")], call_id=None))
    assert "no phone call" in no_call.json()["results"][0]["error"]


async def test_whoever_opts_out_is_texted_no_more_by_this_tenant(tenant: Tenant, other: Tenant, effects: Effects) -> None:
    for number, call_id in ((1, "call-1"), (2, "call-2")):
        await text(tenant, number, call_id)
    await text(tenant, 3, to="+12135550199")
    await text(other, 1)
    assert await said(tenant, "opt_out", "out-1") == words(STOPPED, "stopped_canceled")
    assert [status for _, status in await states(tenant, effects)] == ["canceled", "canceled", "scheduled"]
    assert [status for _, status in await states(other, effects)] == ["scheduled"]
    ((kept,), nobody) = (await effects.rows(tenant, "opt_outs"), await effects.rows(other, "opt_outs"))
    assert ((kept["recipient"], kept["source"]), nobody) == ((CALLER, "call"), [])
    assert await effects.arrivals(tenant) == 1
    assert "asked not to be texted" in await said(tenant, "send_sms", "text-9", {"body": "Hi"})
    assert (await said(other, "send_sms", "text-9", {"body": "Hi"})).startswith("Queued")
    assert await said(tenant, "opt_out", "out-1") == words(STOPPED, "stopped_canceled")  # a repeated delivery
    assert await said(tenant, "opt_out", "out-2") == NO_MORE  # asked for again


async def test_a_text_on_its_way_is_told(tenant: Tenant, effects: Effects) -> None:
    await text(tenant, 1)
    await text(tenant, 2)
    await effects.owner.execute("UPDATE messages SET status = 'sending' WHERE tenant_id = $1 AND body = 'Text 1.'", tenant.id)
    heard = await said(tenant, "opt_out", "out-1")
    assert heard == words(STOPPED, "stopped_canceled_leaving")
    assert LEAVING in heard
    assert [status for _, status in await states(tenant, effects)] == ["sending", "canceled"]


async def test_several_tools_in_one_delivery_act_in_their_order_and_answer_in_it(tenant: Tenant, effects: Effects) -> None:
    items = [
        tool_item("send_sms", {"body": "First.", **LATER}, "a"),
        tool_item("cancel_sms", {}, "b"),
        tool_item("send_sms", {"body": "Second.", **LATER}, "c"),
        tool_item("current_time", {}, "d"),
        tool_item("opt_out", {}, "e"),
        tool_item("send_sms", {"body": "Third.", **LATER}, "f"),
    ]
    answers = [await tenant.webhook(tool_message(items)) for _ in range(2)]
    assert answers[0].content == answers[1].content
    assert answers[1].headers["idempotent-replayed"] == "true"
    results = answers[0].json()["results"]
    assert [each["toolCallId"] for each in results] == list("abcdef")
    assert results[1]["result"] == words(CANCELED, "canceled")
    assert results[4]["result"] == words(STOPPED, "stopped_canceled")
    assert "asked not to be texted" in results[5]["error"]
    assert await states(tenant, effects) == [("First.", "canceled"), ("Second.", "canceled")]


@pytest.mark.parametrize(("mode", "keys"), [("observe", 3), ("off", 0)])
async def test_without_enforcing_a_second_delivery_acts_again(
    admin: Person, tenant: Tenant, effects: Effects, mode: str, keys: int
) -> None:
    await turn(admin, mode, tenant)
    await text(tenant, 1)
    await text(tenant, 2)
    assert await said(tenant, "cancel_sms", "cancel-1") == words(CANCELED, "canceled_more")
    await effects.owner.execute("UPDATE message_events SET at = at - interval '6 seconds' WHERE tenant_id = $1", tenant.id)
    assert await said(tenant, "cancel_sms", "cancel-1") == words(CANCELED, "canceled")
    assert [status for _, status in await states(tenant, effects)] == ["canceled", "canceled"]
    assert await effects.count(tenant, "processed_webhooks") == keys
    assert await said(tenant, "opt_out", "out-1") == NO_MORE


@pytest.mark.parametrize("mode", ["enforce", "observe", "off"])
async def test_a_round_trip_whose_answer_was_lost_acts_once(tenant: Tenant, wiring: Wiring, effects: Effects, mode: str) -> None:
    await text(tenant, 1)
    await text(tenant, 2)
    snapshot = await wiring.tenants.by_slug(tenant.slug)
    assert snapshot is not None
    tool = ToolCall("cancel-1", "cancel_sms", {})
    asked = Asked(uuid7(), 0, "tool-calls", "call-1", None, CALLER, tool, b"{}", uuid7().bytes)
    prepared = prepared_for(snapshot, asked)
    assert prepared.act is not None
    wanted = as_json(TenantId(snapshot.id), asked, effect_of(snapshot, asked, prepared), prepared.act)
    rows = [(await wiring.database.call(snapshot.id, ACT, snapshot.id, wanted, mode))[0] for _ in range(3)]
    assert len({(row["outcome"], row["answer"], row["message_id"]) for row in rows}) == 1
    assert [status for _, status in await states(tenant, effects)] == ["scheduled", "canceled"]
    assert (await effects.usage(tenant))["tool_calls"] == (3, 3.0)


async def test_an_id_that_was_used_for_something_else_does_nothing(tenant: Tenant, effects: Effects) -> None:
    await text(tenant, 1)
    await tenant.tool("cancel_sms", {"note": "a"}, "call-2", "cancel-1")
    answer = await tenant.tool("cancel_sms", {"note": "b"}, "call-2", "cancel-1")
    assert "made before with other arguments" in answer.json()["results"][0]["error"]
    assert await states(tenant, effects) == [("Text 1.", "scheduled")]


async def test_a_suspended_tenants_tools_do_nothing(admin: Person, tenant: Tenant, effects: Effects) -> None:
    await text(tenant, 1)
    assert (await admin.post(f"/v1/admin/tenants/{tenant.id}/suspend", {})).status_code == 200
    for name in ("cancel_sms", "opt_out"):
        assert "paused" in await said(tenant, name, name)
    assert (await states(tenant, effects), await effects.count(tenant, "opt_outs")) == ([("Text 1.", "scheduled")], 0)


async def test_a_function_call_of_old_acts_too(tenant: Tenant, effects: Effects) -> None:
    await text(tenant, 1)
    call = {"type": "function-call", "call": {"id": "call-1"}, "customer": {"number": CALLER}}
    bodies = [await tenant.webhook({"message": {**call, "functionCall": {"name": "cancel_sms", "parameters": "{}"}}}) for _ in range(2)]
    assert [body.json() for body in bodies] == [{"result": words(CANCELED, "canceled")}] * 2
    assert await states(tenant, effects) == [("Text 1.", "canceled")]

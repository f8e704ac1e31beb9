"""The model often calls a tool twice with two ids: the same text to the same person in one call is one text, and the answer says so."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from api.wiring import Wiring
from runtime.ids import uuid7
from runtime.settings import Settings
from tests.api.effects import Effects
from tests.api.people import Tenant, tool_item, tool_message
from tests.api.processes import Process, running
from webhooks.claims import ACCEPT, Effect, as_json
from webhooks.tools import SAME_TEXT

SMS = {"to": "+12135550199", "body": "You are booked for ten."}


@pytest.fixture(scope="module")
async def second(settings: Settings) -> AsyncIterator[Process]:
    async with running(settings) as started:
        yield started


async def said(tenant: Tenant, tool_call_id: str, call_id: str = "call-1", **changes: Any) -> str:
    """What the model hears."""
    answer = await tenant.tool("send_sms", {**SMS, **changes}, call_id, tool_call_id)
    assert answer.status_code == 200, answer.text
    (entry,) = answer.json()["results"]
    assert entry["toolCallId"] == tool_call_id
    found: str = entry.get("result") or entry["error"]
    return found


async def test_the_same_text_under_another_id_is_one_text_and_says_so(tenant: Tenant, effects: Effects) -> None:
    first, again = await said(tenant, "tool-1"), await said(tenant, "tool-2")
    assert first.startswith("Queued, leaves")
    assert again == SAME_TEXT
    assert await effects.counts(tenant) == {"processed_webhooks": 2, "messages": 1, "usage_events": 1}
    assert await effects.arrivals(tenant) == 1
    one, two = sorted(await effects.rows(tenant, "processed_webhooks"), key=lambda row: str(row["received_at"]))
    assert one["message_id"] == two["message_id"] is not None  # the record leads to the text that there is


async def test_both_answers_stay_what_they_were(tenant: Tenant, effects: Effects) -> None:
    before = [await said(tenant, "tool-1"), await said(tenant, "tool-2")]
    assert [await said(tenant, "tool-1"), await said(tenant, "tool-2")] == before
    assert await effects.count(tenant, "messages") == 1


@pytest.mark.parametrize(
    ("tool_call_id", "call_id", "changes"),
    [
        ("tool-2", "call-2", {}),
        ("tool-2", "call-1", {"body": "You are booked for eleven."}),
        ("tool-2", "call-1", {"to": "+12135550198"}),
        ("tool-2", "call-1", {"send_at": "2099-01-01T09:00:00Z"}),
    ],
    ids=["another call", "other words", "another person", "another time"],
)
async def test_what_differs_is_another_text(
    tenant: Tenant, effects: Effects, tool_call_id: str, call_id: str, changes: dict[str, str]
) -> None:
    if "send_at" in changes:
        changes = {"send_at": (await effects.owner.fetchval("SELECT app.now() + interval '2 hours'")).isoformat()}
    await said(tenant, "tool-1")
    assert await said(tenant, tool_call_id, call_id, **changes) != SAME_TEXT
    assert await effects.count(tenant, "messages") == 2


async def test_two_tenants_with_equal_calls_text_each(tenant: Tenant, other: Tenant, effects: Effects) -> None:
    for each in (tenant, other):
        assert (await said(each, "tool-1")).startswith("Queued")
        assert await effects.count(each, "messages") == 1


@pytest.mark.parametrize(("ago", "texts"), [("9 minutes 50 seconds", 1), ("10 minutes 1 second", 2)])
async def test_after_ten_minutes_it_is_a_text_of_its_own(tenant: Tenant, effects: Effects, ago: str, texts: int) -> None:
    await said(tenant, "tool-1")
    await effects.owner.execute(
        "UPDATE messages SET created_at = created_at - $2::text::interval, due_at = due_at - $2::text::interval WHERE tenant_id = $1",
        tenant.id,
        ago,
    )
    await said(tenant, "tool-2")
    assert await effects.count(tenant, "messages") == texts


@pytest.mark.parametrize(
    ("status", "texts"), [("failed", 2), ("undelivered", 2), ("canceled", 2), ("sent", 1), ("unknown", 1), ("delivered", 1)]
)
async def test_a_text_that_did_not_arrive_may_be_asked_for_again(tenant: Tenant, effects: Effects, status: str, texts: int) -> None:
    await said(tenant, "tool-1")
    await effects.owner.execute("UPDATE messages SET status = $2 WHERE tenant_id = $1", tenant.id, status)
    await said(tenant, "tool-2")
    assert await effects.count(tenant, "messages") == texts


async def test_twice_in_one_delivery_is_one_text(tenant: Tenant, effects: Effects) -> None:
    items = [
        tool_item("send_sms", SMS, "a"),
        tool_item("current_time", {}, "b"),
        tool_item("send_sms", SMS, "c"),
        tool_item("send_sms", SMS, "d"),
    ]
    answer = await tenant.webhook(tool_message(items))
    results = answer.json()["results"]
    assert [each["toolCallId"] for each in results] == ["a", "b", "c", "d"]
    assert [each["result"] == SAME_TEXT for each in results] == [False, False, True, True]
    assert await effects.count(tenant, "messages") == 1
    again = await tenant.webhook(tool_message(items))
    assert (again.json(), again.headers["idempotent-replayed"]) == (answer.json(), "true")


async def test_many_ids_at_once_over_two_processes_are_one_text(tenant: Tenant, second: Process, effects: Effects) -> None:
    deliveries = [
        tenant.webhook(tool_message([tool_item("send_sms", SMS, f"tool-{number}")]), http=http)
        for number in range(15)
        for http in (tenant.http, second.http)
    ]
    answers = await asyncio.gather(*deliveries)
    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers if answer.status_code != 200][:2]
    spoken = [answer.json()["results"][0]["result"] for answer in answers]
    assert sum(each != SAME_TEXT for each in spoken) == 2  # the one that was first, in both processes
    assert await effects.counts(tenant) == {"processed_webhooks": 15, "messages": 1, "usage_events": 1}


async def test_whoever_opted_out_is_not_texted_either_way(tenant: Tenant, effects: Effects) -> None:
    await effects.owner.execute("INSERT INTO opt_outs (tenant_id, recipient, source) VALUES ($1, $2, 'api')", tenant.id, SMS["to"])
    assert "asked not to be texted" in await said(tenant, "tool-1")
    assert "asked not to be texted" in await said(tenant, "tool-2")
    assert await effects.count(tenant, "messages") == 0


async def test_without_a_call_nothing_is_taken_for_the_same(tenant: Tenant, effects: Effects) -> None:
    for tool_call_id in ("tool-1", "tool-2"):
        await tenant.webhook(tool_message([tool_item("send_sms", SMS, tool_call_id)], None))
    assert await effects.count(tenant, "messages") == 2


async def test_a_text_that_twilio_put_off_is_still_the_same(tenant: Tenant, effects: Effects) -> None:
    """Twilio said "not now": the text waits for another moment than the one it was accepted at."""
    await said(tenant, "tool-1")
    await effects.owner.execute("UPDATE messages SET attempt = 1, due_at = due_at + interval '40 seconds' WHERE tenant_id = $1", tenant.id)
    assert await said(tenant, "tool-2") == SAME_TEXT
    assert await effects.count(tenant, "messages") == 1


async def test_two_ids_of_one_text_meet_before_either_claims(tenant: Tenant, wiring: Wiring, effects: Effects) -> None:
    """Whoever comes second claims nothing until the first has committed."""
    effect = Effect(
        webhook_id=uuid7(), place=0, source="vapi", type="tool-calls", key="ab" * 16, fingerprint="cd" * 16, answer="{}", business=4242
    )
    async with effects.owner.transaction():
        await effects.owner.execute("SELECT pg_advisory_xact_lock(4242)")
        second = asyncio.create_task(
            wiring.database.call_for_many(ACCEPT, tenant.id, as_json([effect]), [4242], False, None, None, None, None)
        )
        await asyncio.sleep(0.3)
        assert not second.done()
    assert [row["outcome"] for row in await second] == ["new"]


async def test_a_repeated_delivery_waits_for_nobody(tenant: Tenant, wiring: Wiring, effects: Effects) -> None:
    """What is known is looked up before any lock is taken: a flood of twins does not queue behind a slow one."""
    effect = Effect(
        webhook_id=uuid7(), place=0, source="vapi", type="tool-calls", key="ef" * 16, fingerprint="cd" * 16, answer="{}", business=4243
    )
    again = msgspec.structs.replace(effect, webhook_id=uuid7(), answer='{"not": "this"}')
    (first,) = await wiring.database.call_for_many(ACCEPT, tenant.id, as_json([effect]), [4243], False, None, None, None, None)
    async with effects.owner.transaction():
        await effects.owner.execute("SELECT pg_advisory_xact_lock(4243)")
        repeated = asyncio.create_task(
            wiring.database.call_for_many(ACCEPT, tenant.id, as_json([again]), [4243], False, None, None, None, None)
        )
        answered, _ = await asyncio.wait({repeated}, timeout=5)
        assert answered
    (second,) = await repeated
    assert (first["outcome"], second["outcome"], second["answer"]) == ("new", "replay", "{}")

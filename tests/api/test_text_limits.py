"""At most so many texts in a call, and to a recipient in a day: whatever the ids, however many at once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from api.wiring import Wiring
from messaging.text_policy import CALL_FULL, RECIPIENT_FULL, day_from
from runtime import clock
from runtime.ids import TenantId
from runtime.metrics import TEXT_REFUSALS
from runtime.settings import Settings
from tests.api.effects import Effects
from tests.api.people import CALLER, Person, Tenant, tool_item, tool_message
from tests.api.processes import Process, running
from webhooks.tool_work import counted
from webhooks.tools import SAME_TEXT

PEOPLE = [f"+121355501{number:02d}" for number in range(100)]


@pytest.fixture(scope="module")
async def second(settings: Settings) -> AsyncIterator[Process]:
    async with running(settings) as started:
        yield started


def one(number: int, call_id: str = "call-1", to: str | None = None) -> dict[str, Any]:
    """A text that nothing else is the same as."""
    return tool_message([tool_item("send_sms", {"to": to or PEOPLE[number % 100], "body": f"Text {number}."}, f"tool-{number}")], call_id)


async def said(tenant: Tenant, body: Any, process: Process | None = None) -> str:
    """What the model hears."""
    answer = await tenant.webhook(body, http=process.http if process else None)
    assert answer.status_code == 200, answer.text
    (entry,) = answer.json()["results"]
    heard: str = entry.get("error") or entry["result"]
    return heard


def refused(heard: list[str], sentence: str) -> int:
    return sum(each == sentence for each in heard)


async def refusals(tenant: Tenant, query: str = "") -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await tenant.get(f"/v1/text-refusals{query}")).json()["items"]
    return items


async def test_fifty_texts_of_one_call_at_once_are_three(tenant: Tenant, second: Process, effects: Effects) -> None:
    bodies = [one(number) for number in range(50)]
    counted = TEXT_REFUSALS.labels("call_limit")._value.get()
    heard = await asyncio.gather(*(said(tenant, body, second if place % 2 else None) for place, body in enumerate(bodies)))
    assert refused(heard, CALL_FULL) == 47
    assert await effects.counts(tenant) == {"processed_webhooks": 50, "messages": 3, "usage_events": 3}
    assert await effects.arrivals(tenant) == 3
    assert 0 < TEXT_REFUSALS.labels("call_limit")._value.get() - counted < 48
    again = await asyncio.gather(*(said(tenant, body, None if place % 2 else second) for place, body in enumerate(bodies)))
    assert again == heard
    assert await effects.count(tenant, "messages") == 3
    kept = await refusals(tenant, "?limit=200&call_id=call-1")
    assert [(each["reason"], each["tool"], each["call_id"]) for each in kept] == [("call_limit", "send_sms", "call-1")] * 47
    assert (await tenant.get("/v1/text-policy")).json()["refused"] == {"call_limit": 47}
    assert await refusals(tenant, "?call_id=call-2") == []


@pytest.mark.parametrize("which", [0, 1])
async def test_who_is_counted_waits_for_those_of_its_call_and_recipient(which: int, tenant: Tenant, effects: Effects) -> None:
    """Whoever holds the number of the call, or of the recipient, is waited for: what it stores is committed before it is counted."""
    numbers = counted(TenantId(UUID(tenant.id)), "call-1", {"recipient": PEOPLE[0]})
    assert numbers is not None
    async with effects.owner.transaction():
        await effects.owner.execute("SELECT pg_advisory_xact_lock($1)", numbers[which])
        waiting = asyncio.create_task(said(tenant, one(0)))
        await asyncio.sleep(0.5)
        assert not waiting.done()
    assert await asyncio.wait_for(waiting, 10) not in (CALL_FULL, RECIPIENT_FULL)
    assert await effects.count(tenant, "messages") == 1


async def test_a_recipient_of_many_calls_at_once_gets_ten(tenant: Tenant, second: Process, effects: Effects) -> None:
    bodies = [one(number, f"call-{number // 2}", CALLER) for number in range(40)]
    heard = await asyncio.gather(*(said(tenant, body, second if place % 2 else None) for place, body in enumerate(bodies)))
    assert refused(heard, RECIPIENT_FULL) == 30
    assert await effects.count(tenant, "messages") == 10
    assert await said(tenant, one(100, "call-100", PEOPLE[77])) != RECIPIENT_FULL  # anybody else


async def test_texts_of_one_delivery_see_each_other_in_their_order(tenant: Tenant, effects: Effects) -> None:
    items = [tool_item("send_sms", {"to": PEOPLE[place], "body": f"Text {place}."}, f"tool-{place}") for place in range(5)]
    results = (await tenant.webhook(tool_message(items))).json()["results"]
    assert [each.get("error") for each in results] == [None, None, None, CALL_FULL, CALL_FULL]
    assert await effects.count(tenant, "messages") == 3


async def test_a_text_that_is_refused_takes_nobodys_place(tenant: Tenant, effects: Effects) -> None:
    """The first of four in a delivery goes to somebody whose day is used up: the three others leave."""
    assert (await tenant.ask("PUT", "/v1/text-policy", {"texts_per_recipient_day": 1})).status_code == 200
    await said(tenant, one(0, "call-0"))
    items = [tool_item("send_sms", {"to": PEOPLE[place], "body": f"More {place}."}, f"tool-{place}") for place in range(4)]
    results = (await tenant.webhook(tool_message(items))).json()["results"]
    assert [each.get("error") for each in results] == [RECIPIENT_FULL, None, None, None]
    assert await effects.count(tenant, "messages") == 4


async def test_what_made_no_text_does_not_count(tenant: Tenant, effects: Effects) -> None:
    for _ in range(3):
        await said(tenant, one(1))
    for number in range(2, 5):
        assert (
            await said(tenant, tool_message([tool_item("send_sms", {"to": PEOPLE[1], "body": "Text 1."}, f"same-{number}")])) == SAME_TEXT
        )
    await effects.owner.execute("INSERT INTO opt_outs (tenant_id, recipient, source) VALUES ($1, $2, 'api')", tenant.id, PEOPLE[9])
    for number in range(3):
        assert "asked not to be texted" in await said(tenant, one(100 * number + 9))
    await effects.owner.execute("UPDATE messages SET status = 'failed' WHERE tenant_id = $1", tenant.id)  # it never left
    heard = [await said(tenant, one(number)) for number in range(20, 24)]
    assert [each == CALL_FULL for each in heard] == [False, False, False, True]


@pytest.mark.parametrize(
    "changed", ["status = 'canceled'", "status = 'undelivered'", "status = 'failed', twilio_sid = 'SM' || id", "status = 'held'"]
)
async def test_what_left_or_was_canceled_still_counts(tenant: Tenant, effects: Effects, changed: str) -> None:
    """Or a caller could have a text canceled and sent again without end."""
    for number in range(3):
        await said(tenant, one(number))
    await effects.owner.execute(f"UPDATE messages SET {changed} WHERE tenant_id = $1", tenant.id)
    assert await said(tenant, one(3)) == CALL_FULL


async def test_a_new_day_begins_at_the_tenants_midnight(tenant: Tenant, wiring: Wiring, effects: Effects) -> None:
    assert (await tenant.ask("PUT", "/v1/text-policy", {"texts_per_recipient_day": 2})).status_code == 200
    assert [await said(tenant, one(number, f"call-{number}", CALLER)) == RECIPIENT_FULL for number in range(3)] == [False, False, True]
    found = await wiring.tenants.by_slug(tenant.slug)
    assert found is not None
    midnight = day_from(found.zone, clock.now())
    moved = "UPDATE messages SET created_at = $2 WHERE tenant_id = $1 AND body = 'Text 0.'"
    await effects.owner.execute(moved, tenant.id, midnight)
    assert await said(tenant, one(10, "call-10", CALLER)) == RECIPIENT_FULL
    await effects.owner.execute(moved, tenant.id, midnight - timedelta(microseconds=1))
    assert await said(tenant, one(11, "call-11", CALLER)) != RECIPIENT_FULL
    assert await said(tenant, one(12, "call-12", CALLER)) == RECIPIENT_FULL


async def test_the_tenants_own_texts_neither_count_nor_are_counted(tenant: Tenant, effects: Effects) -> None:
    for number in range(12):
        answer = await tenant.post("/v1/messages", {"to": CALLER, "body": f"Bulk {number}."})
        assert answer.status_code == 202, answer.text
    assert await said(tenant, one(0, to=CALLER)) != RECIPIENT_FULL
    assert (await tenant.post("/v1/messages", {"to": CALLER, "body": "evil.com"})).status_code == 202
    assert await effects.count(tenant, "messages") == 14


async def test_tenants_with_equal_calls_share_no_limit(tenant: Tenant, other: Tenant, effects: Effects) -> None:
    heard = await asyncio.gather(*(said(each, one(number)) for number in range(5) for each in (tenant, other)))
    assert refused(heard, CALL_FULL) == 4
    assert [await effects.count(each, "messages") for each in (tenant, other)] == [3, 3]
    assert [len(await refusals(each)) for each in (tenant, other)] == [2, 2]


@pytest.mark.parametrize("mode", ["observe", "off"])
async def test_the_limit_holds_while_keys_are_not_enforced(
    tenant: Tenant, admin: Person, wiring: Wiring, effects: Effects, mode: str
) -> None:
    await admin.ask("PUT", "/v1/admin/switches", {"name": "idempotency", "mode": mode, "tenant_id": tenant.id})
    wiring.tenants.forget(tenant.slug)
    heard = await asyncio.gather(*(said(tenant, one(number)) for number in range(20)))
    assert refused(heard, CALL_FULL) == 17
    assert await effects.count(tenant, "messages") == 3
    assert len(await refusals(tenant)) == 17


async def test_who_opted_out_of_one_sender_is_not_texted_from_it(tenant: Tenant, effects: Effects) -> None:
    entered = "INSERT INTO sender_opt_outs (tenant_id, recipient, sender_id, source) VALUES ($1, $2, $3, 'inbound')"
    await effects.owner.execute(entered, tenant.id, PEOPLE[0], UUID(tenant.sender["id"]))
    await effects.owner.execute(entered, tenant.id, PEOPLE[1], UUID(int=7))
    assert "asked not to be texted" in await said(tenant, one(0))
    assert "asked not to be texted" not in await said(tenant, one(1))

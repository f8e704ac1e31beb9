"""A call is reported many times and in any order: it is one call with its seconds and cost on the bill once."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from tests.api.effects import Effects
from tests.api.people import Tenant

ENDED = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
STARTED = ENDED - timedelta(seconds=58.72)
FULL: dict[str, Any] = {
    "startedAt": STARTED.isoformat(),
    "endedAt": ENDED.isoformat(),
    "cost": 0.0691,
    "endedReason": "customer-ended-call",
}


def report(call_id: str = "call-1", **message: Any) -> dict[str, Any]:
    """A report; `message.call` is a snapshot from before the call."""
    return {"message": {"type": "end-of-call-report", "call": {"id": call_id, "status": "ringing", "cost": 0}, **message}}


def status(value: str, call_id: str = "call-1", **message: Any) -> dict[str, Any]:
    return {"message": {"type": "status-update", "status": value, "call": {"id": call_id}, **message}}


async def call_of(tenant: Tenant, call_id: str = "call-1") -> dict[str, Any]:
    answer = await tenant.get(f"/v1/calls/{call_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


BILLED = {"calls": (1, 1.0), "call_seconds": (1, 58.72), "vapi_cost_usd": (1, 0.0691)}


async def test_a_report_three_times_with_other_addresses_is_one_call(tenant: Tenant, effects: Effects) -> None:
    for number in range(3):
        answer = await tenant.webhook(report(**FULL, artifact={"recordingUrl": f"https://storage.example/{number}"}))
        assert (answer.status_code, answer.json()) == (200, {})
        assert (answer.headers.get("idempotent-replayed") == "true") == (number > 0)
    assert await effects.counts(tenant) == {"processed_webhooks": 1, "calls": 1, "usage_events": 3}
    assert await effects.usage(tenant) == BILLED
    call = await call_of(tenant)
    assert (call["seconds"], call["cost"], call["state"]) == ("58.72", {"amount": "0.0691", "currency": "USD"}, "ended")
    (event,) = {row["occurred_at"] for row in await effects.rows(tenant, "usage_events")}
    assert event == ENDED  # dated by when it happened


async def test_reports_at_once_are_one_call(tenant: Tenant, effects: Effects) -> None:
    await asyncio.gather(*(tenant.webhook(report(**FULL, artifact={"recordingUrl": str(number)})) for number in range(20)))
    assert await effects.usage(tenant) == BILLED
    assert await effects.count(tenant, "calls") == 1


async def test_a_fuller_report_fills_the_gaps_and_the_bill(tenant: Tenant, effects: Effects) -> None:
    await tenant.webhook(report(endedReason="customer-ended-call"))
    call = await call_of(tenant)
    assert (call["seconds"], call["cost"]) == (None, None)
    assert await effects.usage(tenant) == {"calls": (1, 1.0)}
    fuller = await tenant.webhook(report(**FULL))
    assert "idempotent-replayed" not in fuller.headers  # it told something new
    assert (await call_of(tenant))["seconds"] == "58.72"
    assert await effects.usage(tenant) == BILLED
    assert await effects.count(tenant, "processed_webhooks") == 1


async def test_a_report_of_an_earlier_time_changes_nothing_that_is_known(tenant: Tenant, effects: Effects) -> None:
    await tenant.webhook(report(**FULL, timestamp=2_000))
    for other in ({**FULL, "cost": 99}, {**FULL, "endedAt": (ENDED + timedelta(hours=1)).isoformat()}, {}, {"endedReason": "another"}):
        assert (await tenant.webhook(report(**other, timestamp=1_999))).json() == {}
    call = await call_of(tenant)
    assert (call["seconds"], call["cost"]["amount"], call["ended_reason"]) == ("58.72", "0.0691", "customer-ended-call")
    assert await effects.usage(tenant) == BILLED


async def test_of_a_report_of_a_later_time_every_word_stands_and_no_gap(tenant: Tenant, effects: Effects) -> None:
    await tenant.webhook(report(**FULL, timestamp=2_000))
    await tenant.webhook(report(cost=0.05, timestamp=2_001))
    call = await call_of(tenant)
    assert (call["seconds"], call["cost"]["amount"], call["ended_reason"]) == ("58.72", "0.05", "customer-ended-call")
    assert await effects.usage(tenant) == BILLED | {"vapi_cost_usd": (2, 0.05)}


async def test_an_estimate_is_shown_until_the_seconds_are_known_and_never_billed(tenant: Tenant, effects: Effects) -> None:
    await tenant.webhook(report(messages=[{"time": 1.7e12, "endTime": 1.7e12 + 42608}]))
    call = await call_of(tenant)
    assert (call["seconds"], call["estimated"]) == ("42.608", True)
    assert set(await effects.usage(tenant)) == {"calls"}
    await tenant.webhook(report(**FULL))
    call = await call_of(tenant)
    assert (call["seconds"], call["estimated"]) == ("58.72", False)
    assert await effects.usage(tenant) == BILLED


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
async def test_states_arrive_in_any_order_and_only_rise(order: tuple[int, ...], tenant: Tenant, effects: Effects) -> None:
    deliveries = [status("in-progress"), status("ended", endedReason="customer-ended-call"), report(**FULL)]
    for place in order:
        await tenant.webhook(deliveries[place])
    call = await call_of(tenant)
    assert (call["state"], call["seconds"], call["ended_reason"]) == ("ended", "58.72", "customer-ended-call")
    assert await effects.usage(tenant) == BILLED
    assert await effects.counts(tenant) == {"processed_webhooks": 3, "calls": 1, "usage_events": 3}


async def test_a_status_after_the_report_does_not_open_the_call_again(tenant: Tenant) -> None:
    await tenant.webhook(report(**FULL))
    for late in ("queued", "in-progress", "forwarding", "something-new"):
        assert (await tenant.webhook(status(late))).json() == {}
    assert (await call_of(tenant))["state"] == "ended"


async def test_a_status_alone_bills_nothing(tenant: Tenant, effects: Effects) -> None:
    for value in ("ringing", "in-progress", "ended", "ended", "in-progress"):
        await tenant.webhook(status(value))
    assert await effects.counts(tenant) == {"processed_webhooks": 3, "calls": 1}
    assert (await call_of(tenant))["state"] == "ended"


async def test_the_end_of_a_call_that_cannot_be_true_does_not_move_the_bill(tenant: Tenant, effects: Effects) -> None:
    """A report dated in years to come would be on no invoice; its duration is taken, its date is ours."""
    await tenant.webhook(report(startedAt="2099-01-01T00:00:00Z", endedAt="2099-01-01T00:01:00Z", durationSeconds=60))
    assert (await effects.usage(tenant))["call_seconds"] == (1, 60.0)
    assert all(row["occurred_at"] <= datetime.now(UTC) + timedelta(seconds=5) for row in await effects.rows(tenant, "usage_events"))


async def test_equal_calls_of_two_tenants_are_two(tenant: Tenant, other: Tenant, effects: Effects) -> None:
    for each in (tenant, other, tenant, other):
        await each.webhook(report(**FULL))
    assert await effects.usage(tenant) == await effects.usage(other) == BILLED


async def test_a_report_without_a_call_is_kept_and_bills_nothing(tenant: Tenant, effects: Effects) -> None:
    """Two calls could share a key without an id; no call is better than the wrong one."""
    body = {"message": {"type": "end-of-call-report", **FULL}}
    for _ in range(2):
        assert (await tenant.webhook(body)).json() == {}
    assert await effects.counts(tenant) == {"processed_webhooks": 1}


async def test_a_call_is_shown_with_all_that_belongs_to_it(tenant: Tenant) -> None:
    await tenant.tool("send_sms", {"body": "Hi"})
    assert (await call_of(tenant))["state"] == "unknown"  # only a tool call spoke of it
    await tenant.webhook(status("in-progress"))
    await tenant.webhook(report(**FULL))
    call = await call_of(tenant)
    assert [each["type"] for each in call["webhooks"]] == ["end-of-call-report", "status-update", "tool-calls"]
    assert [each["body"] for each in call["messages"]] == ["Hi"]
    assert (call["started_at"], call["ended_at"]) == (
        STARTED.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        ENDED.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    )

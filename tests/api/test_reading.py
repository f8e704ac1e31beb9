"""Webhooks, calls, usage, the invoice and limits, read back."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from tests.api.effects import Effects
from tests.api.people import Person, Tenant, new_tenant, sender_body, tool_item, tool_message

ENDED = datetime.now(UTC).replace(microsecond=0)


def report(call_id: str, seconds: float = 60, cost: float = 0.5, ended: datetime = ENDED) -> dict[str, Any]:
    times = {"startedAt": (ended - timedelta(seconds=seconds)).isoformat(), "endedAt": ended.isoformat()}
    return {"message": {"type": "end-of-call-report", "call": {"id": call_id}, "cost": cost, **times}}


async def pages(tenant: Person, path: str, limit: int) -> list[dict[str, Any]]:
    """All items, page by page."""
    found, cursor = [], ""
    while True:
        answer = await tenant.get(f"{path}{'&' if '?' in path else '?'}limit={limit}{cursor}")
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["items"]) <= limit
        found += answer.json()["items"]
        if answer.json()["next_cursor"] is None:
            return found
        cursor = f"&cursor={answer.json()['next_cursor']}"


@pytest.fixture(scope="module")
async def busy(admin: Person) -> Tenant:
    """Six webhooks of three calls: two good tool calls, a bad one, one of both, a report, a hang."""
    tenant = await new_tenant(admin)
    good, bad = tool_item("current_time", {}, "good"), tool_item("fly", {}, "bad")
    for call, items in (("call-1", [good]), ("call-2", [good]), ("call-2", [bad]), ("call-3", [{**good, "id": "x"}, {**bad, "id": "y"}])):
        assert (await tenant.webhook(tool_message(items, call))).status_code == 200
    assert (await tenant.webhook(report("call-1"))).status_code == 200
    assert (await tenant.webhook({"message": {"type": "hang", "call": {"id": "call-3"}}})).status_code == 200
    assert (await tenant.webhook(report("call-2", seconds=30, ended=ENDED - timedelta(days=2)))).status_code == 200
    return tenant


TOOL = "tool-calls"
WEBHOOKS: dict[str, list[tuple[str, str, str]]] = {
    "?call_id=call-1": [("end-of-call-report", "call-1", "done"), (TOOL, "call-1", "done")],
    "?state=failed": [(TOOL, "call-3", "failed"), (TOOL, "call-2", "failed")],
    "?state=done&type=tool-calls": [(TOOL, "call-2", "done"), (TOOL, "call-1", "done")],
    "?type=hang": [("hang", "call-3", "done")],
    "?type=tool-calls&call_id=call-2": [(TOOL, "call-2", "failed"), (TOOL, "call-2", "done")],
    "?type=nothing": [],
    "?state=lost": [],
}


@pytest.mark.parametrize("limit", [1, 2, 200])
@pytest.mark.parametrize(("query", "wanted"), WEBHOOKS.items(), ids=WEBHOOKS)
async def test_webhooks_are_filtered_and_paged(query: str, wanted: list[tuple[str, str, str]], limit: int, busy: Tenant) -> None:
    found = await pages(busy, f"/v1/webhooks{query}", limit)
    assert [(each["type"], each["call_id"], each["state"]) for each in found] == wanted


async def test_a_webhook_shows_what_was_answered(busy: Tenant) -> None:
    (both,) = (await busy.get("/v1/webhooks?call_id=call-3&type=tool-calls")).json()["items"]
    assert (await busy.get(f"/v1/webhooks/{both['id']}")).json() == both
    assert [set(result) for result in both["results"]] == [{"toolCallId", "name", "result"}, {"toolCallId", "name", "error"}]
    assert both["error"] == both["results"][1]["error"]
    assert (both["duplicates"], both["message_ids"]) == (0, [])
    assert datetime.fromisoformat(both["received_at"]) >= ENDED - timedelta(minutes=1)


@pytest.mark.parametrize("limit", [1, 2, 200])
async def test_calls_are_paged(limit: int, busy: Tenant) -> None:
    found = await pages(busy, "/v1/calls", limit)
    assert [(each["call_id"], each["seconds"], each["cost"]["amount"]) for each in found] == [
        ("call-2", "30", "0.50"),
        ("call-1", "60", "0.50"),
    ]


CURSORS = ["x", "%ff", "MjAyNi0wMS0wMVQwMDowMDowMCBj", "OTk5OS0xMi0zMVQyMzo1OTo1OS0xNDowMCBj", "MjAyNi0wMS0wMVQwMDowMDowMCswMDowMCAA"]


@pytest.mark.parametrize("cursor", CURSORS, ids=["rubbish", "no text", "a time without a zone", "the last of times", "a call with a NUL"])
@pytest.mark.parametrize("path", ["/v1/calls", "/v1/webhooks", "/v1/messages", "/v1/assistants"])
async def test_a_cursor_that_is_not_ours_is_refused_or_ends_nowhere(path: str, cursor: str, busy: Tenant) -> None:
    answer = await busy.get(f"{path}?cursor={cursor}")
    if answer.status_code != 200:
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/cursor")


async def test_a_call_may_have_any_id(tenant: Tenant) -> None:
    for name in ("a b", "a?b", "\u00e9", "50%", "a.pdf", "\u2603"):
        await tenant.webhook(report(name))
        answer = await tenant.get(f"/v1/calls/{quote(name)}")
        assert (answer.status_code, answer.json().get("call_id")) == (200, name)
    assert (await tenant.get("/v1/calls/no%00body")).status_code == 404


def quantities(answer: dict[str, Any]) -> dict[str, str]:
    return {item["meter"]: item["quantity"] for item in answer["items"]}


async def usage(tenant: Person, **query: datetime) -> dict[str, str]:
    asked = "&".join(f"{name}={moment.isoformat().replace('+', '%2B')}" for name, moment in query.items())
    answer = await tenant.get(f"/v1/usage?{asked}")
    assert answer.status_code == 200, answer.text
    return quantities(answer.json())


async def test_usage_is_dated_by_when_things_happened_from_inclusive_to_exclusive(busy: Tenant) -> None:
    moment = timedelta(milliseconds=1)
    two_days = ENDED - timedelta(days=2)
    assert (await usage(busy, **{"from": two_days, "to": ENDED + moment}))["call_seconds"] == "90"
    assert (await usage(busy, **{"from": two_days + moment, "to": ENDED + moment}))["call_seconds"] == "60"
    assert (await usage(busy, **{"from": two_days, "to": ENDED}))["call_seconds"] == "30"
    assert await usage(busy, **{"from": ENDED + timedelta(days=3), "to": ENDED + timedelta(days=4)}) == {}
    assert await usage(busy, **{"from": ENDED + moment, "to": two_days}) == {}  # backwards is empty


async def test_usage_of_the_current_period_has_one_item_for_each_meter(busy: Tenant) -> None:
    answer = (await busy.get("/v1/usage")).json()
    assert set(answer) == {"from", "to", "items"}
    assert datetime.fromisoformat(answer["from"]) <= datetime.now(UTC) < datetime.fromisoformat(answer["to"])
    assert {item["meter"]: (item["quantity"], item["unit"]) for item in answer["items"]} == {
        "call_seconds": ("60", "s"),
        "calls": ("1", "calls"),
        "tool_calls": ("3", "calls"),
        "vapi_cost_usd": ("0.5", "USD"),
    }
    by_day = (await busy.get("/v1/usage?group_by=day")).json()["items"]
    assert {item["meter"] for item in by_day} == {"call_seconds", "calls", "tool_calls", "vapi_cost_usd"}
    assert all(item["group"] for item in by_day)


BAD = ["from=yesterday", "from=2026-01-01T00:00:00", "group_by=month", "from=0001-01-01T00:00:00%2B14:00", "to=9999-12-31T23:59:59-14:00"]


@pytest.mark.parametrize("query", BAD)
async def test_usage_of_no_time_is_refused(query: str, busy: Tenant) -> None:
    answer = await busy.get(f"/v1/usage?{query}")
    assert (answer.status_code, len(answer.json().get("errors", []))) == (400, 1), answer.text


async def test_the_current_invoice_is_the_base_fee_and_the_usage_so_far(busy: Tenant) -> None:
    invoice = (await busy.get("/v1/invoices/current")).json()
    assert invoice["total"]["currency"] == "USD"
    assert float(invoice["total"]["amount"]) >= 49
    assert "call_seconds" in str(invoice)


async def test_limits_tell_the_tier_and_the_queue(tenant: Tenant) -> None:
    slow = (await tenant.post("/v1/senders", sender_body("toll_free"))).json()
    limits = (await tenant.get("/v1/limits")).json()
    assert {each["sender_id"] for each in limits["senders"]} == {tenant.sender["id"], slow["id"]}
    assert (limits["tier"], limits["segments_per_second"], limits["used_last_second"]) == ("short_code", "100", 0)
    assert set(limits["day"]) == {"used", "cap", "resets_at"}
    assert limits["paused_reason"] is None
    one = (await tenant.get(f"/v1/limits?sender_id={slow['id']}")).json()
    assert (one["tier"], one["segments_per_second"]) == ("toll_free", "3")


async def test_a_queue_that_waits_is_told(tenant: Tenant, effects: Effects) -> None:
    """As the worker folds it: thirty segments at three a second."""
    slow = (await tenant.post("/v1/senders", sender_body("toll_free"))).json()
    columns = "tenant_id, registration_id, next_at, queued_segments, queued_messages"
    values = (tenant.id, slow["registration_id"])
    await effects.owner.execute(f"INSERT INTO control.schedule ({columns}) VALUES ($1, $2, app.now(), 30, 20)", *values)
    one = (await tenant.get(f"/v1/limits?sender_id={slow['id']}")).json()
    assert one["queued"] == 20
    assert 10.0 <= one["expected_drain_seconds"] <= 12.5  # and the pacer's next slot

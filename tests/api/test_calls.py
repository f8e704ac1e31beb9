"""Calls, listed by what is asked for, and one with all that belongs to it."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from tests.api.effects import Effects
from tests.api.people import Person, Tenant, new_tenant, tool_item, tool_message
from tests.api.test_reading import pages

DAY = datetime(2026, 3, 1, tzinfo=UTC)


def status(call_id: str, state: str, assistant: str | None = None, **call: Any) -> dict[str, Any]:
    return {"message": {"type": "status-update", "status": state, "call": {"id": call_id, "assistantId": assistant, **call}}}


@pytest.fixture(scope="module")
async def busy(admin: Person) -> Tenant:
    """Four calls, two of each assistant, two of each state."""
    tenant = await new_tenant(admin)
    for number, state, assistant in ((1, "ended", "a"), (2, "in-progress", "a"), (3, "ended", "b"), (4, "in-progress", "b")):
        assert (await tenant.webhook(status(f"call-{number}", state, assistant))).status_code == 200
    return tenant


FILTERS = {
    "": [4, 3, 2, 1],
    "?state=ended": [3, 1],
    "?assistant_id=a": [2, 1],
    "?assistant_id=b&state=in-progress": [4],
    "?state=lost": [],
    f"?from={quote(DAY.isoformat())}&to={quote((DAY + timedelta(days=2)).isoformat())}": [3, 2],
    f"?from={quote((DAY + timedelta(days=2)).isoformat())}": [4],
    f"?to={quote((DAY + timedelta(days=1)).isoformat())}&state=ended": [1],
}


@pytest.mark.parametrize("limit", [1, 2, 200])
@pytest.mark.parametrize(("query", "wanted"), FILTERS.items(), ids=["all", "state", "assistant", "both", "none", "between", "from", "to"])
async def test_calls_are_filtered_and_paged(query: str, wanted: list[int], limit: int, busy: Tenant, effects: Effects) -> None:
    for number in range(1, 5):
        at = DAY + timedelta(days=number - 2) if number > 1 else DAY - timedelta(microseconds=1)
        at = DAY + timedelta(days=1) if number == 3 else at
        at = DAY + timedelta(days=2) if number == 4 else at
        await effects.owner.execute("UPDATE calls SET created_at = $3 WHERE tenant_id = $1 AND call_id = $2", busy.id, f"call-{number}", at)
    assert [each["call_id"] for each in await pages(busy, f"/v1/calls{query}", limit)] == [f"call-{number}" for number in wanted]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [("?from=2026-03-01T00:00:00", "/from"), ("?to=soon", "/to"), ("?state=%00", ""), ("?assistant_id=%00", "")],
)
async def test_what_cannot_be_looked_for_is_told(query: str, pointer: str, tenant: Tenant) -> None:
    answer = await tenant.get(f"/v1/calls{query}")
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, pointer), answer.text


async def test_a_call_leads_to_its_webhooks_and_texts(tenant: Tenant, other: Tenant) -> None:
    call_id = "call/1 of&two?"
    await tenant.webhook(tool_message([tool_item("send_sms", {"body": "Hi"})], call_id))
    await tenant.webhook(status(call_id, "in-progress", type="outboundPhoneCall", phoneNumberId="line-1"))
    await other.webhook(status(call_id, "ended"))
    (listed,) = (await tenant.get("/v1/calls")).json()["items"]
    assert (listed["type"], listed["direction"], listed["phone_number_id"]) == ("outboundPhoneCall", "outbound", "line-1")
    found = (await tenant.get("/v1/calls?state=in-progress")).json()["items"]
    assert [each["call_id"] for each in found] == [call_id]


@pytest.mark.parametrize("call_id", ["call-1", "call of&two?", "ü"])
async def test_the_links_of_a_call_lead_to_what_is_its_own(call_id: str, tenant: Tenant) -> None:
    for each in (call_id, "call-of-another"):
        await tenant.webhook(tool_message([tool_item("send_sms", {"body": f"For {each}"}, f"of {each}")], each))
    shown = (await tenant.get(f"/v1/calls/{quote(call_id, safe='')}")).json()
    webhooks, texts = [(await tenant.get(shown["links"][name])).json()["items"] for name in ("webhooks", "messages")]
    assert (webhooks, [each["id"] for each in texts]) == (shown["webhooks"], [each["id"] for each in shown["messages"]])
    assert (len(webhooks), {each["call_id"] for each in webhooks}, len(texts)) == (1, {call_id}, 1)


async def test_a_state_never_goes_back(tenant: Tenant) -> None:
    for state in ("ended", "in-progress", "queued", "not-found"):
        await tenant.webhook(status("call-1", state))
    assert (await tenant.get("/v1/calls/call-1")).json()["state"] == "ended"


async def test_two_reports_that_differ_are_one_record_and_a_corrected_bill(tenant: Tenant, other: Tenant, effects: Effects) -> None:
    def report(seconds: float, cost: float, sent: int) -> dict[str, Any]:
        own = {"type": "end-of-call-report", "timestamp": sent, "durationSeconds": seconds, "cost": cost}
        return {"message": {**own, "call": {"id": "call-1"}}}

    earlier, later = report(60, 0.5, 1_772_000_000_000), report(50, 0.25, 1_772_000_000_001)
    for each, order in ((tenant, (earlier, later, later)), (other, (later, earlier, earlier))):
        for body in order:
            assert (await each.webhook(body)).status_code == 200
        shown = (await each.get("/v1/calls/call-1")).json()
        assert (shown["seconds"], shown["cost"]["amount"]) == ("50", "0.25")
        usage = {meter: total for meter, (_, total) in (await effects.usage(each)).items()}
        assert usage == {"calls": 1, "call_seconds": 50, "vapi_cost_usd": 0.25}

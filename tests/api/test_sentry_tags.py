"""A fault of ours reaches Sentry with the tenant whose request it was, and with nothing of what the request held."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import sentry_sdk

import webhooks.activity
import webhooks.tool_work
from sandbox.sentry import SentrySandbox
from tests.api.effects import Effects
from tests.api.people import CALLER, Person, Tenant, tool_item, tool_message
from tests.api.reporting import reporting
from webhooks.activity import FLUSH_SECONDS
from webhooks.answers import NOT_NOW

BODY = "The word for the door is quetzalcoatl."
LETTERS = str.maketrans("0123456789", "ghijklmnop")  # an id with many digits may be taken for a number, and is then withheld


@pytest.fixture
async def sentry() -> AsyncIterator[SentrySandbox]:
    async with reporting() as sandbox:
        yield sandbox


async def events(sentry: SentrySandbox) -> list[dict[str, Any]]:
    await asyncio.to_thread(sentry_sdk.flush, 5)
    return [item["payload"] for item in sentry.items if item["type"] == "event"]


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug that says everything it knows, with everything in its frames."""

    def broken(tenant: object, name: str, caller: str | None, given: dict[str, Any] | None, **_more: object) -> None:
        raise ValueError(f"cannot do {given!r} for {caller} of {tenant!r} by {name}, call me at (213) 555-0123")

    monkeypatch.setattr(webhooks.tool_work, "prepare", broken)


def call_of(tenant: Tenant) -> str:
    return f"call-of-{tenant.slug.translate(LETTERS)}"


def text_for(tenant: Tenant) -> dict[str, Any]:
    return tool_message([tool_item("send_sms", {"to": CALLER, "body": BODY})], call_of(tenant))


@pytest.mark.usefixtures("faulty")
async def test_a_fault_says_whose_it_is_and_nothing_else(sentry: SentrySandbox, tenant: Tenant, effects: Effects) -> None:
    answer = await tenant.webhook(text_for(tenant))
    assert answer.status_code == 200  # of tool calls anything else is thrown away: the model would hear nothing
    assert answer.json()["results"][0]["error"] == NOT_NOW
    assert await effects.counts(tenant) == {}
    (event,) = await events(sentry)
    tags = event["tags"]
    assert (tags["tenant.id"], tags["tenant.slug"], tags["tenant.tier"]) == (tenant.id, tenant.slug, "short_code")
    assert (tags["component"], tags["request.id"]) == ("api", answer.headers["x-request-id"])
    assert (tags["webhook.type"], tags["call.id"]) == ("tool-calls", call_of(tenant))
    assert event["transaction"] == "POST /vapi-webhook/{tenant_slug}"
    assert event["exception"]["values"][-1]["type"] == "ValueError"
    whole = json.dumps(list(sentry.items), default=str)
    for private in (tenant.secret, tenant.key, BODY, "quetzalcoatl", CALLER, CALLER[2:], "555-0123", "Bearer"):
        assert private not in whole, private


async def test_a_fault_after_the_answer_says_whose_it_is_too(
    sentry: SentrySandbox, tenant: Tenant, other: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_part: object) -> str:
        raise ValueError("cannot write")

    monkeypatch.setattr(webhooks.activity, "as_json", broken)
    for each in (tenant, other):
        await each.webhook({"message": {"type": "model-output", "call": {"id": call_of(each)}}})
    await asyncio.sleep(FLUSH_SECONDS + 0.3)
    tags = {(event["tags"]["tenant.id"], event["tags"]["tenant.slug"], event["tags"]["tenant.tier"]) for event in await events(sentry)}
    assert tags >= {(each.id, each.slug, "short_code") for each in (tenant, other)}  # beside what a test before left


@pytest.mark.usefixtures("faulty")
async def test_faults_at_once_are_each_its_own_tenants(sentry: SentrySandbox, tenant: Tenant, other: Tenant) -> None:
    answers = await asyncio.gather(*(each.webhook(text_for(each)) for _ in range(5) for each in (tenant, other)))
    owners = {answer.headers["x-request-id"]: each for answer, each in zip(answers, [tenant, other] * 5, strict=True)}
    found = await events(sentry)
    assert found
    for event in found:
        owner = owners[event["tags"]["request.id"]]
        assert (event["tags"]["tenant.slug"], event["tags"]["call.id"]) == (owner.slug, call_of(owner))
    assert {event["tags"]["tenant.slug"] for event in found} == {tenant.slug, other.slug}


async def test_a_fault_on_a_report_of_twilio_says_whose_it_is(sentry: SentrySandbox, tenant: Tenant, effects: Effects) -> None:
    await effects.owner.execute("UPDATE senders SET auth_token_sealed = 'gone:AAAA' WHERE tenant_id = $1", tenant.id)
    form = {"From": CALLER, "To": tenant.sender["from_number"], "AccountSid": tenant.sender["account_sid"], "Body": BODY}
    assert (await tenant.http.post(f"/twilio/{tenant.slug}/inbound", data=form)).status_code == 500
    (event,) = await events(sentry)
    assert (event["tags"]["tenant.slug"], event["transaction"]) == (tenant.slug, "POST /twilio/{tenant_slug}/inbound")
    assert event["exception"]["values"][-1]["type"] == "SealBroken"
    whole = json.dumps(list(sentry.items), default=str)
    assert [private for private in (BODY, CALLER, CALLER[2:], tenant.sender["account_sid"]) if private in whole] == []


async def test_refusals_are_no_faults(sentry: SentrySandbox, admin: Person, tenant: Tenant) -> None:
    refused = [
        await tenant.webhook(b"{"),
        await tenant.webhook(b"{}", secret="wrong"),
        await tenant.tool("fly", {}),
        await tenant.get("/v1/nowhere"),
        await tenant.get("/v1/messages?limit=x"),
        await tenant.post("/v1/messages", {"to": 5}),
        await tenant.get("/v1/admin/tenants"),
        await admin.get("/v1/messages"),
    ]
    assert [answer.status_code for answer in refused] == [400, 401, 200, 404, 400, 400, 403, 404]
    assert await events(sentry) == []

"""Who takes a call whose number has no assistant at Vapi: the tenant's routes, and nobody else's."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from runtime import clock
from runtime.settings import Settings
from tenants.bounds import LARGEST
from tests.api.asking import NUMBER, calling, has, told
from tests.api.effects import Effects
from tests.api.outages import Relay
from tests.api.people import Person, Tenant
from tests.api.processes import Process, running
from trunkline.dev.databases import DatabaseUrls

ZONE = ZoneInfo("America/Los_Angeles")
VARIABLES = {"local_date", "local_time", "local_weekday", "local_now", "time_zone", "business_name"}


@pytest.fixture
async def relay(urls: DatabaseUrls) -> AsyncIterator[Relay]:
    async with Relay.to(urls.app_url) as made:
        yield made


@pytest.fixture
async def shaky(settings: Settings, relay: Relay) -> AsyncIterator[Process]:
    """A process that reaches the database by way of the relay."""
    async with running(replace(settings, database_url=relay.url)) as started:
        yield started


async def routed(tenant: Tenant, number: str = NUMBER, **body: Any) -> dict[str, Any]:
    return await has(tenant, f"/v1/inbound-routes/{number}", **body)


async def another_assistant(tenant: Tenant) -> dict[str, Any]:
    made: dict[str, Any] = (await tenant.post("/v1/assistants", {"vapi_assistant_id": str(uuid4()), "name": "Second"})).json()
    return made


async def test_a_number_is_taken_by_its_own_route_another_by_the_default(tenant: Tenant) -> None:
    second = await another_assistant(tenant)
    await routed(tenant, assistant_id=second["id"])
    await routed(tenant, "default", error="We are closed for good.")
    assert (await told(tenant, calling()))["assistantId"] == second["vapi_assistant_id"]
    assert await told(tenant, calling("+19075550199", "call-2")) == {"error": "We are closed for good."}


async def test_a_number_is_known_by_its_id_at_vapi_too(tenant: Tenant) -> None:
    await routed(tenant, "phone-1", squad_id="squad-1")
    for number, place in enumerate(
        ({"call": {"id": "a", "phoneNumberId": "phone-1"}}, {"phoneNumber": {"id": "phone-1"}}, {"phoneNumberId": "phone-1"})
    ):
        assert (await told(tenant, calling(None, f"call-{number}", **place)))["squadId"] == "squad-1"


async def test_the_prompt_can_say_the_tenants_own_date_and_time(tenant: Tenant) -> None:
    await routed(tenant, assistant_id=tenant.assistant["id"], overrides={"firstMessage": "Hello."}, variables={"desk": "Front", "floor": 2})
    before = clock.now().astimezone(ZONE)
    answer = await told(tenant, calling())
    assert answer["assistantOverrides"]["firstMessage"] == "Hello."
    values = answer["assistantOverrides"]["variableValues"]
    assert set(values) == VARIABLES | {"desk", "floor"}
    assert (values["desk"], values["floor"], values["time_zone"], values["business_name"]) == ("Front", 2, ZONE.key, "A tenant")
    said = datetime.strptime(values["local_now"], "%A, %B %d, %Y, %I:%M %p").replace(tzinfo=ZONE)
    assert before.replace(second=0, microsecond=0) <= said <= clock.now().astimezone(ZONE)
    assert (values["local_date"], values["local_weekday"]) == (said.date().isoformat(), f"{said:%A}")
    assert values["local_now"].endswith(values["local_time"])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"destination": {"type": "number", "number": "+19075550111", "extension": "12"}}, {"number": "+19075550111", "extension": "12"}),
        ({"destination": {"type": "sip", "sip_uri": "sip:desk@example.com"}}, {"sipUri": "sip:desk@example.com"}),
    ],
)
async def test_a_call_may_be_put_through_at_once(tenant: Tenant, body: dict[str, Any], expected: dict[str, Any]) -> None:
    await routed(tenant, **body)
    assert await told(tenant, calling()) == {"destination": {"type": body["destination"]["type"], **expected}}


@pytest.mark.parametrize(("who", "beside"), [("squad_id", "squadOverrides"), ("workflow_id", "workflowOverrides")])
async def test_squads_and_workflows_get_the_variables_too(tenant: Tenant, who: str, beside: str) -> None:
    await routed(tenant, **{who: "x-1"}, variables={"desk": "Front"})
    assert set((await told(tenant, calling()))[beside]["variableValues"]) == VARIABLES | {"desk"}


async def test_without_a_route_the_only_assistant_takes_the_call(tenant: Tenant) -> None:
    await routed(tenant, "+19075550177", error="Elsewhere.")
    assert await told(tenant, calling()) == {"assistantId": tenant.assistant["vapi_assistant_id"]}
    await another_assistant(tenant)
    assert "nobody is set up" in (await told(tenant, calling(call_id="call-2")))["error"]


async def test_a_route_whose_assistant_was_removed_guesses_no_other(tenant: Tenant) -> None:
    second = await another_assistant(tenant)
    await routed(tenant, assistant_id=second["id"])
    assert (await tenant.ask("DELETE", f"/v1/assistants/{second['id']}")).status_code == 204
    assert "nobody is set up" in (await told(tenant, calling()))["error"]


async def test_two_tenants_route_one_number_each_for_itself(tenant: Tenant, other: Tenant) -> None:
    await routed(tenant, error="One.")
    await routed(other, error="Two.")
    assert await told(tenant, calling()) == {"error": "One."}
    assert await told(other, calling()) == {"error": "Two."}
    assert (await tenant.ask("DELETE", f"/v1/inbound-routes/{NUMBER}")).status_code == 204
    assert (await other.get(f"/v1/inbound-routes/{NUMBER}")).json()["error"] == "Two."


async def test_anothers_assistant_takes_no_call(tenant: Tenant, other: Tenant) -> None:
    answer = await tenant.ask("PUT", f"/v1/inbound-routes/{NUMBER}", {"assistant_id": other.assistant["id"]})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/assistant_id")


async def test_a_duplicate_is_told_the_same_and_recorded_once(tenant: Tenant, effects: Effects) -> None:
    await routed(tenant, error="First.")
    first = await tenant.webhook(calling())
    await routed(tenant, error="Second.")
    again = await tenant.webhook(calling())
    assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
    assert await effects.count(tenant, "processed_webhooks") == 1


async def test_a_suspended_tenant_says_so_and_a_retry_is_answered_anew(tenant: Tenant, admin: Person, effects: Effects) -> None:
    await routed(tenant, error="Open.")
    await admin.post(f"/v1/admin/tenants/{tenant.id}/suspend", {})
    await asyncio.sleep(2.1)
    assert "paused" in (await told(tenant, calling()))["error"]
    assert await effects.count(tenant, "processed_webhooks") == 0
    await admin.post(f"/v1/admin/tenants/{tenant.id}/resume", {})
    await asyncio.sleep(2.1)
    assert await told(tenant, calling()) == {"error": "Open."}


async def test_with_the_database_away_the_route_still_answers(tenant: Tenant, shaky: Process, relay: Relay) -> None:
    await routed(tenant, error="From memory.")
    assert (await tenant.webhook(calling(), http=shaky.http)).json() == {"error": "From memory."}
    await relay.cut()
    assert (await tenant.webhook(calling(call_id="call-2"), http=shaky.http)).json() == {"error": "From memory."}
    await relay.mend()


async def test_what_is_put_is_read_changed_listed_and_audited(tenant: Tenant, effects: Effects) -> None:
    made = await routed(tenant, squad_id="s-1")
    changed = await routed(tenant, error="Closed.")
    assert (made["squad_id"], changed["squad_id"], changed["error"]) == ("s-1", None, "Closed.")
    assert (await tenant.get(f"/v1/inbound-routes/{NUMBER}")).json() == changed
    await routed(tenant, "default", workflow_id="w-1")
    first = (await tenant.get("/v1/inbound-routes?limit=1")).json()
    second = (await tenant.get(f"/v1/inbound-routes?limit=1&cursor={first['next_cursor']}")).json()
    assert [each["phone_number"] for each in first["items"] + second["items"]] == [NUMBER, "default"]
    assert (await tenant.ask("DELETE", f"/v1/inbound-routes/{NUMBER}")).status_code == 204
    assert (await tenant.get(f"/v1/inbound-routes/{NUMBER}")).status_code == 404
    rows = await effects.owner.fetch(
        "SELECT action, target, detail::text FROM control.audit WHERE tenant_id = $1 AND action LIKE 'inbound%' ORDER BY id", tenant.id
    )
    assert [row["action"].rsplit(".")[1] for row in rows] == ["created", "changed", "created", "removed"]
    assert NUMBER not in str(rows)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"error": "a", "squad_id": "b"}, ""),
        ({"destination": {"type": "number"}}, "/destination/number"),
        ({"destination": {"type": "number", "number": "911"}}, "/destination/number"),
        ({"destination": {"type": "sip", "sip_uri": "mailto:x"}}, "/destination/sip_uri"),
        ({"destination": {"type": "sip", "sip_uri": "sip:a", "number": "+19075550111"}}, "/destination/number"),
        ({"destination": {"type": "assistant", "assistant_name": "Ann"}}, "/destination/type"),
        ({"error": "a", "variables": {"x": "y"}}, "/variables"),
        ({"workflow_id": "a", "overrides": {"x": "y"}}, "/overrides"),
        ({"squad_id": "a", "variables": {"local_date": "y"}}, "/variables"),
        ({"squad_id": "a", "variables": {"a b": "y"}}, "/variables"),
        ({"squad_id": "a", "overrides": {"variableValues": {"time_zone": "UTC"}}}, "/overrides/variableValues"),
        ({"squad_id": "a", "overrides": {"variableValues": 1}}, "/overrides/variableValues"),
        ({"squad_id": "a", "overrides": {"model": [{"server": {"headers": {}}}]}}, "/overrides"),
        ({"squad_id": "a", "overrides": {"x": "y" * 5_000}}, "/overrides"),
    ],
)
async def test_what_cannot_work_is_refused_where_it_is_wrong(tenant: Tenant, body: dict[str, Any], pointer: str) -> None:
    answer = await tenant.ask("PUT", f"/v1/inbound-routes/{NUMBER}", body)
    assert (answer.status_code, [each["pointer"] for each in answer.json()["errors"]]) == (400, [pointer]), answer.text


async def test_a_name_that_is_no_number_is_refused_and_not_looked_for(tenant: Tenant) -> None:
    assert (await tenant.ask("PUT", "/v1/inbound-routes/+123", {"error": "a"})).json()["errors"][0]["pointer"] == "/phone_number"
    assert (await tenant.get("/v1/inbound-routes/+123")).status_code == 404
    assert (await tenant.get("/v1/inbound-routes?cursor=KzEyMw")).status_code == 400


async def test_the_routes_are_never_larger_than_every_snapshot_can_carry(tenant: Tenant) -> None:
    body = {"squad_id": "squad-1", "variables": {"desk": "d" * 4_000}}
    answers = [await tenant.ask("PUT", f"/v1/inbound-routes/number-{each}", body) for each in range(LARGEST // 4_000 + 1)]
    fit = sum(answer.status_code == 200 for answer in answers)
    assert LARGEST // 4_100 < fit < len(answers)
    assert "131,072 bytes together" in answers[-1].json()["errors"][0]["detail"]
    await tenant.ask("DELETE", "/v1/inbound-routes/number-0")
    await routed(tenant, squad_id="squad-1", variables={"desk": "d" * 4_000})

"""What keeps a text from leaving, and what is said of it: holds of one and of all, those who wait before it, an opt-out."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from api.wiring import Wiring
from tests.api.effects import Effects
from tests.api.people import CALLER, Person, Tenant, new_tenant

HI = {"to": CALLER, "body": "Hi"}
NOW = "Queued, leaves now."
PAUSED = "Queued. Sending is paused at the moment, the text leaves when that ends."
OPTED_OUT = "This person asked not to be texted, so nothing was sent."
TEN_SEGMENTS = "x" * 1_500
REPLAYS = 99


async def turn(admin: Person, mode: str, tenant: Tenant | None = None) -> None:
    """Turn sending for one tenant, or for everybody."""
    whose = {} if tenant is None else {"tenant_id": tenant.id}
    turned = await admin.ask("PUT", "/v1/admin/switches", {"name": "sending", "mode": mode, **whose})
    assert turned.status_code == 200, turned.text


@pytest.fixture
async def operator(admin: Person) -> AsyncIterator[Person]:
    """The operator, who lets everybody send again afterwards."""
    yield admin
    await turn(admin, "on")


async def waiting(tenant: Tenant, effects: Effects) -> str:
    """A text that the schedule knows of."""
    sent = await tenant.post("/v1/messages", HI)
    assert sent.status_code == 202, sent.text
    while await effects.arrivals(tenant):
        await effects.owner.execute("SELECT app.fold_arrivals_v1(1000)")
    made: str = sent.json()["id"]
    return made


async def status(tenant: Tenant, message: str) -> str:
    shown: str = (await tenant.get(f"/v1/messages/{message}")).json()["status"]
    return shown


async def words(tenant: Tenant, call: str, body: str = "Hi") -> str:
    """What an assistant hears about a text to the caller."""
    (entry,) = (await tenant.tool("send_sms", {"body": body}, call)).json()["results"]
    said: str = entry["result"]
    return said


async def test_a_hold_of_everybody_holds_also_whom_a_hold_of_its_own_had_ended_for(
    operator: Person, tenant: Tenant, effects: Effects
) -> None:
    message = await waiting(tenant, effects)
    await turn(operator, "hold", tenant)
    await turn(operator, "on", tenant)
    assert await status(tenant, message) == "queued"
    await turn(operator, "hold")
    assert await status(tenant, message) == "held"
    assert await effects.owner.fetchval("SELECT app.hold_reason_v1($1)", tenant.id) == "sending held"
    await turn(operator, "on", tenant)  # one tenant's on is no exception from everybody's hold
    assert await status(tenant, message) == "held"
    await turn(operator, "on")
    assert await status(tenant, message) == "queued"
    assert await effects.owner.fetchval("SELECT app.hold_reason_v1($1)", tenant.id) is None


async def test_a_tenants_own_hold_survives_that_everybody_may_send(
    operator: Person, tenant: Tenant, other: Tenant, effects: Effects
) -> None:
    ours, theirs = await waiting(tenant, effects), await waiting(other, effects)
    await turn(operator, "hold", tenant)
    await turn(operator, "hold")
    assert (await status(tenant, ours), await status(other, theirs)) == ("held", "held")
    await turn(operator, "on")
    assert (await status(tenant, ours), await status(other, theirs)) == ("held", "queued")


@pytest.mark.parametrize("everybody", [False, True], ids=["its own", "everybody's"])
async def test_during_a_hold_nobody_is_told_that_a_text_leaves(
    everybody: bool, operator: Person, tenant: Tenant, wiring: Wiring, effects: Effects
) -> None:
    whose = None if everybody else tenant
    for mode, spoken, shown in (("hold", PAUSED, "held"), ("on", NOW, "queued")):
        await turn(operator, mode, whose)
        wiring.tenants.forget(tenant.slug)  # the two seconds that a process may take to follow
        assert await words(tenant, f"call during {mode}") == spoken
        assert (await tenant.post("/v1/messages", HI)).json()["status"] == shown
    assert await effects.count(tenant, "messages") == 4


async def test_a_switch_that_is_back_at_its_default_is_not_listed(operator: Person, tenant: Tenant) -> None:
    async def listed() -> list[str]:
        return [row["mode"] for row in (await operator.get("/v1/admin/switches")).json()["items"] if row["tenant_id"] == tenant.id]

    await turn(operator, "hold", tenant)
    assert await listed() == ["hold"]
    await turn(operator, "on", tenant)
    assert await listed() == []
    await turn(operator, "on", tenant)  # though it never differed
    assert await listed() == []


async def test_texts_that_were_accepted_make_the_next_one_wait_and_replays_do_not(admin: Person, wiring: Wiring) -> None:
    tenant = await new_tenant(admin, "sole_proprietor")  # one segment in a second
    wiring.tenants.forget(tenant.slug)
    assert await words(tenant, "call-1") == NOW
    replayed = await asyncio.gather(*(words(tenant, "call-1") for _ in range(REPLAYS)))
    assert set(replayed) == {NOW}
    assert await words(tenant, "call-2") == NOW  # one segment is before it, not a hundred
    wiring.tenants.forget(tenant.slug)
    assert await words(tenant, "call-3", TEN_SEGMENTS) == NOW
    assert await words(tenant, "call-4") == "Queued, leaves in about 12 s."  # nothing has left yet: 1 + 1 + 10 segments


@pytest.mark.parametrize("to", [{}, {"to": CALLER}], ids=["the caller", "by number"])
async def test_a_text_to_whoever_opted_out_fails_says_so_and_costs_nothing(to: dict[str, str], tenant: Tenant, effects: Effects) -> None:
    await effects.owner.execute("INSERT INTO opt_outs (tenant_id, recipient, source) VALUES ($1, $2, 'api')", tenant.id, CALLER)
    for _ in range(2):  # a replay says the same
        (entry,) = (await tenant.tool("send_sms", {**to, "body": "Hi"})).json()["results"]
        assert (entry.get("result"), entry["error"]) == (None, OPTED_OUT)
    (webhook,) = (await tenant.get("/v1/webhooks?state=failed")).json()["items"]
    assert (webhook["state"], webhook["message_ids"], webhook["results"][0]["error"]) == ("failed", [], OPTED_OUT)
    assert (await tenant.get("/v1/webhooks?state=done")).json()["items"] == []
    assert (await effects.usage(tenant), await effects.count(tenant, "messages")) == ({}, 0)


async def test_a_used_up_day_is_told_with_its_end_and_only_to_whose_it_is(
    tenant: Tenant, admin: Person, effects: Effects, wiring: Wiring
) -> None:
    neighbour = await new_tenant(admin)
    registration = tenant.sender["registration_id"]
    await effects.owner.execute(
        "INSERT INTO registration_holds (tenant_id, registration_id, held_until, learned_at)"
        " VALUES ($1, $2, '2099-01-01T08:00:00Z', app.now())",
        tenant.id, registration,
    )  # fmt: skip
    wiring.tenants.forget(tenant.slug)
    limits = (await tenant.get("/v1/limits")).json()
    assert "T-Mobile" in limits["paused_reason"]
    assert limits["paused_until"] == limits["senders"][0]["paused_until"] == "2099-01-01T08:00:00.000Z"
    theirs = (await neighbour.get("/v1/limits")).json()
    assert (theirs["paused_reason"], theirs["paused_until"]) == (None, None)
    assert (await words(tenant, "d1"), await words(neighbour, "d2")) == (PAUSED, NOW)
    sent = (await tenant.post("/v1/messages", HI)).json()
    assert sent["expected_at"] >= "2099-01-01T08:00:00.000Z"

"""Whom a STOP stops, and the list of those who are not texted: a tenant's own, and nobody else's."""

import uuid
from typing import Any

import asyncpg
import pytest

from api.wiring import Wiring
from tests.api.effects import Effects
from tests.api.people import CALLER, Tenant, sender_body
from tests.api.test_twilio_callbacks import Twilio

ANNA = "+12125550101"
SHORT_CODE = "Twilio answers HELP and STOP on short codes only with Advanced Opt-Out."


async def listed(tenant: Tenant, query: str = "") -> list[tuple[str, str | None, str]]:
    answer = await tenant.get(f"/v1/opt-outs{query}")
    assert answer.status_code == 200, answer.text
    return [(each["to"], each["sender_id"], each["source"]) for each in answer.json()["items"]]


async def second_sender(tenant: Tenant, tier: str = "toll_free") -> dict[str, Any]:
    made = await tenant.post("/v1/senders", sender_body(tier))
    assert made.status_code == 201, made.text
    sender: dict[str, Any] = made.json()
    return sender


async def test_a_tenant_says_whom_a_stop_stops(tenant: Tenant, other: Tenant, owner: "asyncpg.Connection[asyncpg.Record]") -> None:
    assert (await tenant.get("/v1/consent")).json() == {"stop_covers": "tenant"}
    put = await tenant.ask("PUT", "/v1/consent", {"stop_covers": "sender"})
    assert (put.status_code, put.json()) == (200, {"stop_covers": "sender"})
    assert (await tenant.get("/v1/consent")).json() == {"stop_covers": "sender"}
    assert (await other.get("/v1/consent")).json() == {"stop_covers": "tenant"}
    wrong: Any
    for wrong in ({"stop_covers": "everybody"}, {"stop_covers": None}, {"stops": "sender"}, [], None):
        assert (await tenant.ask("PUT", "/v1/consent", wrong)).status_code == 400
    assert (await tenant.get("/v1/consent")).json() == {"stop_covers": "sender"}
    assert (await tenant.ask("PUT", "/v1/consent", {})).json() == {"stop_covers": "tenant"}
    query = "SELECT actor, detail->>'stop_covers' FROM control.audit WHERE tenant_id = $1 AND action = 'consent.changed' ORDER BY id"
    rows = await owner.fetch(query, uuid.UUID(tenant.id))
    assert [row[1] for row in rows] == ["sender", "tenant"]
    assert all(row[0].startswith("key:") for row in rows)


async def test_a_stop_to_a_short_code_leaves_the_other_sender_alone(
    tenant: Tenant, other: Tenant, wiring: Wiring, effects: Effects
) -> None:
    second = await second_sender(tenant)
    await tenant.ask("PUT", "/v1/consent", {"stop_covers": "sender"})
    for each in (tenant, other):
        assert (await Twilio(each, wiring).inbound("Please stop")).status_code == 204
    assert await listed(tenant) == [(CALLER, tenant.sender["id"], "inbound")]
    assert await listed(other) == [(CALLER, None, "inbound")]
    assert await effects.count(tenant, "opt_outs") == 0
    assert (await tenant.post("/v1/messages", {"to": CALLER, "body": "Hi", "sender_id": second["id"]})).status_code == 202
    assert (await other.post("/v1/messages", {"to": CALLER, "body": "Hi"})).status_code == 409
    await Twilio(tenant, wiring).inbound("START")
    assert (await listed(tenant), await listed(other)) == ([], [(CALLER, None, "inbound")])


async def test_switching_back_stops_all_senders_at_once(tenant: Tenant, other: Tenant, wiring: Wiring) -> None:
    second = await second_sender(tenant)
    for each in (tenant, other):
        await each.ask("PUT", "/v1/consent", {"stop_covers": "sender"})
        await Twilio(each, wiring).inbound("STOP")
    await tenant.ask("PUT", "/v1/consent", {"stop_covers": "tenant"})
    assert await listed(tenant) == [(CALLER, None, "inbound"), (CALLER, tenant.sender["id"], "inbound")]
    assert await listed(other) == [(CALLER, other.sender["id"], "inbound")]
    assert (await tenant.post("/v1/messages", {"to": CALLER, "body": "Hi", "sender_id": second["id"]})).status_code == 409


async def test_the_tenants_own_list_is_kept_and_no_start_shortens_it(tenant: Tenant, other: Tenant, wiring: Wiring) -> None:
    made = await tenant.post("/v1/opt-outs", {"to": "(213) 555-0123"})
    assert made.status_code == 201, made.text
    assert {name: made.json()[name] for name in ("to", "sender_id", "source")} == {"to": CALLER, "sender_id": None, "source": "api"}
    assert (await tenant.post("/v1/opt-outs", {"to": CALLER})).json() == made.json()  # twice is once
    for each in (tenant, other):
        await Twilio(each, wiring).inbound("START")
    assert (await tenant.post("/v1/messages", {"to": CALLER, "body": "Hi"})).status_code == 409
    assert (await other.post("/v1/messages", {"to": CALLER, "body": "Hi"})).status_code == 202
    assert (await listed(other), await listed(tenant)) == ([], [(CALLER, None, "api")])
    assert (await other.ask("DELETE", f"/v1/opt-outs/{CALLER}")).status_code == 404
    assert (await tenant.ask("DELETE", f"/v1/opt-outs/{CALLER}")).status_code == 204
    assert (await tenant.post("/v1/messages", {"to": CALLER, "body": "Hi"})).status_code == 202


async def test_one_senders_entries_come_and_go_by_themselves(
    tenant: Tenant, other: Tenant, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    first, second = tenant.sender["id"], (await second_sender(tenant))["id"]
    for sender in (None, first, second):
        assert (await tenant.post("/v1/opt-outs", {"to": ANNA, "sender_id": sender})).status_code == 201
    assert await listed(tenant, f"?sender_id={second}") == [(ANNA, second, "api")]
    assert (await tenant.ask("DELETE", f"/v1/opt-outs/{ANNA}?sender_id={second}")).status_code == 204
    assert (await tenant.ask("DELETE", f"/v1/opt-outs/{ANNA}?sender_id={second}")).status_code == 404
    assert await listed(tenant) == [(ANNA, None, "api"), (ANNA, first, "api")]
    assert (await tenant.ask("DELETE", f"/v1/opt-outs/{ANNA}")).status_code == 204
    assert await listed(tenant) == [(ANNA, first, "api")]
    query = "SELECT target, detail->>'sender_id' FROM control.audit WHERE tenant_id = $1 AND action = 'opt_out.removed' ORDER BY id"
    assert [tuple(row) for row in await owner.fetch(query, uuid.UUID(tenant.id))] == [("…0101", second), ("…0101", None)]
    theirs = await other.post("/v1/opt-outs", {"to": ANNA, "sender_id": first})
    assert (theirs.status_code, theirs.json()["errors"][0]["pointer"]) == (400, "/sender_id")
    assert await listed(other) == []


async def test_the_list_is_read_in_pages_by_number(tenant: Tenant, other: Tenant) -> None:
    people = [f"+1212555{number:04d}" for number in range(100, 107)]
    for number, person in enumerate(people):
        for sender in [None, tenant.sender["id"]][: 1 + number % 2] if number % 3 else [tenant.sender["id"]]:
            await tenant.post("/v1/opt-outs", {"to": person, "sender_id": sender})
        await other.post("/v1/opt-outs", {"to": person})
    whole = await listed(tenant)
    assert len(whole) > len(people)
    assert whole == sorted(whole, key=lambda each: (each[0], each[1] or ""))
    for limit in (1, 2, 3):
        found: list[tuple[str, str | None, str]] = []
        cursor = ""
        while True:
            answer = (await tenant.get(f"/v1/opt-outs?limit={limit}{cursor}")).json()
            found += [(each["to"], each["sender_id"], each["source"]) for each in answer["items"]]
            if answer["next_cursor"] is None:
                break
            cursor = f"&cursor={answer['next_cursor']}"
        assert found == whole
    assert await listed(tenant, f"?to=%2B{people[1][1:]}") == [each for each in whole if each[0] == people[1]]
    for wrong in ("x", "AAAA", "bm9wZQ"):
        assert (await tenant.get(f"/v1/opt-outs?cursor={wrong}")).status_code == 400


@pytest.mark.parametrize(
    "body", [{}, {"to": "nobody"}, {"to": None}, {"to": "+1"}, {"to": CALLER, "sender_id": "x"}, {"to": CALLER, "a": 1}], ids=str
)
async def test_what_is_no_person_is_refused(body: dict[str, Any], tenant: Tenant) -> None:
    assert (await tenant.post("/v1/opt-outs", body)).status_code == 400
    assert (await tenant.ask("DELETE", "/v1/opt-outs/%00")).status_code in (400, 404)
    assert await listed(tenant) == []


async def test_a_short_code_is_warned_about(tenant: Tenant, other: Tenant) -> None:
    assert SHORT_CODE in tenant.sender["warnings"]
    assert SHORT_CODE not in (await second_sender(other))["warnings"]

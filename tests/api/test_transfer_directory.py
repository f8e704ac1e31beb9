"""The transfer directory: written by the tenant, asked by Vapi, closed when it is closed."""

import json
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from api.wiring import Wiring
from runtime import clock
from tenants.bounds import LARGEST
from tenants.hours import DAYS
from tests.api.asking import asking, has, told
from tests.api.effects import Effects
from tests.api.people import Person, Tenant, new_tenant

TRANSFER = "transfer-destination-request"
SALES, DESK = {"type": "number", "number": "+19075550101"}, {"type": "number", "number": "+19075550102"}
NOON = {"opens": "12:00", "closes": "13:00"}
NIGHT_AND_DAY = {"week": {day: [{"opens": "00:00", "closes": "24:00"}] for day in DAYS}}


def days(count: int) -> dict[str, Any]:
    """Days that are otherwise, about 50 bytes each."""
    return {(date(2027, 1, 1) + timedelta(days=ahead)).isoformat(): [NOON] for ahead in range(count)}


async def listed(tenant: Tenant, name: str = "sales", **body: Any) -> dict[str, Any]:
    return await has(tenant, f"/v1/transfer-directory/{name}", **{"destination": SALES, **body})


async def test_a_caller_is_put_through_to_whom_the_model_named(tenant: Tenant) -> None:
    await listed(tenant, message="One moment\nplease.")
    await listed(tenant, "front desk", destination=DESK, is_default=True)
    wish = {"functionCall": {"name": "transferCall", "parameters": {"destination": "Sales"}}}
    assert await told(tenant, asking(TRANSFER, **wish)) == {"destination": {**SALES, "message": "One moment please."}}
    assert await told(tenant, asking(TRANSFER, "call-2", reason="a human")) == {"destination": DESK}


async def test_two_tenants_with_one_name_put_through_to_their_own(tenant: Tenant, other: Tenant) -> None:
    await listed(tenant)
    await listed(other, destination=DESK)
    wish = asking(TRANSFER, destination="sales")
    assert (await told(tenant, wish), await told(other, wish)) == ({"destination": SALES}, {"destination": DESK})
    assert (await tenant.ask("DELETE", "/v1/transfer-directory/sales")).status_code == 204
    assert "nobody" in (await told(tenant, asking(TRANSFER, "call-2", destination="sales")))["error"]
    assert await told(other, asking(TRANSFER, "call-2", destination="sales")) == {"destination": DESK}


async def test_it_is_open_by_the_tenants_own_day(admin: Person) -> None:
    """One instant, two zones a calendar day apart: the same date is today for one and not for the other."""
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        tenant = await new_tenant(admin, timezone=zone)
        today = clock.now().astimezone(ZoneInfo(zone)).date()
        for name, day in (("today", today), ("yesterday", today - timedelta(days=1))):
            spans = [{"opens": "00:00", "closes": "24:00"}]
            await listed(tenant, name, hours={"days": {day.isoformat(): spans}}, closed_message="Closed.")
        assert await told(tenant, asking(TRANSFER, "a", destination="today")) == {"destination": SALES}
        assert await told(tenant, asking(TRANSFER, "b", destination="yesterday")) == {"error": "Closed."}


async def test_closed_it_says_when_it_opens(tenant: Tenant) -> None:
    tomorrow = clock.now().astimezone(ZoneInfo("America/Los_Angeles")).date() + timedelta(days=2)
    await listed(tenant, hours={"days": {tomorrow.isoformat(): [{"opens": "09:30", "closes": "10:00"}]}})
    said = (await told(tenant, asking(TRANSFER, destination="sales")))["error"]
    assert said.endswith(f"We open again on {tomorrow:%A, %B} {tomorrow.day}, {tomorrow.year}, 9:30 AM.")


async def test_empty_hours_are_the_tenants_own(tenant: Tenant) -> None:
    for empty in ({}, {"week": {}, "days": {}}):
        assert (await listed(tenant, hours=empty))["hours"] is None
        assert (await tenant.get("/v1/transfer-directory/sales")).json()["hours"] is None
    assert await told(tenant, asking(TRANSFER, destination="sales")) == {"destination": SALES}


async def test_a_directory_is_never_larger_than_every_snapshot_can_carry(tenant: Tenant, other: Tenant, wiring: Wiring) -> None:
    fit, refused = 0, None
    while refused is None:
        body = {"destination": SALES, "description": "d" * 1_000, "hours": {"days": days(80)}}
        answer = await tenant.ask("PUT", f"/v1/transfer-directory/entry-{fit}", body)
        refused, fit = (answer, fit) if answer.status_code == 400 else (None, fit + 1)
        assert fit <= LARGEST // 4_000
    assert fit > LARGEST // 5_000
    assert "131,072 bytes together" in refused.json()["errors"][0]["detail"]
    wiring.tenants.forget(tenant.slug)
    snapshot = await wiring.tenants.by_slug(tenant.slug)
    assert snapshot is not None
    assert (len(snapshot.transfers), len(msgspec.json.encode(snapshot.transfers)) < LARGEST) == (fit, True)
    await listed(other, hours={"days": days(80)})
    await tenant.ask("DELETE", "/v1/transfer-directory/entry-0")
    await listed(tenant, "another", hours={"days": days(80)})


async def test_a_duplicate_is_told_the_same_and_recorded_once(tenant: Tenant, effects: Effects) -> None:
    await listed(tenant, hours=NIGHT_AND_DAY)
    first = await tenant.webhook(asking(TRANSFER, destination="sales"))
    await listed(tenant, destination=DESK)
    again = await tenant.webhook(asking(TRANSFER, destination="sales"))
    assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
    (row,) = await effects.rows(tenant, "processed_webhooks")
    assert (row["type"], row["state"], row["call_id"]) == (TRANSFER, "done", "call-1")


async def test_there_is_one_default(tenant: Tenant) -> None:
    await listed(tenant, "a", is_default=True)
    await listed(tenant, "b", is_default=True)
    items = (await tenant.get("/v1/transfer-directory")).json()["items"]
    assert [(each["name"], each["is_default"]) for each in items] == [("a", False), ("b", True)]


async def test_what_is_put_is_read_listed_and_audited(tenant: Tenant, other: Tenant, effects: Effects) -> None:
    made = await listed(tenant, description="For buyers.", hours=NIGHT_AND_DAY, closed_message="Closed.")
    assert (await tenant.get("/v1/transfer-directory/sales")).json() == made
    await listed(tenant, "desk", destination={"type": "assistant", "assistant_name": "Ann"})
    first = (await tenant.get("/v1/transfer-directory?limit=1")).json()
    second = (await tenant.get(f"/v1/transfer-directory?limit=1&cursor={first['next_cursor']}")).json()
    assert [each["name"] for each in first["items"] + second["items"]] == ["desk", "sales"]
    for method in ("GET", "DELETE"):
        assert (await other.ask(method, "/v1/transfer-directory/sales")).status_code == 404
    await tenant.ask("DELETE", "/v1/transfer-directory/sales")
    rows = await effects.owner.fetch(
        "SELECT action FROM control.audit WHERE tenant_id = $1 AND action LIKE 'transfer%' ORDER BY id", tenant.id
    )
    assert [row["action"].rsplit(".")[1] for row in rows] == ["created", "created", "removed"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"destination": {"type": "number"}}, "/destination/number"),
        ({"destination": {"type": "assistant", "number": "+19075550101"}}, "/destination/assistant_name"),
        ({"hours": {"week": {"someday": []}}}, "/hours/week/someday"),
        ({"hours": {"days": {"2026-02-30": []}}}, "/hours/days/2026-02-30"),
        ({"hours": {"week": {"monday": [{"opens": "09:00", "closes": "09:00"}]}}}, "/hours/week/monday/0/closes"),
        ({"hours": {"week": {"monday": [NOON, NOON]}}}, "/hours/week/monday/1"),
        ({"hours": {"week": {"monday": [NOON] * 9}}}, "/hours/week/monday"),
        ({"hours": {"days": days(82)}}, "/hours"),
        ({"hours": {"week": {"monday": [{"opens": "9", "closes": "10:00"}]}}}, "/hours/week/monday/0/opens"),
        ({"hours": {"week": {"monday": [{"opens": "24:00", "closes": "10:00"}]}}}, "/hours/week/monday/0/opens"),
        ({"hours": {"week": {"monday": [{"opens": "09:00", "closes": "25:00"}]}}}, "/hours/week/monday/0/closes"),
    ],
)
async def test_what_cannot_work_is_refused_where_it_is_wrong(tenant: Tenant, body: dict[str, Any], pointer: str) -> None:
    answer = await tenant.ask("PUT", "/v1/transfer-directory/sales", {"destination": SALES, **body})
    assert (answer.status_code, [each["pointer"] for each in answer.json()["errors"]]) == (400, [pointer]), answer.text


async def test_what_a_later_release_wrote_is_read_and_what_nobody_can_is_answered_safely(
    tenant: Tenant, effects: Effects, wiring: Wiring
) -> None:
    await listed(tenant)
    more = "UPDATE transfer_directory SET destination = destination || '{\"later\": 1}' WHERE tenant_id = $1"
    await effects.owner.execute(more, tenant.id)
    wiring.tenants.forget(tenant.slug)
    assert await told(tenant, asking(TRANSFER, "a", destination="sales")) == {"destination": SALES}
    assert (await tenant.get("/v1/transfer-directory/sales")).json()["destination"] == SALES
    days = {day: [{"opens": "soon", "closes": "late"}] for day in DAYS}
    await effects.owner.execute("UPDATE transfer_directory SET hours = $2 WHERE tenant_id = $1", tenant.id, json.dumps({"week": days}))
    wiring.tenants.forget(tenant.slug)
    assert "cannot be put through" in (await told(tenant, asking(TRANSFER, "b", destination="sales")))["error"]

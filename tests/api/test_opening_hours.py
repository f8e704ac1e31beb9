"""A tenant says when it is open; its tools tell it, and nobody else's."""

import uuid
from typing import Any

import asyncpg
import pytest

from api.wiring import Wiring
from tests.api.people import Tenant

HOURS = {
    "week": {"monday": [{"opens": "09:00", "closes": "17:30"}], "friday": [{"opens": "20:00", "closes": "02:00"}]},
    "days": {"2026-12-25": []},
}
EMPTY: dict[str, Any] = {"week": {}, "days": {}}


async def test_a_tenant_says_its_own_hours_and_no_others(tenant: Tenant, other: Tenant, wiring: Wiring) -> None:
    assert (await tenant.get("/v1/opening-hours")).json() == EMPTY
    put = await tenant.ask("PUT", "/v1/opening-hours", HOURS)
    assert (put.status_code, put.json()) == (200, HOURS)
    assert (await tenant.get("/v1/opening-hours")).json() == HOURS
    assert (await other.get("/v1/opening-hours")).json() == EMPTY
    ours, theirs = await wiring.tenants.by_slug(tenant.slug), await wiring.tenants.by_slug(other.slug)
    assert ours is not None
    assert ours.hours is not None  # at once in this process
    assert ours.hours.week["monday"][0].closes == "17:30"
    assert theirs is not None
    assert theirs.hours is None


async def test_the_tool_tells_them_until_they_are_taken_back(tenant: Tenant) -> None:
    unknown = (await tenant.tool("opening_hours", {"day": "next Monday"}, "call-1", "hours-1")).json()["results"][0]
    assert unknown["error"] == "The opening hours of this business are not known here."
    await tenant.ask("PUT", "/v1/opening-hours", HOURS)
    told = (await tenant.tool("opening_hours", {"day": "next Monday"}, "call-1", "hours-1")).json()["results"][0]  # it was not stored
    assert "9:00 AM to 5:30 PM" in told["result"]
    await tenant.ask("PUT", "/v1/opening-hours", EMPTY)
    assert "error" in (await tenant.tool("opening_hours", {}, "call-1", "hours-2")).json()["results"][0]


async def test_a_change_is_in_the_audit_trail(tenant: Tenant, owner: "asyncpg.Connection[asyncpg.Record]") -> None:
    await tenant.ask("PUT", "/v1/opening-hours", HOURS)
    query = "SELECT actor, detail FROM control.audit WHERE tenant_id = $1 AND action = 'opening_hours.changed'"
    row = await owner.fetchrow(query, uuid.UUID(tenant.id))
    assert row is not None
    assert row["actor"].startswith("key:")
    assert '"week": ["friday", "monday"]' in row["detail"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"week": {"mo": []}}, "/week/mo"),
        ({"week": {"monday": [{"opens": "9", "closes": "17:00"}]}}, "/week/monday/0/opens"),
        ({"week": {"monday": [{"opens": "09:00", "closes": "17:00"}, {"opens": "16:00", "closes": "18:00"}]}}, "/week/monday/1"),
        ({"days": {"2026-02-29": []}}, "/days/2026-02-29"),
        ({"week": {"monday": [{"opens": "09:00"}]}}, None),
        ({"week": {"monday": "09:00"}}, None),
        ({"weeks": {}}, None),
        ([], None),
    ],
    ids=str,
)
async def test_what_cannot_be_is_refused_where_it_stands_and_changes_nothing(tenant: Tenant, body: Any, pointer: str | None) -> None:
    await tenant.ask("PUT", "/v1/opening-hours", HOURS)
    answer = await tenant.ask("PUT", "/v1/opening-hours", body)
    assert answer.status_code == 400, answer.text
    assert pointer is None or pointer in [each["pointer"] for each in answer.json()["errors"]]
    assert (await tenant.get("/v1/opening-hours")).json() == HOURS

"""A tenant says when its texts may leave, and nobody else's."""

import uuid
from typing import Any

import asyncpg
import pytest

from api.wiring import Wiring
from tests.api.people import Person, Tenant

WEEK = {"monday": [{"opens": "10:00", "closes": "16:30"}], "friday": [{"opens": "20:00", "closes": "02:00"}]}
HOURS = {"hours": {"week": WEEK, "days": {"2026-12-25": []}}, "classes": ["transactional", "marketing"]}
EMPTY: dict[str, Any] = {"hours": {"week": {}, "days": {}}, "classes": ["marketing"]}


async def test_a_tenant_says_its_own_hours_and_no_others(tenant: Tenant, other: Tenant, wiring: Wiring) -> None:
    assert (await tenant.get("/v1/quiet-hours")).json() == EMPTY
    put = await tenant.ask("PUT", "/v1/quiet-hours", HOURS)
    assert (put.status_code, put.json()) == (200, HOURS)
    assert (await tenant.get("/v1/quiet-hours")).json() == HOURS
    assert (await other.get("/v1/quiet-hours")).json() == EMPTY
    ours, theirs = await wiring.tenants.by_slug(tenant.slug), await wiring.tenants.by_slug(other.slug)
    assert ours is not None
    assert ours.quiet_hours is not None  # at once in this process
    assert (ours.quiet_hours.hours.week["monday"][0].closes, ours.quiet_hours.classes) == ("16:30", ("transactional", "marketing"))
    assert theirs is not None
    assert theirs.quiet_hours is None
    assert (await tenant.ask("PUT", "/v1/quiet-hours", {})).json() == EMPTY
    again = await wiring.tenants.by_slug(tenant.slug)
    assert again is not None
    assert again.quiet_hours is None


async def test_a_text_outside_of_them_is_scheduled(tenant: Tenant, other: Tenant) -> None:
    new_year = {"hours": {"week": {"monday": [{"opens": "10:00", "closes": "10:01"}]}}, "classes": ["transactional"]}
    assert (await tenant.ask("PUT", "/v1/quiet-hours", new_year)).status_code == 200
    text = {"to": "+12125550101", "body": "See you.", "send_at": "2027-01-01T15:00:00Z"}  # a Friday
    made = [(await each.post("/v1/messages", text)).json() for each in (tenant, other)]
    assert [each["expected_at"] for each in made] == ["2027-01-04T15:00:00.000Z", "2027-01-01T15:00:00.000Z"]
    assert [each["status"] for each in made] == ["scheduled", "scheduled"]


async def test_a_change_is_in_the_audit_trail(tenant: Tenant, owner: "asyncpg.Connection[asyncpg.Record]") -> None:
    await tenant.ask("PUT", "/v1/quiet-hours", HOURS)
    query = "SELECT actor, detail FROM control.audit WHERE tenant_id = $1 AND action = 'quiet_hours.changed'"
    row = await owner.fetchrow(query, uuid.UUID(tenant.id))
    assert row is not None
    assert row["actor"].startswith("key:")
    assert '"week": ["friday", "monday"]' in row["detail"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"hours": {"week": {"mo": []}}}, "/hours/week/mo"),
        ({"hours": {"week": {"monday": [{"opens": "9", "closes": "17:00"}]}}}, "/hours/week/monday/0/opens"),
        ({"hours": {"week": {"monday": []}}}, "/hours/week"),
        ({"hours": {"days": {"2026-12-25": [{"opens": "09:00", "closes": "10:00"}]}}}, "/hours/week"),
        ({"hours": {"days": {"2026-02-29": []}}}, "/hours/days/2026-02-29"),
        ({"hours": {"week": WEEK}, "classes": ["otp"]}, None),
        ({"hours": {"week": WEEK}, "classes": []}, None),
        ({"hours": {"week": WEEK}, "classes": None}, None),
        ({"hours": None}, None),
        ({"week": WEEK}, None),
        ([], None),
    ],
    ids=str,
)
async def test_what_cannot_be_is_refused_where_it_stands_and_changes_nothing(tenant: Tenant, body: Any, pointer: str | None) -> None:
    await tenant.ask("PUT", "/v1/quiet-hours", HOURS)
    answer = await tenant.ask("PUT", "/v1/quiet-hours", body)
    assert answer.status_code == 400, answer.text
    assert pointer is None or pointer in [each["pointer"] for each in answer.json()["errors"]]
    assert (await tenant.get("/v1/quiet-hours")).json() == HOURS


async def test_the_switch_is_turned_for_one_or_for_all(admin: Person, tenant: Tenant, wiring: Wiring) -> None:
    turned = await admin.ask("PUT", "/v1/admin/switches", {"name": "quiet_hours", "mode": "observe", "tenant_id": tenant.id})
    assert turned.status_code == 200, turned.text
    found = await wiring.tenants.by_slug(tenant.slug)
    assert found is not None
    assert found.switch("quiet_hours", "enforce") == "observe"
    assert (await admin.ask("PUT", "/v1/admin/switches", {"name": "quiet_hours", "mode": "on"})).status_code == 400

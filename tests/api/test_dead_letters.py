"""Texts that did not arrive: shown to their tenant with a reason, and sent again as a new text, once."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from tests.api.effects import Effects
from tests.api.people import Tenant
from tests.api.test_messages import HI, queue


async def ended(tenant: Tenant, effects: Effects, status: str = "failed", code: int | None = 30007, kind: str | None = "filtered") -> str:
    """A text that came to this end."""
    message: str = (await queue(tenant))["id"]
    await effects.owner.execute(
        "UPDATE messages SET status = $2, error_code = $3, error_class = $4 WHERE id = $1", message, status, code, kind
    )
    return message


async def dead(tenant: Tenant, query: str = "") -> list[dict[str, Any]]:
    answer = await tenant.get(f"/v1/dead-letters{query}")
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_they_are_listed_for_their_tenant_with_a_reason(tenant: Tenant, other: Tenant, effects: Effects) -> None:
    filtered = await ended(tenant, effects)
    stale = await ended(tenant, effects, "failed", None, "expired")
    stopped = await ended(tenant, effects, "undelivered", 21610, "opt_out")
    silent = await ended(tenant, effects, "failed", None, None)
    for status in ("delivered", "canceled", "queued"):
        await ended(tenant, effects, status, None, None)
    shown = await dead(tenant)
    assert [each["id"] for each in shown] == [silent, stopped, stale, filtered]
    assert all(each["reason"] and each["what_to_do"] and each["to"] == HI["to"] for each in shown)
    assert [each["resendable"] for each in shown] == [True, False, True, True]
    assert shown[2]["reason"] == "It waited longer than it is good for, so it was not sent."
    assert [each["id"] for each in await dead(tenant, "?error_class=expired")] == [stale]
    assert await dead(other) == []


async def test_they_are_paged(tenant: Tenant, effects: Effects) -> None:
    made = [await ended(tenant, effects) for _ in range(3)]
    first = (await tenant.get("/v1/dead-letters?limit=2")).json()
    rest = (await tenant.get(f"/v1/dead-letters?limit=2&cursor={first['next_cursor']}")).json()
    assert [each["id"] for each in first["items"] + rest["items"]] == made[::-1]
    assert rest["next_cursor"] is None
    assert (await tenant.get("/v1/dead-letters?cursor=x")).status_code == 400


@pytest.mark.parametrize("status", ["failed", "undelivered", "canceled"])
async def test_one_is_sent_again_once_however_often_and_at_once(status: str, tenant: Tenant, other: Tenant, effects: Effects) -> None:
    message = await ended(tenant, effects, status)
    before = await effects.arrivals(tenant)
    answers = await asyncio.gather(*(tenant.post(f"/v1/messages/{message}/resend", None) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {202}, answers[0].text
    assert len({answer.text for answer in answers}) == 1
    made = answers[0].json()
    assert set(made) == {"id", "status", "segments", "expected_at"}
    rows = {str(row["id"]): row for row in await effects.rows(tenant, "messages")}
    assert set(rows) == {message, made["id"]}
    assert (rows[made["id"]]["status"], rows[message]["status"]) == ("queued", status)
    for field in ("recipient", "body", "class", "sender_id"):
        assert rows[made["id"]][field] == rows[message][field]
    assert await effects.arrivals(tenant) == before + 1
    assert await effects.counts(other) == {}


@pytest.mark.parametrize("status", ["scheduled", "queued", "sending", "unknown", "sent", "delivered", "held"])
async def test_what_may_still_arrive_is_not_sent_again(status: str, tenant: Tenant, effects: Effects) -> None:
    message = await ended(tenant, effects, status, None, None)
    assert (await tenant.post(f"/v1/messages/{message}/resend", None)).status_code == 409
    assert len(await effects.rows(tenant, "messages")) == 1


async def test_anothers_is_404(tenant: Tenant, other: Tenant, effects: Effects) -> None:
    message = await ended(tenant, effects)
    for asked in (message, str(uuid4())):
        assert (await other.post(f"/v1/messages/{asked}/resend", None)).status_code == 404
    assert len(await effects.rows(tenant, "messages")) == 1


async def test_todays_rules_hold(tenant: Tenant, admin: Any, effects: Effects) -> None:
    stopped, suspended = await ended(tenant, effects), await ended(tenant, effects)
    await effects.owner.execute("INSERT INTO opt_outs (tenant_id, recipient, source) VALUES ($1, $2, 'api')", tenant.id, HI["to"])
    assert (await tenant.post(f"/v1/messages/{stopped}/resend", None)).status_code == 409
    assert (await admin.post(f"/v1/admin/tenants/{tenant.id}/suspend", {})).status_code == 200
    assert (await tenant.post(f"/v1/messages/{suspended}/resend", None)).status_code == 403
    assert len(await effects.rows(tenant, "messages")) == 2

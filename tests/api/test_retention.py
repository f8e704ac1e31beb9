"""A tenant's own retention, the bodies it kept, and what readiness says of their days."""

import uuid
from typing import Any

import asyncpg
import httpx
import pytest

from api.wiring import Wiring
from runtime import metrics
from runtime.ids import TenantId, uuid7
from tests.api.people import Tenant
from webhooks.bodies import keep

DEFAULT = {"keys_hours": 720, "bodies_days": 30, "capture": "failures"}
BODY = b'{"message": {"type": "hang", "call": {"id": "c"}, "apiKey": "planted"}}'


async def test_a_tenant_changes_its_own_retention_and_no_other(tenant: Tenant, other: Tenant, wiring: Wiring) -> None:
    assert (await tenant.get("/v1/retention")).json() == DEFAULT
    wanted = {"keys_hours": 2_160, "bodies_days": 90, "capture": "all"}
    put = await tenant.ask("PUT", "/v1/retention", wanted)
    assert (put.status_code, put.json()) == (200, wanted)
    assert (await tenant.get("/v1/retention")).json() == wanted
    assert (await other.get("/v1/retention")).json() == DEFAULT
    snapshot = await wiring.tenants.by_slug(tenant.slug)
    assert snapshot is not None
    assert (snapshot.bodies_days, snapshot.capture) == (90, "all")  # at once in this process


async def test_a_change_is_in_the_audit_trail(tenant: Tenant, owner: "asyncpg.Connection[asyncpg.Record]") -> None:
    await tenant.ask("PUT", "/v1/retention", {**DEFAULT, "keys_hours": 721})
    row = await owner.fetchrow(
        "SELECT actor, detail FROM control.audit WHERE tenant_id = $1 AND action = 'retention.changed'", uuid.UUID(tenant.id)
    )
    assert row is not None
    assert row["actor"].startswith("key:")
    assert '"keys_hours": 721' in row["detail"]


@pytest.mark.parametrize(
    ("change", "pointer", "words"),
    [
        ({"keys_hours": 71}, "/keys_hours", "at least 72 hours"),
        ({"keys_hours": 0}, "/keys_hours", "at least 72 hours"),
        ({"keys_hours": 8_785}, "/keys_hours", "at most 8784 hours"),
        ({"keys_hours": 10**12}, "/keys_hours", "at most 8784 hours"),
        ({"bodies_days": 8}, "/bodies_days", "7, 30 or 90"),
        ({"bodies_days": 90}, "/bodies_days", "keys_hours of at least 2160"),
        ({"keys_hours": 719}, "/bodies_days", "keys_hours of at least 720"),
        ({"capture": "none"}, "/capture", "failures or of all"),
        ({"more": 1}, "", ""),
    ],
)
async def test_what_cannot_be_is_refused_where_it_stands(tenant: Tenant, change: dict[str, Any], pointer: str, words: str) -> None:
    answer = await tenant.ask("PUT", "/v1/retention", {**DEFAULT, **change})
    assert answer.status_code == 400, answer.text
    assert words in answer.text
    assert not pointer or pointer in [each["pointer"] for each in answer.json()["errors"]]
    assert (await tenant.get("/v1/retention")).json() == DEFAULT


async def test_a_kept_body_is_read_without_its_secrets_by_its_tenant_alone(tenant: Tenant, other: Tenant, wiring: Wiring) -> None:
    webhook = uuid7()
    address = f"/v1/webhooks/{webhook}/body"
    assert (await tenant.get(address)).status_code == 404
    await keep(wiring.database, TenantId(uuid.UUID(tenant.id)), webhook, 30, BODY)
    await keep(wiring.database, TenantId(uuid.UUID(tenant.id)), webhook, 30, b"{}")  # again changes nothing
    found = await tenant.get(address)
    assert (found.status_code, found.headers["content-type"].split(";")[0]) == (200, "application/json")
    assert found.json() == {"message": {"type": "hang", "call": {"id": "c"}, "apiKey": "[redacted]"}}
    assert (await other.get(address)).status_code == 404
    for never in (uuid.UUID(int=(1 << 128) - 1), uuid.UUID(int=0)):
        assert (await tenant.get(f"/v1/webhooks/{never}/body")).status_code == 404


async def test_a_large_body_is_kept_too(tenant: Tenant, wiring: Wiring) -> None:
    webhook, words = uuid7(), ["word " * 1_000] * 600
    await keep(
        wiring.database, TenantId(uuid.UUID(tenant.id)), webhook, 7, b'{"t": ["' + b'", "'.join(word.encode() for word in words) + b'"]}'
    )
    assert (await tenant.get(f"/v1/webhooks/{webhook}/body")).json() == {"t": words}


async def test_a_body_that_cannot_be_kept_is_counted_and_raises_nothing(tenant: Tenant, wiring: Wiring) -> None:
    failed = metrics.BODIES.labels("failed")._value.get
    before = failed()
    of_another_age = uuid.UUID(int=7 << 76)  # 1970 has no day
    await keep(wiring.database, TenantId(uuid.UUID(tenant.id)), of_another_age, 30, BODY)
    await keep(wiring.database, TenantId(uuid.UUID(tenant.id)), uuid7(), 31, BODY)
    assert failed() == before + 2


async def test_readiness_tells_of_missing_days_and_stays(http: httpx.AsyncClient, owner: "asyncpg.Connection[asyncpg.Record]") -> None:
    await owner.execute("SELECT app.make_body_days_v1(7)")  # a midnight may have passed since the schema was made
    assert (await http.get("/health/ready")).json()["bodies"] == "ok"
    for ahead in (7, 3, 0):  # then even today is missing: webhooks are stored all the same
        name = await owner.fetchval("SELECT 'public.' || app.body_day_name(30, app.today() + $1::int)", ahead)
        await owner.execute(f"DROP TABLE {name}")
        answer = await http.get("/health/ready")
        assert (answer.status_code, answer.json()["bodies"]) == (200, "ok" if ahead == 7 else "missing days")
    await owner.execute("SELECT app.make_body_days_v1(7)")
    assert (await http.get("/health/ready")).json()["bodies"] == "ok"

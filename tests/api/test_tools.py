"""Tools of the tenant's own: defined, shown without their secret, rotated with a grace, and nobody else's."""

import base64
from typing import Any
from uuid import UUID

import pytest

from api.wiring import Wiring
from runtime.ids import TenantId
from tenants.endpoints import signing_key
from tenants.http_tools import COLUMN, MOST_TOOLS, RESERVED
from tenants.snapshot import ToolView
from tests.api.effects import Effects
from tests.api.people import Tenant

URL = "https://booking.example.com/book"
GIVEN = "whsec_" + base64.b64encode(b"k" * 24).decode()
WHOLE = {
    "url": URL,
    "method": "PUT",
    "timeout_ms": 900,
    "description": "Books a table",
    "repeatable": False,
    "business_key": {"arguments": ["slot", "phone"], "window_seconds": 60},
}


async def put(tenant: Tenant, name: str = "book", **body: Any) -> Any:
    answer = await tenant.ask("PUT", f"/v1/tools/{name}", {"url": URL, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def seen(tenant: Tenant, wiring: Wiring, name: str = "book") -> ToolView:
    """The tool as a webhook of this process finds it now."""
    snapshot = await wiring.tenants.by_slug(tenant.slug)
    assert snapshot is not None
    return snapshot.tools[name]


def opened(wiring: Wiring, tenant: Tenant, sealed: str | None) -> str | None:
    return None if sealed is None else wiring.keyring.open(sealed, TenantId(UUID(tenant.id)), COLUMN)


async def test_a_tool_is_made_with_defaults_and_its_secret_is_shown_once(tenant: Tenant, effects: Effects) -> None:
    made = await put(tenant)
    secret = made.pop("secret")
    assert len(signing_key(secret)) == 32
    assert made["created_at"] == made["updated_at"]
    assert {name: value for name, value in made.items() if not name.endswith("_at")} == {
        "name": "book",
        "url": URL,
        "method": "POST",
        "timeout_ms": 5000,
        "description": "",
        "repeatable": False,
        "business_key": None,
        "parameters": None,
    }
    assert (await tenant.get("/v1/tools/book")).json() == made
    assert (await tenant.get("/v1/tools")).json() == {"items": [made], "next_cursor": None}
    stored = str([await effects.owner.fetch(f"SELECT to_jsonb(t)::text FROM {table} AS t") for table in ("http_tools", "control.audit")])
    assert "booking.example.com" in stored
    assert secret not in stored


async def test_a_change_replaces_all_but_the_secret(tenant: Tenant, wiring: Wiring) -> None:
    secret = (await put(tenant))["secret"]
    changed = await put(tenant, **WHOLE)
    assert "secret" not in changed
    assert {name: changed[name] for name in WHOLE} == WHOLE
    assert changed["updated_at"] > changed["created_at"]
    tool = await seen(tenant, wiring)
    assert (tool.method, tool.timeout_ms, tool.repeatable, tool.business_arguments, tool.business_seconds) == (
        "PUT",
        900,
        False,
        ("slot", "phone"),
        60,
    )
    assert opened(wiring, tenant, tool.secret_sealed) == secret
    assert (await put(tenant))["business_key"] is None


async def test_a_secret_may_be_given_and_ends_the_others_at_once(tenant: Tenant, wiring: Wiring) -> None:
    assert (await put(tenant, secret=GIVEN))["secret"] == GIVEN
    await tenant.post("/v1/tools/book/rotate-secret", {"grace_seconds": 600})
    assert (await put(tenant, secret=GIVEN))["secret"] == GIVEN
    tool = await seen(tenant, wiring)
    assert (opened(wiring, tenant, tool.secret_sealed), tool.previous_secret_sealed) == (GIVEN, None)


async def test_rotation_lets_both_secrets_sign_until_the_grace_ends(tenant: Tenant, wiring: Wiring, effects: Effects) -> None:
    first = (await put(tenant))["secret"]
    rotated = await tenant.post("/v1/tools/book/rotate-secret", {"grace_seconds": 600})
    assert rotated.status_code == 200
    second = rotated.json()["secret"]
    assert second != first
    tool = await seen(tenant, wiring)
    assert [opened(wiring, tenant, each) for each in (tool.secret_sealed, tool.previous_secret_sealed)] == [second, first]
    await effects.owner.execute("UPDATE http_tools SET previous_secret_until = app.now() WHERE tenant_id = $1", tenant.id)
    wiring.tenants.forget(tenant.slug)
    assert (await seen(tenant, wiring)).previous_secret_sealed is None
    third = (await tenant.post("/v1/tools/book/rotate-secret", {"grace_seconds": 0})).json()["secret"]
    tool = await seen(tenant, wiring)
    assert (opened(wiring, tenant, tool.secret_sealed), tool.previous_secret_sealed) == (third, None)


async def test_what_was_done_is_in_the_audit_trail_without_secrets(tenant: Tenant, effects: Effects) -> None:
    await put(tenant)
    await put(tenant, secret=GIVEN)
    await tenant.post("/v1/tools/book/rotate-secret", {})
    await tenant.ask("DELETE", "/v1/tools/book")
    rows = await effects.owner.fetch(
        "SELECT action, target, detail::text FROM control.audit WHERE tenant_id = $1 AND action LIKE 'tool.%' ORDER BY id", tenant.id
    )
    assert [row["action"] for row in rows] == ["tool.created", "tool.changed", "tool.secret_rotated", "tool.removed"]
    assert {row["target"] for row in rows} == {"book"}
    assert "whsec_" not in str(rows)


async def test_a_list_goes_by_name_and_page(tenant: Tenant) -> None:
    for name in ("c", "a", "b"):
        await put(tenant, name)
    first = (await tenant.get("/v1/tools?limit=2")).json()
    second = (await tenant.get(f"/v1/tools?limit=2&cursor={first['next_cursor']}")).json()
    assert [tool["name"] for tool in first["items"] + second["items"]] == ["a", "b", "c"]
    assert second["next_cursor"] is None


async def test_what_is_removed_is_gone(tenant: Tenant, wiring: Wiring) -> None:
    secret = (await put(tenant))["secret"]
    assert (await tenant.ask("DELETE", "/v1/tools/book")).status_code == 204
    snapshot = await wiring.tenants.by_slug(tenant.slug)
    assert snapshot is not None
    assert snapshot.tools == {}
    assert (await put(tenant))["secret"] != secret


async def test_another_tenants_tool_is_not_there(tenant: Tenant, other: Tenant, effects: Effects) -> None:
    mine = await put(tenant, **WHOLE)
    for method, path, body in (
        ("GET", "/v1/tools/book", None),
        ("DELETE", "/v1/tools/book", None),
        ("POST", "/v1/tools/book/rotate-secret", {}),
    ):
        assert (await other.ask(method, path, body)).status_code == 404
    assert (await other.get("/v1/tools")).json()["items"] == []
    theirs = await put(other, url="https://theirs.example.com/")
    assert theirs["secret"] != mine["secret"]
    await other.ask("DELETE", "/v1/tools/book")
    assert (await tenant.get("/v1/tools/book")).json()["url"] == URL
    assert await effects.owner.fetchval("SELECT count(*) FROM http_tools WHERE tenant_id = $1", tenant.id) == 1


async def test_a_tenant_has_at_most_a_hundred(tenant: Tenant, effects: Effects) -> None:
    await put(tenant)
    copied = "tenant_id, url, method, timeout_ms, secret_sealed, repeatable"
    await effects.owner.execute(
        f"INSERT INTO http_tools (name, {copied}) SELECT 'more' || n, {copied} FROM http_tools, generate_series(2, $2::int) AS n"
        " WHERE tenant_id = $1",
        tenant.id,
        MOST_TOOLS,
    )
    assert (await tenant.ask("PUT", "/v1/tools/new", {"url": URL})).status_code == 400
    await put(tenant, description="one that is there may change")


BODIES = {
    "no url": ({}, ""),
    "plain http": ({"url": "http://booking.example.com/"}, "/url"),
    "loopback": ({"url": "https://127.0.0.1/"}, "/url"),
    "metadata": ({"url": "https://169.254.169.254/latest"}, "/url"),
    "odd spelling": ({"url": "https://0x7f.1/"}, "/url"),
    "credentials": ({"url": "https://user:pass@booking.example.com/"}, "/url"),
    "long url": ({"url": "https://booking.example.com/" + "a" * 2_000}, "/url"),
    "no url at all": ({"url": "book"}, "/url"),
    "method": ({"url": URL, "method": "TRACE"}, "/method"),
    "too quick": ({"url": URL, "timeout_ms": 99}, "/timeout_ms"),
    "too slow": ({"url": URL, "timeout_ms": 15_001}, "/timeout_ms"),
    "secret without its prefix": ({"url": URL, "secret": "c2VjcmV0"}, "/secret"),
    "short secret": ({"url": URL, "secret": "whsec_c2VjcmV0"}, "/secret"),
    "no base64": ({"url": URL, "secret": "whsec_" + "=" * 40}, "/secret"),
    "no arguments": ({"url": URL, "business_key": {"arguments": []}}, "/business_key/arguments"),
    "an argument twice": ({"url": URL, "business_key": {"arguments": ["a", "a"]}}, "/business_key/arguments"),
    "window": ({"url": URL, "business_key": {"arguments": ["a"], "window_seconds": 0}}, "/business_key/window_seconds"),
    "unknown field": ({"url": URL, "colour": "red"}, ""),
}


@pytest.mark.parametrize(("body", "pointer"), BODIES.values(), ids=BODIES)
async def test_a_body_that_is_wrong_says_where(body: object, pointer: str, tenant: Tenant) -> None:
    answer = await tenant.ask("PUT", "/v1/tools/book", body)
    assert answer.status_code == 400, answer.text
    (error,) = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert error["detail"]
    assert (await tenant.get("/v1/tools/book")).status_code == 404


@pytest.mark.parametrize("name", ["a b", "a.b", "ü", "a" * 65, "a%0A", *sorted(RESERVED)])
async def test_a_name_that_is_wrong_or_ours_is_refused(name: str, tenant: Tenant) -> None:
    answer = await tenant.ask("PUT", f"/v1/tools/{name}", {"url": URL})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/name"), answer.text


@pytest.mark.parametrize("name", ["a%00b", "%FF", "a%2Fb", "..", "%ED%A0%80", "a" * 3_000, "none"])
async def test_a_name_that_is_nobodys_is_not_found(name: str, tenant: Tenant) -> None:
    for method, path, body in (("GET", "", None), ("DELETE", "", None), ("POST", "/rotate-secret", {})):
        assert (await tenant.ask(method, f"/v1/tools/{name}{path}", body)).status_code == 404


@pytest.mark.parametrize("cursor", [base64.urlsafe_b64encode(b"a\x00").decode(), "%00", "~", "YSBi"])
async def test_a_cursor_that_is_none_is_refused(cursor: str, tenant: Tenant) -> None:
    assert (await tenant.get(f"/v1/tools?cursor={cursor}")).status_code == 400


@pytest.mark.parametrize("grace", [-1, 604_801, "soon", None])
async def test_a_grace_is_a_number_of_seconds_up_to_a_week(grace: object, tenant: Tenant) -> None:
    await put(tenant)
    answer = await tenant.post("/v1/tools/book/rotate-secret", {"grace_seconds": grace})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/grace_seconds")

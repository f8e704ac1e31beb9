"""The operator's API: tenants and their life, keys, switches, plans, and the trail of who changed what."""

import asyncio
import uuid
from typing import Any

import pytest

from tests.api.effects import Effects
from tests.api.people import PUBLIC, Person, Tenant

HI = {"to": "+12135550123", "body": "Hi"}


def wanted(**changes: Any) -> dict[str, Any]:
    return {"slug": f"t-{uuid.uuid4().hex[:12]}", "name": "Smile Dental", "timezone": "America/Los_Angeles", **changes}


async def trail(admin: Person, tenant_id: str) -> list[tuple[str, str]]:
    """Who did what to a tenant, the newest first."""
    answer = await admin.get(f"/v1/admin/audit?tenant_id={tenant_id}&limit=200")
    assert answer.status_code == 200, answer.text
    return [(entry["actor"], entry["action"]) for entry in answer.json()["items"]]


async def test_a_tenant_is_made_with_all_it_needs(admin: Person) -> None:
    body = wanted(tier="toll_free")
    made = await admin.post("/v1/admin/tenants", body)
    assert made.status_code == 201
    shown = made.json()
    assert {name: shown[name] for name in body} == body
    assert (shown["status"], shown["plan"], shown["max_tier"]) == ("active", "standard", None)
    assert shown["webhook_url"] == f"{PUBLIC}/vapi-webhook/{body['slug']}"
    person = Person(admin.http, shown.pop("api_key"))
    assert (await person.get("/v1/usage")).status_code == 200  # it is on a plan
    again = await admin.get(f"/v1/admin/tenants/{shown['id']}")
    assert again.json() == shown
    assert person.key not in again.text
    assert shown in (await admin.get("/v1/admin/tenants?limit=200")).json()["items"]
    assert await trail(admin, shown["id"]) == [("admin", "key.created"), ("admin", "tenant.created")]


async def test_a_slug_is_taken_for_ever(admin: Person, tenant: Tenant) -> None:
    assert (await admin.post("/v1/admin/tenants", wanted(slug=tenant.slug))).status_code == 409
    bodies = [wanted() for _ in range(3)] + [wanted(slug="race-" + uuid.uuid4().hex[:8])] * 5
    answers = await asyncio.gather(*(admin.post("/v1/admin/tenants", body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [201] * 4 + [409] * 4


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "capital slug": ({"slug": "Smile"}, "/slug"),
    "slug with a space": ({"slug": "smile dental"}, "/slug"),
    "slug of one letter": ({"slug": "a"}, "/slug"),
    "slug of 64 letters": ({"slug": "a" * 64}, "/slug"),
    "slug with two hyphens": ({"slug": "a--b"}, "/slug"),
    "slug that ends with a hyphen": ({"slug": "ab-"}, "/slug"),
    "slug with a line break": ({"slug": "smile\n"}, "/slug"),
    "slug of other letters": ({"slug": "sm\u00eele"}, "/slug"),
    "empty name": ({"name": ""}, "/name"),
    "name with a line break": ({"name": "a\nb"}, "/name"),
    "name of 201 letters": ({"name": "x" * 201}, "/name"),
    "zone on Mars": ({"timezone": "Mars/Olympus"}, "/timezone"),
    "zone that is a file": ({"timezone": "../etc/passwd"}, "/timezone"),
    "zone by offset": ({"timezone": "+02:00"}, "/timezone"),
    "unknown tier": ({"tier": "warp"}, "/tier"),
    "tier of WhatsApp": ({"tier": "whatsapp"}, "/tier"),
    "unknown field": ({"colour": "red"}, ""),
    "no field": ({"slug": None, "name": None}, "/slug"),
}


@pytest.mark.parametrize(("change", "pointer"), REFUSED.values(), ids=REFUSED)
async def test_a_tenant_that_cannot_be_is_refused_with_its_place(change: dict[str, Any], pointer: str, admin: Person) -> None:
    answer = await admin.post("/v1/admin/tenants", wanted(**change))
    assert (answer.status_code, [error["pointer"] for error in answer.json()["errors"]]) == (400, [pointer])


async def test_nothing_remains_of_a_tenant_whose_plan_does_not_exist(admin: Person) -> None:
    body = wanted(plan="golden")
    assert (await admin.post("/v1/admin/tenants", body)).status_code in (400, 404)
    assert (await admin.post("/v1/admin/tenants", {**body, "plan": "standard"})).status_code == 201


async def test_what_is_given_changes_and_the_rest_stays(admin: Person, tenant: Tenant) -> None:
    path = f"/v1/admin/tenants/{tenant.id}"
    before = (await admin.get(path)).json()
    changes = {"name": "New name", "timezone": "Europe/Berlin", "max_tier": "toll_free", "tier": "short_code"}
    for field, value in changes.items():
        changed = await admin.ask("PATCH", path, {field: value})
        assert changed.status_code == 200, changed.text
        before[field] = value
        assert changed.json() == before
    cleared = await admin.ask("PATCH", path, {"max_tier": None, "tier": None})
    assert cleared.json() == {**before, "max_tier": None, "tier": None}
    assert (await admin.ask("PATCH", path, {})).json() == cleared.json()
    spoken = (await tenant.tool("current_time", {})).json()["results"][0]["result"]
    assert "Europe/Berlin" in spoken
    assert (await trail(admin, tenant.id)).count(("admin", "tenant.changed")) == 5


UNCHANGEABLE: dict[str, tuple[dict[str, Any], str]] = {
    "slug": ({"slug": "another"}, "/slug"),
    "status": ({"status": "closed"}, "/status"),
    "id": ({"id": str(uuid.uuid4())}, "/id"),
    "no name": ({"name": None}, "/name"),
    "no zone": ({"timezone": None}, "/timezone"),
    "no plan": ({"plan": None}, "/plan"),
    "bad zone": ({"timezone": "Mars/Olympus"}, "/timezone"),
    "bad tier": ({"max_tier": "warp"}, "/max_tier"),
}


@pytest.mark.parametrize(("change", "pointer"), UNCHANGEABLE.values(), ids=UNCHANGEABLE)
async def test_some_things_do_not_change(change: dict[str, Any], pointer: str, admin: Person, tenant: Tenant) -> None:
    path = f"/v1/admin/tenants/{tenant.id}"
    before = (await admin.get(path)).json()
    answer = await admin.ask("PATCH", path, {"name": "Not stored", **change})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, pointer)
    assert (await admin.get(path)).json() == before


async def test_a_plan_that_does_not_exist_changes_nothing(admin: Person, tenant: Tenant) -> None:
    path = f"/v1/admin/tenants/{tenant.id}"
    before = (await admin.get(path)).json()
    assert (await admin.ask("PATCH", path, {"plan": "golden", "name": "Not stored"})).status_code in (400, 404)
    assert (await admin.get(path)).json() == before


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("PATCH", "", {"name": "x"}),
        ("PATCH", "", {}),
        ("POST", "/suspend", {}),
        ("POST", "/resume", {}),
        ("GET", "/keys", None),
        ("POST", "/keys", {}),
        ("DELETE", "/keys/{key}", None),
    ],
)
async def test_a_tenant_that_is_not_there_is_404(method: str, path: str, body: Any, admin: Person) -> None:
    where = f"/v1/admin/tenants/{uuid.uuid4()}{path.format(key=uuid.uuid4())}"
    assert (await admin.ask(method, where, body)).status_code == 404


async def test_suspended_nothing_is_done_and_resumed_it_is(admin: Person, tenant: Tenant, effects: Effects) -> None:
    path = f"/v1/admin/tenants/{tenant.id}"
    queued = (await tenant.post("/v1/messages", HI)).json()["id"]
    columns = "tenant_id, registration_id, next_at"
    await effects.owner.execute(
        f"INSERT INTO control.schedule ({columns}) VALUES ($1, $2, app.now())", tenant.id, tenant.sender["registration_id"]
    )
    suspended = await admin.post(f"{path}/suspend", {"reason": "unpaid"})
    assert (suspended.status_code, suspended.json()["status"], suspended.json()["status_reason"]) == (200, "suspended", "unpaid")
    shown = (await tenant.get(f"/v1/messages/{queued}")).json()
    assert (shown["status"], "suspended" in shown["error"]["reason"]) == ("held", True)
    assert [each["id"] for each in (await tenant.get("/v1/messages?status=held")).json()["items"]] == [queued]
    assert (await tenant.get("/v1/limits")).json()["paused_reason"] == "suspended"
    assert "paused" in (await tenant.tool("send_sms", {"body": "Hi"})).json()["results"][0]["error"]
    ask = await tenant.webhook({"message": {"type": "assistant-request", "call": {"id": "c"}}})
    assert "paused" in ask.json()["error"]
    assert (await tenant.post("/v1/messages", HI)).status_code == 403
    report = {"message": {"type": "end-of-call-report", "call": {"id": "c"}, "durationSeconds": 5}}
    assert (await tenant.webhook(report)).status_code == 200
    assert (await effects.usage(tenant))["call_seconds"] == (1, 5.0)  # what was used is on the bill all the same
    resumed = await admin.post(f"{path}/resume", {})
    assert (resumed.status_code, resumed.json()["status"], resumed.json()["status_reason"]) == (200, "active", None)
    assert (await tenant.get(f"/v1/messages/{queued}")).json()["status"] == "queued"
    assert (await tenant.tool("send_sms", {"body": "Hi"})).json()["results"][0]["result"]
    assert [action for _, action in await trail(admin, tenant.id)][:2] == ["tenant.resumed", "tenant.suspended"]


async def test_one_tenants_suspension_is_no_others(admin: Person, tenant: Tenant, other: Tenant) -> None:
    await admin.post(f"/v1/admin/tenants/{tenant.id}/suspend", {})
    assert (await other.tool("send_sms", {"body": "Hi"})).json()["results"][0]["result"]
    listed = (await admin.get("/v1/admin/tenants?status=suspended&limit=200")).json()["items"]
    assert tenant.id in [each["id"] for each in listed]
    assert other.id not in [each["id"] for each in listed]


async def test_tenants_are_paged_the_newest_first(admin: Person, tenant: Tenant, other: Tenant) -> None:
    first = (await admin.get("/v1/admin/tenants?limit=1")).json()
    second = (await admin.get(f"/v1/admin/tenants?limit=1&cursor={first['next_cursor']}")).json()
    assert [first["items"][0]["id"], second["items"][0]["id"]] == sorted([tenant.id, other.id], reverse=True)


async def test_keys_have_names_and_scopes_and_are_shown_once(admin: Person, tenant: Tenant, effects: Effects) -> None:
    path = f"/v1/admin/tenants/{tenant.id}/keys"
    made = (await admin.post(path, {"name": "reader", "scopes": ["read"]})).json()
    listed = (await admin.get(path)).json()["items"]
    assert [(each["name"], each["scopes"], each["revoked_at"]) for each in listed] == [
        ("first key", ["read", "write"], None),
        ("reader", ["read"], None),
    ]
    stored = str(await effects.owner.fetch("SELECT to_jsonb(k)::text FROM control.api_keys AS k WHERE tenant_id = $1", tenant.id))
    for text in (str(listed), stored, str(await trail(admin, tenant.id))):
        assert made["api_key"] not in text
    assert (await admin.post(path, {"scopes": ["admin"]})).status_code == 400
    elsewhere = f"/v1/admin/tenants/{uuid.uuid4()}/keys/{made['id']}"
    assert (await admin.ask("DELETE", elsewhere)).status_code == 404


async def test_a_switch_holds_one_tenants_texts_and_lets_them_go(admin: Person, tenant: Tenant, other: Tenant, effects: Effects) -> None:
    for each in (tenant, other):
        columns = "tenant_id, registration_id, next_at"
        await effects.owner.execute(
            f"INSERT INTO control.schedule ({columns}) VALUES ($1, $2, app.now())", each.id, each.sender["registration_id"]
        )
    turned = await admin.ask("PUT", "/v1/admin/switches", {"name": "sending", "mode": "hold", "tenant_id": tenant.id})
    assert (turned.status_code, turned.json()["mode"], turned.json()["tenant_id"]) == (200, "hold", tenant.id)
    queued, free = [(await each.post("/v1/messages", HI)).json()["id"] for each in (tenant, other)]
    assert (await tenant.get(f"/v1/messages/{queued}")).json()["status"] == "held"
    assert (await other.get(f"/v1/messages/{free}")).json()["status"] == "queued"
    listed = (await admin.get("/v1/admin/switches")).json()["items"]
    assert [each["mode"] for each in listed if each["tenant_id"] == tenant.id] == ["hold"]
    assert [each["mode"] for each in listed if each["tenant_id"] is None and each["name"] == "sending"] == ["on"]
    await admin.ask("PUT", "/v1/admin/switches", {"name": "sending", "mode": "on", "tenant_id": tenant.id})
    assert (await tenant.get(f"/v1/messages/{queued}")).json()["status"] == "queued"
    assert (await trail(admin, tenant.id))[:2] == [("admin", "switch.turned")] * 2


async def test_resuming_does_not_end_a_hold_of_the_operator(admin: Person, tenant: Tenant, effects: Effects) -> None:
    columns = "tenant_id, registration_id, next_at"
    await effects.owner.execute(
        f"INSERT INTO control.schedule ({columns}) VALUES ($1, $2, app.now())", tenant.id, tenant.sender["registration_id"]
    )
    await admin.ask("PUT", "/v1/admin/switches", {"name": "sending", "mode": "hold", "tenant_id": tenant.id})
    await admin.post(f"/v1/admin/tenants/{tenant.id}/suspend", {})
    await admin.post(f"/v1/admin/tenants/{tenant.id}/resume", {})
    queued = (await tenant.post("/v1/messages", HI)).json()["id"]
    assert (await tenant.get(f"/v1/messages/{queued}")).json()["status"] == "held"
    await admin.ask("PUT", "/v1/admin/switches", {"name": "sending", "mode": "on", "tenant_id": tenant.id})
    assert (await tenant.get(f"/v1/messages/{queued}")).json()["status"] == "queued"


SWITCHES: dict[str, tuple[dict[str, Any], int]] = {
    "unknown switch": ({"name": "gravity", "mode": "on"}, 400),
    "unknown mode": ({"name": "sending", "mode": "off"}, 400),
    "no mode": ({"name": "sending"}, 400),
    "unknown tenant": ({"name": "sending", "mode": "on", "tenant_id": str(uuid.uuid4())}, 404),
    "tenant that is no id": ({"name": "sending", "mode": "on", "tenant_id": "x"}, 400),
}


@pytest.mark.parametrize(("body", "status"), SWITCHES.values(), ids=SWITCHES)
async def test_a_switch_that_cannot_be_turned_is_refused(body: dict[str, Any], status: int, admin: Person) -> None:
    assert (await admin.ask("PUT", "/v1/admin/switches", body)).status_code == status


def plan(**changes: Any) -> dict[str, Any]:
    prices = [{"meter": "sms_segments_out", "unit_price": "0.0199", "included": "500"}]
    return {"name": f"plan-{uuid.uuid4().hex[:8]}", "currency": "USD", "base_fee": "49.00", "prices": prices, **changes}


async def test_a_plan_is_made_in_versions(admin: Person, tenant: Tenant) -> None:
    body = plan()
    first, second = [await admin.post("/v1/admin/plans", each) for each in (body, {**body, "base_fee": "59"})]
    assert [answer.status_code for answer in (first, second)] == [201, 201]
    assert [answer.json()["version"] for answer in (first, second)] == [1, 2]
    assert (first.json()["base_fee"], first.json()["prices"][0]["unit_price"]["amount"]) == (
        {"amount": "49.00", "currency": "USD"},
        "0.0199",
    )
    listed = (await admin.get("/v1/admin/plans")).json()["items"]
    assert [each for each in listed if each["name"] == body["name"]] == [second.json(), first.json()]
    assert (await admin.ask("PATCH", f"/v1/admin/tenants/{tenant.id}", {"plan": body["name"]})).json()["plan"] == body["name"]


PLANS = {
    "no currency": {"currency": None},
    "currency of two letters": {"currency": "US"},
    "negative fee": {"base_fee": "-1"},
    "fee that is no number": {"base_fee": "much"},
    "endless fee": {"base_fee": "Infinity"},
    "unknown meter": {"prices": [{"meter": "smiles", "unit_price": "1"}]},
    "one meter twice": {"prices": [{"meter": "calls", "unit_price": "1"}, {"meter": "calls", "unit_price": "2"}]},
    "negative price": {"prices": [{"meter": "calls", "unit_price": "-1"}]},
    "price for none": {"prices": [{"meter": "calls", "unit_price": "1", "per": "0"}]},
    "price that is no number": {"prices": [{"meter": "calls", "unit_price": "NaN"}]},
    "empty name": {"name": ""},
}


@pytest.mark.parametrize("change", PLANS.values(), ids=PLANS)
async def test_a_plan_that_cannot_be_is_refused(change: dict[str, Any], admin: Person) -> None:
    answer = await admin.post("/v1/admin/plans", plan(**change))
    assert answer.status_code == 400, answer.text


async def test_the_trail_is_paged_and_filtered(admin: Person, tenant: Tenant) -> None:
    whole = await trail(admin, tenant.id)
    found: list[tuple[str, str]] = []
    page: dict[str, Any] = {"next_cursor": ""}
    while page["next_cursor"] is not None:
        cursor = f"&cursor={page['next_cursor']}" if found else ""
        page = (await admin.get(f"/v1/admin/audit?tenant_id={tenant.id}&limit=1{cursor}")).json()
        found += [(entry["actor"], entry["action"]) for entry in page["items"]]
    assert found == whole
    assert [action for _, action in whole] == ["sender.put", "assistant.registered", "key.created", "tenant.created"]

"""Tiers of the operator's own and overrides: defined, granted, changed, retired; whoever has them follows at once and nobody else does."""

from typing import Any
from uuid import uuid4

import pytest

from tests.api.effects import Effects
from tests.api.people import CALLER, Person, Tenant, sender_body

HI = {"to": CALLER, "body": "Hi"}


async def made(admin: Person, **terms: Any) -> dict[str, Any]:
    """A tier of the operator's."""
    answer = await admin.post("/v1/admin/tiers", {"name": f"tier_{uuid4().hex[:12]}", "segments_per_second": "3.75", **terms})
    assert answer.status_code == 201, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def claim(tenant: Tenant, tier: str, **more: Any) -> dict[str, Any]:
    """The tenant's default sender, declared with a tier."""
    answer = await tenant.ask("PUT", "/v1/sender", sender_body(tier, **more))
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def granted(tenant: Tenant) -> list[tuple[str, str, str]]:
    """Of each sender: tier, source, segments per second."""
    return [(each["tier"], each["tier_source"], each["segments_per_second"]) for each in (await tenant.get("/v1/senders")).json()["items"]]


async def registrations(admin: Person, tenant: Tenant) -> dict[str, dict[str, Any]]:
    """A tenant's registrations by id, as the operator sees them."""
    answer = await admin.get(f"/v1/admin/tenants/{tenant.id}/registrations")
    assert answer.status_code == 200, answer.text
    return {each["id"]: each for each in answer.json()["items"]}


async def override(admin: Person, tenant: Tenant, registration: str, **terms: Any) -> dict[str, Any]:
    answer = await admin.ask("PUT", f"/v1/admin/tenants/{tenant.id}/registrations/{registration}", terms)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def test_an_own_tier_is_listed_beside_the_built_in_ones(admin: Person) -> None:
    tier = await made(admin, description="Pilot customers", segments_per_minute=200, day_cap=900, blocked_destinations=["CA"])
    listed = {each["name"]: each for each in (await admin.get("/v1/admin/tiers")).json()["items"]}
    assert listed[tier["name"]] == tier
    assert (tier["own"], tier["segments_per_minute"], tier["given"]) == (
        True,
        200,
        {"segments_per_second": "3.75", "segments_per_minute": 200},
    )
    assert tier["day_caps"] == [{"carrier": "all", "segments": 900, "timezone": "America/Los_Angeles", "kind": "enforced"}]
    built_in = listed["low_volume_mixed"]
    assert (built_in["own"], built_in["segments_per_second"], built_in["given"]) == (False, "3.75", None)


RATES: dict[str, tuple[dict[str, Any], int]] = {
    "per second": ({"segments_per_second": "3.75"}, 225),
    "rounded down": ({"segments_per_second": "0.99"}, 59),
    "per minute": ({"segments_per_second": None, "segments_per_minute": 7}, 7),
    "the second is stricter": ({"segments_per_second": "1", "segments_per_minute": 600}, 60),
    "the minute is stricter": ({"segments_per_second": "100", "segments_per_minute": 600}, 600),
}


@pytest.mark.parametrize(("terms", "expected"), RATES.values(), ids=RATES)
async def test_the_stricter_rate_holds(terms: dict[str, Any], expected: int, admin: Person) -> None:
    assert (await made(admin, **terms))["segments_per_minute"] == expected


REFUSED: dict[str, tuple[dict[str, Any], int]] = {
    "a built-in name": ({"name": "short_code"}, 409),
    "the name of what no sender has": ({"name": "whatsapp"}, 409),
    "a name with capitals": ({"name": "Pilot"}, 400),
    "no rate": ({"segments_per_second": None}, 400),
    "a rate of nothing": ({"segments_per_second": "0"}, 400),
    "less than one a minute": ({"segments_per_second": "0.01"}, 400),
    "no number": ({"segments_per_second": "NaN"}, 400),
    "endless": ({"segments_per_second": "Infinity"}, 400),
    "too fine": ({"segments_per_second": "3.33333"}, 400),
    "too fast": ({"segments_per_second": "5000"}, 400),
    "an empty day": ({"day_cap": 0}, 400),
    "no country": ({"blocked_destinations": ["us"]}, 400),
}


@pytest.mark.parametrize(("terms", "status"), REFUSED.values(), ids=REFUSED)
async def test_a_tier_that_cannot_be_is_refused(terms: dict[str, Any], status: int, admin: Person) -> None:
    body = {"name": f"tier_{uuid4().hex[:12]}", "segments_per_second": "1", **terms}
    answer = await admin.post("/v1/admin/tiers", body)
    assert answer.status_code == status, answer.text
    listed = {each["name"]: each["own"] for each in (await admin.get("/v1/admin/tiers")).json()["items"]}
    assert not listed.get(body["name"], False)


async def test_a_tenant_claims_it_and_a_change_reaches_all_that_have_it_and_nobody_else(
    admin: Person, tenant: Tenant, other: Tenant
) -> None:
    tier, stranger = await made(admin), await made(admin, segments_per_second="2")
    assert (await claim(tenant, tier["name"]))["segments_per_second"] == "3.75"
    await claim(other, stranger["name"])
    before = await granted(other)
    answer = await admin.ask("PATCH", f"/v1/admin/tiers/{tier['name']}", {"segments_per_minute": 30})
    assert (answer.status_code, answer.json()["segments_per_second"]) == (200, "0.5")
    assert (tier["name"], "tenant", "0.5") in await granted(tenant)
    assert await granted(other) == before
    lifted = await admin.ask("PATCH", f"/v1/admin/tiers/{tier['name']}", {"segments_per_minute": None, "segments_per_second": "50"})
    assert lifted.json()["segments_per_second"] == "50"
    assert (tier["name"], "tenant", "50") in await granted(tenant)
    trail = (await admin.get(f"/v1/admin/audit?tenant_id={tenant.id}")).json()["items"]
    assert [each["detail"]["segments_per_minute"] for each in trail if each["action"] == "registration.settled"] == [3000, 30]


async def test_a_rate_cannot_be_taken_away_altogether(admin: Person) -> None:
    tier = await made(admin)
    answer = await admin.ask("PATCH", f"/v1/admin/tiers/{tier['name']}", {"segments_per_second": None})
    assert answer.status_code == 400
    assert (await admin.ask("PATCH", "/v1/admin/tiers/short_code", {"segments_per_minute": 1})).status_code == 404


async def test_what_it_blocks_is_refused_on_accepting_naming_whom_to_ask(admin: Person, tenant: Tenant, other: Tenant) -> None:
    tier = await made(admin)
    for each in (tenant, other):
        await claim(each, tier["name"] if each is tenant else "short_code")
        assert (await each.post("/v1/messages", HI)).status_code == 202
    await admin.ask("PATCH", f"/v1/admin/tiers/{tier['name']}", {"blocked_destinations": ["US"]})
    refused = await tenant.post("/v1/messages", HI)
    assert refused.status_code == 400
    assert "Ask the operator" in refused.text
    assert (await other.post("/v1/messages", HI)).status_code == 202


async def test_an_unregistered_sender_is_told_the_registration_step(tenant: Tenant, other: Tenant) -> None:
    await claim(tenant, "unregistered")
    refused = await tenant.post("/v1/messages", HI)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (400, "/to")
    assert "Register an A2P 10DLC brand and campaign" in refused.text
    assert (await tenant.post("/v1/messages", {**HI, "to": "+34612345678"})).status_code == 202
    assert (await other.post("/v1/messages", HI)).status_code == 202


async def test_a_tier_in_use_is_not_retired(admin: Person, tenant: Tenant, other: Tenant) -> None:
    tier = await made(admin)
    path = f"/v1/admin/tiers/{tier['name']}"
    await claim(tenant, tier["name"])
    await claim(other, tier["name"])
    refused = await admin.ask("DELETE", path)
    assert refused.status_code == 409
    assert "2 registrations of 2 tenants" in refused.json()["detail"]
    for each in (tenant, other):
        for sender in (await each.get("/v1/senders")).json()["items"]:
            body = {**sender_body("short_code"), "account_sid": sender["account_sid"], "from_number": sender["from_number"]}
            assert (await each.ask("PUT", "/v1/sender", body)).status_code == 200
    assert (await admin.ask("PATCH", f"/v1/admin/tenants/{tenant.id}", {"max_tier": tier["name"]})).status_code == 200
    assert (await admin.ask("DELETE", path)).status_code == 409
    assert (await admin.ask("PATCH", f"/v1/admin/tenants/{tenant.id}", {"max_tier": None})).status_code == 200
    assert (await admin.ask("DELETE", path)).status_code == 204
    assert (await admin.ask("DELETE", path)).status_code == 404
    assert (await tenant.ask("PUT", "/v1/sender", sender_body(tier["name"]))).status_code == 400
    assert (await admin.post("/v1/admin/tiers", {"name": tier["name"], "segments_per_second": "1"})).status_code == 409


async def test_a_cap_may_name_an_own_tier_and_gives_back_what_was_claimed(admin: Person, tenant: Tenant, other: Tenant) -> None:
    tier = await made(admin, segments_per_second="2")
    path = f"/v1/admin/tenants/{tenant.id}"
    assert (await admin.ask("PATCH", path, {"max_tier": tier["name"]})).json()["max_tier"] == tier["name"]
    assert await granted(tenant) == [(tier["name"], "capped", "2")]
    (row,) = (await registrations(admin, tenant)).values()
    assert (row["claimed_tier"], row["tier"]) == ("short_code", tier["name"])
    await admin.ask("PATCH", f"/v1/admin/tiers/{tier['name']}", {"segments_per_second": "4"})
    assert await granted(tenant) == [(tier["name"], "capped", "4")]
    await admin.ask("PATCH", f"/v1/admin/tiers/{tier['name']}", {"segments_per_second": "500"})  # slower is the claim itself now
    assert await granted(tenant) == await granted(other) == [("short_code", "tenant", "100")]
    await admin.ask("PATCH", f"/v1/admin/tiers/{tier['name']}", {"segments_per_second": "1"})
    await admin.ask("PATCH", path, {"max_tier": None})
    assert await granted(tenant) == [("short_code", "tenant", "100")]


async def test_an_override_wins_over_the_cap_and_survives_the_tenants_next_word(admin: Person, tenant: Tenant, other: Tenant) -> None:
    path = f"/v1/admin/tenants/{tenant.id}"
    await admin.ask("PATCH", path, {"max_tier": "toll_free"})
    mine = tenant.sender["registration_id"]
    shown = await override(admin, tenant, mine, segments_per_second="7.5", day_cap=50, note="until the campaign is vetted")
    assert shown["override"] == {"segments_per_minute": 450, "day_cap": 50, "note": "until the campaign is vetted"}
    assert await granted(tenant) == [("toll_free", "override", "7.5")]
    again = {"account_sid": tenant.sender["account_sid"], "from_number": tenant.sender["from_number"], "auth_token": "t"}
    put = await tenant.ask("PUT", "/v1/sender", {**again, "tier": "sole_proprietor"})
    assert put.status_code == 200, put.text
    assert await granted(tenant) == [("sole_proprietor", "override", "7.5")]
    assert (await registrations(admin, tenant))[mine]["claimed_tier"] == "sole_proprietor"
    assert (await tenant.get("/v1/limits")).json()["day"]["cap"] == 50
    lifted = await override(admin, tenant, mine)
    assert (lifted["override"], lifted["tier_source"], lifted["segments_per_second"]) == (None, "tenant", "1")
    assert (await tenant.get("/v1/limits")).json()["day"]["cap"] == 1000  # the tier's, at T-Mobile
    assert await granted(other) == [("short_code", "tenant", "100")]


async def test_nobody_overrides_anothers_registration(admin: Person, tenant: Tenant, other: Tenant, effects: Effects) -> None:
    path = f"/v1/admin/tenants/{tenant.id}/registrations/{other.sender['registration_id']}"
    assert (await admin.ask("PUT", path, {"segments_per_minute": 1})).status_code == 404
    assert (await tenant.ask("PUT", path, {"segments_per_minute": 1})).status_code in (401, 403)
    assert (await tenant.get("/v1/admin/tiers")).status_code in (401, 403)
    assert await granted(other) == [("short_code", "tenant", "100")]
    trail = "SELECT count(*) FROM control.audit WHERE tenant_id = $1 AND action = 'registration.overridden'"
    assert await effects.owner.fetchval(trail, tenant.id) == 0


async def test_the_limits_of_a_brand_show_what_all_its_registrations_used(admin: Person, tenant: Tenant, other: Tenant) -> None:
    tier, brand = await made(admin, day_cap=700), f"BN{uuid4().hex}"
    for each in (tenant, other):
        await claim(each, tier["name"], brand_sid=brand)
    day = (await tenant.get("/v1/limits")).json()["day"]
    assert (day["used"], day["cap"]) == (0, 700)

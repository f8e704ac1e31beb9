"""A tenant says what the texts of its calls may be; what is refused is spoken, counted and shown, to it and to nobody else."""

import uuid
from typing import Any

import asyncpg
import pytest

from messaging.text_policy import NO_LINK, NO_PREMIUM, ONLY_CALLER, ONLY_HERE
from tests.api.effects import Effects
from tests.api.people import CALLER, Tenant

USUAL: dict[str, Any] = {
    "destinations": "caller_or_country",
    "countries": [],
    "country": None,
    "texts_per_call": 3,
    "texts_per_recipient_day": 10,
    "link_hosts": None,
}
STRICT = {**USUAL, "destinations": "countries", "countries": ["US", "CA"], "texts_per_call": 1, "link_hosts": ["Good.org.", "münchen.de"]}
KEPT = {**STRICT, "link_hosts": ["good.org", "xn--mnchen-3ya.de"]}


async def said(tenant: Tenant, tool_call_id: str = "tool-1", call_id: str = "call-1", **given: Any) -> str:
    (entry,) = (await tenant.tool("send_sms", {"body": "Hi", **given}, call_id, tool_call_id)).json()["results"]
    heard: str = entry.get("error") or entry["result"]
    return heard


async def test_a_tenant_says_its_own_policy_and_no_others(tenant: Tenant, other: Tenant) -> None:
    assert (await tenant.get("/v1/text-policy")).json() == {**USUAL, "refused": {}}
    put = await tenant.ask("PUT", "/v1/text-policy", STRICT)
    assert (put.status_code, put.json()) == (200, KEPT)
    assert (await tenant.get("/v1/text-policy")).json() == {**KEPT, "refused": {}}
    assert (await other.get("/v1/text-policy")).json() == {**USUAL, "refused": {}}
    assert (await tenant.ask("PUT", "/v1/text-policy", {})).json() == USUAL


async def test_a_change_is_in_the_audit_trail(tenant: Tenant, owner: "asyncpg.Connection[asyncpg.Record]") -> None:
    await tenant.ask("PUT", "/v1/text-policy", STRICT)
    row = await owner.fetchrow(
        "SELECT actor, detail FROM control.audit WHERE tenant_id = $1 AND action = 'text_policy.changed'", uuid.UUID(tenant.id)
    )
    assert row is not None
    assert row["actor"].startswith("key:")
    assert '"countries": ["US", "CA"]' in row["detail"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"destinations": "everybody"}, None),
        ({"destinations": "countries"}, "/countries"),
        ({"countries": ["US"]}, "/countries"),
        ({"destinations": "countries", "countries": ["US", "us"]}, "/countries/1"),
        ({"destinations": "countries", "countries": ["001"]}, "/countries/0"),
        ({"country": "Canada"}, "/country"),
        ({"texts_per_call": 0}, None),
        ({"texts_per_call": 21}, None),
        ({"texts_per_recipient_day": 101}, None),
        ({"texts_per_recipient_day": "many"}, None),
        ({"link_hosts": ["good.org", "https://good.org"]}, "/link_hosts/1"),
        ({"link_hosts": ["com"]}, "/link_hosts/0"),
        ({"link_hosts": ["good.org/path"]}, "/link_hosts/0"),
        ({"link_hosts": ["*.good.org"]}, "/link_hosts/0"),
        ({"link_hosts": ["good.org:80"]}, "/link_hosts/0"),
        ({"link_hosts": ["1.2.3.4"]}, "/link_hosts/0"),
        ({"link_hosts": [f"h{number}.org" for number in range(101)]}, "/link_hosts"),
        ({"limits": 3}, None),
        ({"refused": {}}, None),
        ([], None),
    ],
    ids=str,
)
async def test_what_cannot_be_is_refused_where_it_stands_and_changes_nothing(tenant: Tenant, body: Any, pointer: str | None) -> None:
    await tenant.ask("PUT", "/v1/text-policy", STRICT)
    answer = await tenant.ask("PUT", "/v1/text-policy", body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["errors"]
    assert pointer is None or pointer in [each["pointer"] for each in answer.json()["errors"]]
    assert (await tenant.get("/v1/text-policy")).json() == {**KEPT, "refused": {}}


async def test_refusals_are_spoken_kept_and_counted_once(tenant: Tenant, other: Tenant, effects: Effects) -> None:
    assert (await tenant.ask("PUT", "/v1/text-policy", {"link_hosts": ["good.org"]})).status_code == 200
    asked: list[tuple[dict[str, Any], str]] = [
        ({"to": "+16135550123"}, ONLY_HERE),
        ({"to": "+19005550123"}, NO_PREMIUM),
        ({"to": "+12135550199", "body": "Log in at https://good.org@evil.com"}, NO_LINK),
    ]
    for _ in range(2):  # a repeated delivery hears the same and is no second refusal
        for number, (given, sentence) in enumerate(asked):
            assert await said(tenant, f"tool-{number}", f"call-{number}", **given) == sentence
    assert await effects.counts(tenant) == {"processed_webhooks": 3}
    kept = (await tenant.get("/v1/text-refusals")).json()["items"]
    assert [(each["reason"], each["call_id"], each["tool"]) for each in kept] == [
        ("link", "call-2", "send_sms"), ("premium", "call-1", "send_sms"), ("destination", "call-0", "send_sms"),
    ]  # fmt: skip
    assert set(kept[0]) == {"id", "at", "reason", "call_id", "tool"}  # neither number nor text
    assert (await tenant.get("/v1/text-policy")).json()["refused"] == {"destination": 1, "premium": 1, "link": 1}
    assert (await other.get("/v1/text-refusals")).json() == {"items": [], "next_cursor": None}
    assert (await other.get("/v1/text-policy")).json()["refused"] == {}


async def test_the_list_goes_by_pages(tenant: Tenant) -> None:
    for number in range(3):
        await said(tenant, f"tool-{number}", to="+16135550123")
    first = (await tenant.get("/v1/text-refusals?limit=2")).json()
    rest = (await tenant.get(f"/v1/text-refusals?limit=2&cursor={first['next_cursor']}")).json()
    assert ([len(page["items"]) for page in (first, rest)], rest["next_cursor"]) == ([2, 1], None)
    assert len({each["id"] for each in first["items"] + rest["items"]}) == 3
    assert (await tenant.get("/v1/text-refusals?cursor=nonsense")).status_code == 400


async def test_a_policy_holds_for_what_is_asked_from_now_on(tenant: Tenant) -> None:
    before = await said(tenant, to="+12125550101")
    assert (await tenant.ask("PUT", "/v1/text-policy", {"destinations": "caller"})).status_code == 200
    assert await said(tenant, "tool-2", to="+12125550101") == ONLY_CALLER
    assert await said(tenant, to="+12125550101") == before
    assert await said(tenant, "tool-3", to=CALLER) != ONLY_CALLER

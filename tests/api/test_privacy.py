"""What a tenant keeps of the people on the phone, by its setting; and how it is forgotten."""

import uuid
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from api.wiring import Wiring
from runtime.crypto import new_master_key
from runtime.ids import TenantId
from runtime.settings import Settings
from tests.api.effects import Effects
from tests.api.people import CALLER, Tenant, tool_item, tool_message
from tests.api.processes import running
from webhooks.cleanup import clean_up

Owner = asyncpg.Connection
DEFAULT = {"customer": "masked", "transcripts": False, "summaries": False}
ALL = {"customer": "encrypted", "transcripts": True, "summaries": True}
WORDS, GIST = "User: My name is Ada Example.\n", "Ada Example asked for a table."
STORED = (
    "SELECT coalesce(string_agg(to_jsonb(c)::text, ''), '') || coalesce((SELECT string_agg(to_jsonb(k)::text, '') FROM call_contents AS k"
    " WHERE k.tenant_id = $1), '') FROM calls AS c WHERE c.tenant_id = $1"
)


def report(call_id: str = "call-1", **more: Any) -> dict[str, Any]:
    call = {"id": call_id, "customer": {"number": CALLER}}
    return {"message": {"type": "end-of-call-report", "call": call, "transcript": WORDS, "summary": GIST, "cost": 0.5, **more}}


async def personal(tenant: Tenant, call_id: str = "call-1") -> tuple[str | None, str | None, str | None]:
    shown = (await tenant.get(f"/v1/calls/{call_id}")).json()
    return shown["customer"], shown["transcript"], shown["summary"]


async def setting(tenant: Tenant, **change: Any) -> None:
    put = await tenant.ask("PUT", "/v1/privacy", {**DEFAULT, **change})
    assert put.status_code == 200, put.text


async def test_a_tenant_changes_its_own_setting_and_no_other(tenant: Tenant, other: Tenant, owner: Owner) -> None:
    assert (await tenant.get("/v1/privacy")).json() == DEFAULT
    put = await tenant.ask("PUT", "/v1/privacy", ALL)
    assert (put.status_code, put.json()) == (200, ALL)
    assert ((await tenant.get("/v1/privacy")).json(), (await other.get("/v1/privacy")).json()) == (ALL, DEFAULT)
    row = await owner.fetchrow(
        "SELECT actor, detail FROM control.audit WHERE tenant_id = $1 AND action = 'privacy.changed'", uuid.UUID(tenant.id)
    )
    assert row is not None
    assert row["actor"].startswith("key:")
    assert '"encrypted"' in row["detail"]


@pytest.mark.parametrize(
    ("change", "pointer"), [({"customer": "all"}, "/customer"), ({"transcripts": "yes"}, "/transcripts"), ({"more": 1}, "")]
)
async def test_what_cannot_be_is_refused_where_it_stands(tenant: Tenant, change: dict[str, Any], pointer: str) -> None:
    answer = await tenant.ask("PUT", "/v1/privacy", {**DEFAULT, **change})
    assert answer.status_code == 400, answer.text
    assert not pointer or pointer in [each["pointer"] for each in answer.json()["errors"]]
    assert (await tenant.get("/v1/privacy")).json() == DEFAULT


KEPT: dict[str, tuple[dict[str, Any], tuple[str | None, str | None, str | None]]] = {
    "by default the last four digits": ({}, ("***0123", None, None)),
    "everything": (ALL, (CALLER, WORDS, GIST)),
    "nothing": ({"customer": "none"}, (None, None, None)),
    "words without a number": ({"customer": "none", "transcripts": True}, (None, WORDS, None)),
    "the gist": ({"summaries": True}, ("***0123", None, GIST)),
}


@pytest.mark.parametrize(("change", "kept"), KEPT.values(), ids=KEPT)
async def test_as_much_is_kept_as_the_setting_says(
    change: dict[str, Any], kept: tuple[str | None, str | None, str | None], tenant: Tenant, other: Tenant, owner: Owner
) -> None:
    await setting(tenant, **change)
    await tenant.webhook(report())
    assert await personal(tenant) == kept
    stored = await owner.fetchval(STORED, uuid.UUID(tenant.id))
    assert not [secret for secret in (CALLER, CALLER[1:], "Ada") if secret in stored]  # sealed, or not there at all
    assert ("***0123" in stored) is (kept[0] is not None)
    (listed,) = (await tenant.get("/v1/calls")).json()["items"]
    assert not set(listed) & {"customer", "transcript", "summary"}
    assert (await other.get("/v1/calls/call-1")).status_code == 404


@pytest.mark.parametrize(("change", "kept"), KEPT.values(), ids=KEPT)
async def test_a_kept_body_holds_no_more_than_the_setting_says(
    change: dict[str, Any], kept: tuple[str | None, str | None, str | None], tenant: Tenant
) -> None:
    await setting(tenant, **change)
    await tenant.ask("PUT", "/v1/retention", {"keys_hours": 720, "bodies_days": 7, "capture": "all"})
    spoken = [{"role": "user", "message": WORDS}]
    inner = {"artifact": {"transcript": WORDS, "messages": spoken}, "analysis": {"summary": GIST}, "customer": {"number": CALLER}}
    await tenant.webhook(report(messages=spoken, **inner))
    webhook = (await tenant.get("/v1/webhooks")).json()["items"][0]["id"]
    body = await tenant.get(f"/v1/webhooks/{webhook}/body")
    assert body.status_code == 200
    message = body.json()["message"]
    assert (message["cost"], message["call"]["id"]) == (0.5, "call-1")
    assert (message["customer"].get("number"), message.get("transcript"), message.get("summary")) == kept
    assert [text for text, is_kept in zip((CALLER, WORDS[:-1], GIST), (kept[0] == CALLER, kept[1], kept[2]), strict=True)
            if (text in body.text) != bool(is_kept)] == []  # fmt: skip


async def test_texts_are_found_where_vapi_puts_them(tenant: Tenant) -> None:
    await setting(tenant, **ALL)
    inner = {"artifact": {"transcript": WORDS}, "analysis": {"summary": GIST}, "transcript": None, "summary": ""}
    await tenant.webhook(report(**inner))
    assert await personal(tenant) == (CALLER, WORDS, GIST)
    long = "word " * 300_000
    await tenant.webhook(report("call-2", transcript=long, summary=[1], analysis=None, artifact="no"))
    assert await personal(tenant, "call-2") == (CALLER, long, None)


@pytest.mark.parametrize(
    ("number", "shown"), [("sip:front@example.com", "***"), ("+1 (213) 555-0123", "***0123"), ("5550123", "***"), ("9" * 65, None)]
)
async def test_a_number_of_any_kind_is_masked(number: str, shown: str | None, tenant: Tenant) -> None:
    await tenant.webhook(
        {"message": {"type": "status-update", "status": "ringing", "call": {"id": "call-1"}, "customer": {"number": number}}}
    )
    assert (await personal(tenant))[0] == shown


async def test_a_call_that_only_tool_calls_spoke_of_has_a_masked_customer(tenant: Tenant) -> None:
    await setting(tenant, **ALL)
    await tenant.webhook(tool_message([tool_item("send_sms", {"body": "Hi"})]))
    assert (await personal(tenant))[0] == "***0123"
    await setting(tenant, customer="none")
    assert (await personal(tenant))[0] is None


async def test_a_change_is_for_what_comes_later(tenant: Tenant) -> None:
    await setting(tenant, **ALL)
    await tenant.webhook(report())
    await setting(tenant, customer="none")
    await tenant.webhook(report("call-2"))
    assert (await personal(tenant), await personal(tenant, "call-2")) == ((CALLER, WORDS, GIST), (None, None, None))


FORGET: dict[str, tuple[dict[str, Any], tuple[str | None, str | None, str | None]]] = {
    "the numbers": ({"customer": "masked", "transcripts": True, "summaries": True}, ("***0123", WORDS, GIST)),
    "the people": ({"customer": "none", "transcripts": True, "summaries": True}, (None, WORDS, GIST)),
    "the words": ({"customer": "encrypted", "summaries": True}, (CALLER, None, GIST)),
    "everything": ({"customer": "none"}, (None, None, None)),
}


@pytest.mark.parametrize(("change", "left"), FORGET.values(), ids=FORGET)
async def test_what_was_kept_is_forgotten_by_wish(
    change: dict[str, Any], left: tuple[str | None, str | None, str | None], tenant: Tenant, other: Tenant, wiring: Wiring, owner: Owner
) -> None:
    for each in (tenant, other):
        await setting(each, **ALL)
        await each.webhook(report())
    await setting(tenant, **change, forget_kept=True)
    await clean_up(wiring.database)
    assert await personal(tenant) == (CALLER, WORDS, GIST)  # another process may still go by the setting before
    await owner.execute("UPDATE control.tenants SET forget_from = app.now() WHERE id = $1", uuid.UUID(tenant.id))
    planned = await clean_up(wiring.database, dry_run=True)
    done = await clean_up(wiring.database)
    mine = TenantId(uuid.UUID(tenant.id))
    assert (planned.contents[mine], done.contents[mine]) == (1, 1)
    assert (await personal(tenant), await personal(other)) == (left, (CALLER, WORDS, GIST))
    assert await owner.fetchval("SELECT forget_from FROM control.tenants WHERE id = $1", mine) is None


async def test_bodies_and_numbers_that_tool_calls_left_are_forgotten_by_wish(
    tenant: Tenant, other: Tenant, wiring: Wiring, effects: Effects
) -> None:
    bodies = "SELECT count(*) FROM webhook_bodies WHERE tenant_id = $1"
    for each in (tenant, other):
        await setting(each, **ALL)
        await each.ask("PUT", "/v1/retention", {"keys_hours": 720, "bodies_days": 7, "capture": "all"})
        await each.webhook(tool_message([tool_item("send_sms", {"body": "Hi"})]))
        await each.webhook(report())
    await setting(tenant, customer="none", forget_kept=True)
    await effects.owner.execute("UPDATE control.tenants SET forget_from = app.now() WHERE id = $1", uuid.UUID(tenant.id))
    await clean_up(wiring.database)
    left = [await effects.owner.fetchval(bodies, uuid.UUID(each.id)) for each in (tenant, other)]
    numbers = [{row["caller"] for row in await effects.rows(each, "processed_webhooks")} for each in (tenant, other)]
    assert (left, numbers) == ([0, 2], [{None}, {None, CALLER}])


async def test_more_calls_than_a_batch_are_forgotten_in_one_run(tenant: Tenant, wiring: Wiring, owner: Owner) -> None:
    await owner.execute(
        "INSERT INTO calls (tenant_id, call_id, state, state_rank, customer_masked)"
        " SELECT $1, 'c' || n, 'ended', 90, '***0123' FROM generate_series(1, 1200) AS n",
        uuid.UUID(tenant.id),
    )
    await setting(tenant, customer="none", forget_kept=True)
    await owner.execute("UPDATE control.tenants SET forget_from = app.now() WHERE id = $1", uuid.UUID(tenant.id))
    done = await clean_up(wiring.database)
    assert done.contents[TenantId(uuid.UUID(tenant.id))] == 1200
    assert await owner.fetchval("SELECT count(customer_masked) FROM calls WHERE tenant_id = $1", uuid.UUID(tenant.id)) == 0


async def test_words_leave_after_the_days_of_bodies_and_the_record_stays(
    tenant: Tenant, other: Tenant, wiring: Wiring, owner: Owner
) -> None:
    for each in (tenant, other):
        await setting(each, **ALL)
        await each.ask("PUT", "/v1/retention", {"keys_hours": 720, "bodies_days": 7, "capture": "failures"})
        await each.webhook(report())
    days = await owner.fetchval("SELECT kept_until - app.now() FROM call_contents WHERE tenant_id = $1", uuid.UUID(tenant.id))
    assert 6.9 < days.total_seconds() / 86_400 <= 7
    await owner.execute("UPDATE call_contents SET kept_until = app.now() WHERE tenant_id = $1", uuid.UUID(tenant.id))
    assert await personal(tenant) == (CALLER, None, None)  # they are not shown, even before the clean-up comes by
    await clean_up(wiring.database)
    assert await owner.fetchval("SELECT count(*) FROM call_contents WHERE tenant_id = $1", uuid.UUID(tenant.id)) == 0
    await tenant.webhook(report())  # once more, much later
    assert await personal(tenant) == (CALLER, None, None)
    assert (await personal(other), (await tenant.get("/v1/calls/call-1")).json()["cost"]["amount"]) == ((CALLER, WORDS, GIST), "0.50")


async def test_one_call_is_forgotten_for_good(tenant: Tenant, other: Tenant, wiring: Wiring, effects: Effects) -> None:
    for each in (tenant, other):
        await setting(each, **ALL)
        await each.ask("PUT", "/v1/retention", {"keys_hours": 720, "bodies_days": 7, "capture": "all"})
        await each.webhook(tool_message([tool_item("send_sms", {"body": "Hi"})]))
        await each.webhook(report())
    ours = TenantId(uuid.UUID(tenant.id))
    bodies = "SELECT count(*) FROM webhook_bodies WHERE tenant_id = $1"
    assert await effects.owner.fetchval(bodies, ours) == 2
    assert (await other.ask("DELETE", "/v1/calls/unknown/content")).status_code == 404
    assert (await tenant.ask("DELETE", "/v1/calls/call-1/content")).status_code == 204
    await tenant.webhook(report(cost=0.75, timestamp=1_772_000_000_000))  # it says more, and its words are not kept
    shown = (await tenant.get("/v1/calls/call-1")).json()
    assert (shown["customer"], shown["transcript"], shown["summary"], shown["cost"]["amount"]) == (None, None, None, "0.75")
    assert shown["forgotten_at"] is not None
    await tenant.webhook(report())  # the same once more
    await tenant.webhook({"message": {"type": "hang", "call": {"id": "call-1"}}})
    assert await effects.owner.fetchval(bodies, ours) == 0
    assert {row["caller"] for row in await effects.rows(tenant, "processed_webhooks")} == {None}
    await tenant.webhook(tool_message([tool_item("send_sms", {"body": "Still here"}, "late")]))  # it has to know whom it reaches
    assert {row["caller"] for row in await effects.rows(tenant, "processed_webhooks")} == {None, CALLER}
    mine = (await clean_up(wiring.database, dry_run=True)).contents[ours], (await clean_up(wiring.database)).contents[ours]
    assert (mine, ours in (await clean_up(wiring.database)).contents) == ((1, 1), False)
    assert {row["caller"] for row in await effects.rows(tenant, "processed_webhooks")} == {None}
    assert await effects.owner.fetchval(bodies, ours) == 0
    assert (len(shown["messages"]), (await tenant.get("/v1/calls/call-1")).json()["customer"]) == (1, None)
    assert (await personal(other), await effects.owner.fetchval(bodies, uuid.UUID(other.id))) == ((CALLER, WORDS, GIST), 2)
    assert CALLER in {row["caller"] for row in await effects.rows(other, "processed_webhooks")}
    audited = "SELECT target FROM control.audit WHERE tenant_id = $1 AND action = 'call.content_forgotten'"
    assert [row["target"] for row in await effects.owner.fetch(audited, ours)] == ["call-1"]


async def test_what_is_sealed_with_a_key_out_of_service_is_named(tenant: Tenant, settings: Settings) -> None:
    await setting(tenant, **ALL)
    await tenant.webhook(report())
    async with running(replace(settings, secret_keys=new_master_key("suite2"))) as elsewhere:
        # tenants' keys are hashed with the same keyring, so that only the admin gets in there
        answer = await elsewhere.http.get(
            "/v1/calls/call-1", headers={"Authorization": f"Bearer {settings.admin_key}", "X-Tenant": tenant.slug}
        )
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert (shown["customer"], shown["transcript"], sorted(shown["unreadable"])) == ("***0123", None, ["customer", "summary", "transcript"])

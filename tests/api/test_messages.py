"""Texts of the tenant API: queued once for each key, listed, paged, cancelled."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest

from api.wiring import Wiring
from runtime import clock
from tests.api.effects import Effects
from tests.api.people import Person, Tenant, new_tenant

HI: dict[str, Any] = {"to": "+12135550123", "body": "Hi"}
ONE_TEXT = {"processed_webhooks": 1, "messages": 1}


def later(**more: float) -> str:
    return clock.rfc3339(clock.now() + timedelta(**more))


async def queue(tenant: Tenant, **changes: Any) -> dict[str, Any]:
    answer = await tenant.post("/v1/messages", {**HI, **changes})
    assert answer.status_code == 202, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_a_text_is_stored_before_it_is_answered(tenant: Tenant, effects: Effects) -> None:
    made = await queue(tenant, body="\u20ac" * 81)
    assert set(made) == {"id", "status", "segments", "expected_at"}
    assert (made["status"], made["segments"]) == ("queued", 2)
    (row,) = await effects.rows(tenant, "messages")
    assert (str(row["id"]), row["class"], row["segments"]) == (made["id"], "transactional", 2)
    assert await effects.arrivals(tenant) == 2
    assert await effects.usage(tenant) == {}  # billed when Twilio took it
    shown = (await tenant.get(f"/v1/messages/{made['id']}")).json()
    assert (shown["to"], shown["status"], shown["sender_id"]) == (HI["to"], "queued", tenant.sender["id"])
    assert [step["status"] for step in shown["history"]] == ["queued"]


async def test_a_text_may_wait_for_its_time_and_have_a_class(tenant: Tenant) -> None:
    due = later(hours=1)
    made = await queue(tenant, send_at=due, **{"class": "otp"})
    assert (made["status"], made["expected_at"]) == ("scheduled", due)
    assert (await tenant.get(f"/v1/messages/{made['id']}")).json()["class"] == "otp"


REFUSED: dict[str, tuple[Any, str]] = {
    "no to": ({"body": "Hi"}, ""),
    "to of number": ({"to": 5, "body": "Hi"}, "/to"),
    "bad to": ({"to": "12", "body": "Hi"}, "/to"),
    "to with a NUL": ({"to": "+1213555012\x00", "body": "Hi"}, ""),
    "no body": ({"to": "+12135550123"}, ""),
    "null body": ({"to": "+12135550123", "body": None}, "/body"),
    "empty body": ({"to": "+12135550123", "body": " "}, "/body"),
    "body with a NUL": ({"to": "+12135550123", "body": "a\x00"}, ""),
    "1,601 characters": ({"to": "+12135550123", "body": "x" * 1601}, "/body"),
    "unknown class": ({**HI, "class": "shouting"}, "/class"),
    "unknown field": ({**HI, "colour": "red"}, ""),
    "past": ({**HI, "send_at": "2020-01-01T00:00:00Z"}, "/send_at"),
    "first of times": ({**HI, "send_at": "0001-01-01T00:00:00+14:00"}, "/send_at"),
    "last of times": ({**HI, "send_at": "9999-12-31T23:59:59-14:00"}, "/send_at"),
    "no offset": ({**HI, "send_at": "2027-01-01T00:00:00"}, "/send_at"),
    "no time": ({**HI, "send_at": "tomorrow"}, "/send_at"),
    "sender that is no id": ({**HI, "sender_id": "x"}, "/sender_id"),
    "array": ([HI], ""),
    "text": ("Hi", ""),
}


@pytest.mark.parametrize(("body", "pointer"), REFUSED.values(), ids=REFUSED)
async def test_what_cannot_be_sent_says_where_it_is_wrong(body: Any, pointer: str, tenant: Tenant, effects: Effects) -> None:
    answer = await tenant.post("/v1/messages", body, Idempotency_Key="refused")
    assert answer.status_code == 400, answer.text
    (error,) = answer.json()["errors"]
    assert (error["pointer"], bool(error["detail"])) == (pointer, True)
    assert await effects.counts(tenant) == {}
    assert (await tenant.post("/v1/messages", HI, Idempotency_Key="refused")).status_code == 202  # a refusal holds no key


async def test_a_key_has_one_effect_however_often_and_at_once(tenant: Tenant, effects: Effects) -> None:
    answers = await asyncio.gather(*(tenant.post("/v1/messages", HI, Idempotency_Key="k-1") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.text for answer in answers}) == 1
    assert sum(answer.headers.get("idempotent-replayed") == "true" for answer in answers) == 19
    assert await effects.counts(tenant) == ONE_TEXT
    assert await effects.arrivals(tenant) == 1


async def test_quoted_and_bare_are_one_key(tenant: Tenant, effects: Effects) -> None:
    answers = [await tenant.post("/v1/messages", HI, Idempotency_Key=key) for key in ("k-1", '"k-1"', ' "k-1" ')]
    assert len({answer.text for answer in answers}) == 1
    assert await effects.counts(tenant) == ONE_TEXT


@pytest.mark.parametrize("change", [{"body": "Other"}, {"to": "+12135550124"}, {"class": "otp"}, {"send_at": "{later}"}], ids=str)
async def test_a_key_with_another_body_is_422_and_the_first_stays(change: dict[str, str], tenant: Tenant, effects: Effects) -> None:
    first = await tenant.post("/v1/messages", HI, Idempotency_Key="k-1")
    changed = {**HI, **{name: later(hours=1) if value == "{later}" else value for name, value in change.items()}}
    assert (await tenant.post("/v1/messages", changed, Idempotency_Key="k-1")).status_code == 422
    again = await tenant.post("/v1/messages", dict(reversed(HI.items())), Idempotency_Key="k-1")
    assert (again.text, again.headers["idempotent-replayed"]) == (first.text, "true")
    assert await effects.counts(tenant) == ONE_TEXT


@pytest.mark.parametrize("key", ["", '""', " ", "two words", '"unclosed', "x" * 256, '"' + "x" * 256 + '"', "\u00e9", "a\tb"])
async def test_a_malformed_key_is_400(key: str, tenant: Tenant, effects: Effects) -> None:
    headers = [(b"authorization", f"Bearer {tenant.key}".encode()), (b"idempotency-key", key.encode("latin-1"))]
    answer = await tenant.http.post("/v1/messages", json=HI, headers=headers)
    assert answer.status_code == 400, answer.text
    assert await effects.counts(tenant) == {}


@pytest.mark.parametrize("key", ["x" * 255, '"' + "x" * 255 + '"', '"two words"', '"a \\"quoted\\" one"', "!~"])
async def test_a_well_formed_key_is_taken(key: str, tenant: Tenant) -> None:
    assert (await tenant.post("/v1/messages", HI, Idempotency_Key=key)).status_code == 202


async def test_keys_of_two_tenants_are_two(tenant: Tenant, other: Tenant) -> None:
    one, two = [await each.post("/v1/messages", HI, Idempotency_Key="k-1") for each in (tenant, other)]
    assert one.json()["id"] != two.json()["id"]


async def test_without_a_key_every_request_is_its_own(tenant: Tenant, effects: Effects) -> None:
    assert (await queue(tenant))["id"] != (await queue(tenant))["id"]
    assert await effects.count(tenant, "messages") == 2


async def test_a_retry_is_a_replay_also_when_it_would_be_refused_by_now(
    admin: Person, tenant: Tenant, effects: Effects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time that has passed, a sender that is gone, a suspended tenant: the effect is there, so is its answer."""
    body = {**HI, "send_at": later(minutes=5)}
    first = await tenant.post("/v1/messages", body, Idempotency_Key="k-1")
    now = clock.now() + timedelta(hours=1)
    with monkeypatch.context() as travel:
        travel.setattr(clock, "now", lambda: now)
        again = await tenant.post("/v1/messages", body, Idempotency_Key="k-1")
        assert (again.status_code, again.text, again.headers.get("idempotent-replayed")) == (202, first.text, "true")
        assert (await tenant.post("/v1/messages", {**body, "body": "Other"}, Idempotency_Key="k-1")).status_code == 422
        assert (await tenant.post("/v1/messages", body, Idempotency_Key="k-2")).status_code == 400
    await admin.post(f"/v1/admin/tenants/{tenant.id}/suspend", {})
    assert (await tenant.post("/v1/messages", body, Idempotency_Key="k-1")).text == first.text
    assert (await tenant.post("/v1/messages", HI, Idempotency_Key="k-3")).status_code == 403
    assert await effects.counts(tenant) == ONE_TEXT


async def test_who_opted_out_gets_nothing_and_the_key_remembers(tenant: Tenant, effects: Effects) -> None:
    await effects.owner.execute("INSERT INTO opt_outs (tenant_id, recipient, source) VALUES ($1, $2, 'api')", tenant.id, HI["to"])
    for _ in range(2):
        answer = await tenant.post("/v1/messages", HI, Idempotency_Key="k-1")
        assert (answer.status_code, "asked not to be texted" in answer.json()["detail"]) == (409, True)
    assert await effects.count(tenant, "messages") == 0


async def pages(tenant: Person, path: str, limit: int) -> list[dict[str, Any]]:
    """All items, page by page."""
    found, cursor = [], ""
    while True:
        answer = await tenant.get(f"{path}{'&' if '?' in path else '?'}limit={limit}{cursor}")
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["items"]) <= limit
        found += answer.json()["items"]
        following = answer.json()["next_cursor"]
        if following is None:
            return found
        cursor = f"&cursor={following}"


@pytest.fixture(scope="module")
async def busy(admin: Person) -> Tenant:
    """A tenant with seven texts, the last one first: two of a call, one of them to somebody else, one scheduled, one cancelled."""
    tenant = await new_tenant(admin)
    for number in range(3):
        await queue(tenant, body=f"Text {number}")
    await tenant.tool("send_sms", {"body": "Of a call"}, "call-7", "a")
    await tenant.tool("send_sms", {"to": "+12135550177", "body": "To another"}, "call-7", "b")
    await queue(tenant, body="Scheduled", send_at=later(hours=1))
    made = await queue(tenant, body="Cancelled")
    assert (await tenant.post(f"/v1/messages/{made['id']}/cancel")).status_code == 200
    return tenant


ALL = ["Cancelled", "Scheduled", "To another", "Of a call", "Text 2", "Text 1", "Text 0"]
FILTERS = {
    "": ALL,
    "?status=queued": ["To another", "Of a call", "Text 2", "Text 1", "Text 0"],
    "?status=scheduled": ["Scheduled"],
    "?status=canceled": ["Cancelled"],
    "?status=delivered": [],
    "?to=%2B12135550177": ["To another"],
    "?call_id=call-7": ["To another", "Of a call"],
    "?call_id=call-7&to=%2B12135550177": ["To another"],
    "?call_id=nobody": [],
}


@pytest.mark.parametrize("limit", [1, 3, 7, 200])
@pytest.mark.parametrize(("query", "bodies"), FILTERS.items(), ids=FILTERS)
async def test_lists_are_filtered_and_paged_the_newest_first(query: str, bodies: list[str], limit: int, busy: Tenant) -> None:
    assert [each["body"] for each in await pages(busy, f"/v1/messages{query}", limit)] == bodies


BAD_QUERIES = ["limit=0", "limit=201", "limit=x", "cursor=x", "cursor=%ff", "cursor=", "status=lost", "to=%00", "call_id=a%00b"]


@pytest.mark.parametrize("query", BAD_QUERIES)
async def test_a_query_that_cannot_be_is_refused_without_saying_it_back(query: str, busy: Tenant) -> None:
    answer = await busy.get(f"/v1/messages?to=%2B12135550188&{query}")
    assert answer.status_code == 400, answer.text
    assert answer.json()["errors"]
    assert "5550188" not in answer.text


async def cancel(tenant: Tenant, message: str) -> httpx.Response:
    return await tenant.post(f"/v1/messages/{message}/cancel")


async def test_what_waits_can_be_cancelled_and_twice_is_once(tenant: Tenant, effects: Effects) -> None:
    for made in (await queue(tenant), await queue(tenant, send_at=later(hours=1))):
        answers = await asyncio.gather(*(cancel(tenant, made["id"]) for _ in range(3)))
        assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [(200, "canceled")] * 3
        assert [step["status"] for step in answers[0].json()["history"]].count("canceled") == 1
    assert await effects.arrivals(tenant) == 0


@pytest.mark.parametrize("status", ["sending", "unknown", "sent", "delivered", "undelivered", "failed"])
async def test_what_left_cannot_be_cancelled(status: str, tenant: Tenant, effects: Effects) -> None:
    made = await queue(tenant)
    await effects.owner.execute("UPDATE messages SET status = $2 WHERE tenant_id = $1", tenant.id, status)
    answer = await cancel(tenant, made["id"])
    assert (answer.status_code, status in answer.json()["detail"]) == (409, True)
    assert (await effects.rows(tenant, "messages"))[0]["status"] == status


@pytest.mark.parametrize("message", ["019ae386-b29f-7eb0-a4ff-e40335e0c44e", "x", "1"])
async def test_what_is_not_there_is_404(message: str, tenant: Tenant) -> None:
    assert (await cancel(tenant, message)).status_code == 404
    assert (await tenant.get(f"/v1/messages/{message}")).status_code == 404


async def test_a_body_may_speak_of_a_nul_without_holding_one(tenant: Tenant) -> None:
    made = await queue(tenant, body="write \\u0000 for it")
    assert (await tenant.get(f"/v1/messages/{made['id']}")).json()["body"] == "write \\u0000 for it"


async def test_a_text_wakes_a_worker(tenant: Tenant, wiring: Wiring) -> None:
    listener = wiring.redis.pubsub()
    try:
        await listener.subscribe("trunkline:wake")
        await listener.get_message(timeout=1)
        await queue(tenant)
        assert await listener.get_message(ignore_subscribe_messages=True, timeout=2)
    finally:
        await listener.aclose()  # type: ignore[no-untyped-call]  # redis has it untyped

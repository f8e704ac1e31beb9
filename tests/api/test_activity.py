"""Messages that come many times in a call: seen first and last, by their own clock, whatever their order; no row for any of them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examined
from hypothesis import strategies as st

from api.wiring import Wiring
from runtime import clock
from runtime.ids import TenantId
from runtime.settings import Settings
from tests.api.effects import Effects
from tests.api.outages import Relay
from tests.api.people import Person, Tenant, new_tenant
from tests.api.processes import running
from tests.webhooks.snapshots import snapshot
from trunkline.dev.databases import DatabaseUrls
from webhooks import activity
from webhooks.activity import OFTEN, Activity, activity_of
from webhooks.envelope import read

BASE = 1_790_000_000_000  # milliseconds, September 2026
EACH = [*sorted(OFTEN), "transcript"]


def message(kind: str = "model-output", at: object = BASE, call_id: str | None = "call-1", **more: Any) -> dict[str, Any]:
    call = {} if call_id is None else {"call": {"id": call_id}}
    partial = {"transcriptType": "partial", "transcript": "I would li"} if kind == "transcript" else {}
    return {"message": {"type": kind, "timestamp": at, **call, **partial, **more}}


def written(milliseconds: int) -> str:
    return clock.rfc3339(datetime.fromtimestamp(milliseconds / 1000, UTC))


async def seen(tenant: Tenant, call_id: str = "call-1") -> dict[str, tuple[str, str]]:
    """The call's activity as the tenant reads it, once what was gathered is written."""
    await asyncio.sleep(activity.FLUSH_SECONDS + 0.3)
    shown = (await tenant.get(f"/v1/calls/{call_id}")).json()["activity"]
    return {each["type"]: (each["first_at"], each["last_at"]) for each in shown}


@pytest.mark.parametrize("kind", EACH)
async def test_the_first_and_the_last_time_are_kept_and_no_row_is_made(kind: str, tenant: Tenant, other: Tenant, effects: Effects) -> None:
    for at in (BASE + 5_000, BASE + 9_000, BASE + 1_000, BASE + 5_000):
        answer = await tenant.webhook(message(kind, at))
        assert (answer.status_code, answer.json()) == (200, {})
    await other.webhook(message(kind, BASE + 70_000))
    assert await seen(tenant) == {kind: (written(BASE + 1_000), written(BASE + 9_000))}
    assert await seen(other) == {kind: (written(BASE + 70_000), written(BASE + 70_000))}
    assert await effects.count(tenant, "processed_webhooks") == 0


async def test_a_final_transcript_and_one_without_a_call_are_recorded_as_any_other(tenant: Tenant, effects: Effects) -> None:
    final = {
        "message": {"type": "transcript", "transcriptType": "final", "transcript": "Yes.", "call": {"id": "call-1"}, "timestamp": BASE}
    }
    literal = {"message": {"type": 'transcript[transcriptType="final"]', "transcript": "Yes.", "call": {"id": "call-1"}}}
    for body in (final, literal, message("speech-update", call_id=None), final):
        assert (await tenant.webhook(body)).json() == {}
    assert await effects.count(tenant, "processed_webhooks") == 3


@pytest.mark.parametrize("at", [None, "yesterday", -5, 9e99, {"a": 1}, BASE * 1_000])
async def test_a_time_that_cannot_be_true_is_our_own(at: object, tenant: Tenant) -> None:
    before = clock.now()
    await tenant.webhook(message(at=at))
    ((first, last),) = (await seen(tenant)).values()
    assert first == last
    assert before.replace(microsecond=0) <= datetime.fromisoformat(first) <= clock.now()


async def test_an_iso_time_is_taken_too(tenant: Tenant) -> None:
    await tenant.webhook(message(at=written(BASE)))
    assert await seen(tenant) == {"model-output": (written(BASE), written(BASE))}


async def test_a_call_that_nobody_else_spoke_of_is_known(tenant: Tenant, effects: Effects) -> None:
    body = message(call_id="call-9")
    body["message"]["call"]["assistantId"] = tenant.assistant["vapi_assistant_id"]
    await tenant.webhook(body)
    await seen(tenant, "call-9")
    (row,) = await effects.rows(tenant, "calls")
    assert (row["call_id"], row["state"], row["assistant_id"]) == ("call-9", "unknown", tenant.assistant["vapi_assistant_id"])


async def test_another_tenants_assistant_is_refused_here_too(tenant: Tenant, other: Tenant) -> None:
    body = message()
    body["message"]["call"]["assistantId"] = other.assistant["vapi_assistant_id"]
    assert (await tenant.webhook(body)).status_code == 403


@pytest.mark.parametrize("mode", ["observe", "off"])
async def test_the_switch_idempotency_changes_nothing_about_it(mode: str, tenant: Tenant, admin: Person, effects: Effects) -> None:
    await admin.ask("PUT", "/v1/admin/switches", {"name": "idempotency", "mode": mode, "tenant_id": tenant.id})
    await asyncio.sleep(2.1)
    for at in (BASE + 1, BASE):
        await tenant.webhook(message(at=at))
    assert await seen(tenant) == {"model-output": (written(BASE), written(BASE + 1))}
    assert await effects.count(tenant, "processed_webhooks") == 0


async def test_many_messages_of_a_call_are_one_write_a_second(tenant: Tenant, wiring: Wiring, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[str] = []
    real = activity.as_json

    def counting(part: Any) -> str:
        writes.extend(kind for _, kind in part)
        return real(part)

    monkeypatch.setattr(activity, "as_json", counting)
    book = Activity(wiring.database, pause=0.2)
    body = encoded(message())
    for _ in range(1_000):
        book.note(snapshot(id=TenantId(UUID(tenant.id))), read(body))
    await book.close()
    assert writes == ["model-output"]


def encoded(value: Any) -> bytes:
    return msgspec.json.encode(value)


@pytest.fixture
async def relay(urls: DatabaseUrls) -> AsyncIterator[Relay]:
    async with Relay.to(urls.app_url) as made:
        yield made


async def test_what_was_gathered_while_the_database_was_away_is_written_when_it_is_back(
    settings: Settings, relay: Relay, admin: Person
) -> None:
    async with running(replace(settings, database_url=relay.url)) as shaky:
        tenant = await new_tenant(Person(shaky.http, admin.key))
        await tenant.webhook(message(at=BASE))
        await relay.cut()
        assert (await tenant.webhook(message(at=BASE + 1))).status_code == 200
        await asyncio.sleep(1.5)
        await relay.mend()
        await tenant.webhook(message(at=BASE + 2))
        assert await seen(tenant) == {"model-output": (written(BASE), written(BASE + 2))}


async def test_a_process_that_ends_writes_what_it_gathered(settings: Settings, tenant: Tenant) -> None:
    async with running(settings) as process:
        await tenant.webhook(message(at=BASE), http=process.http)
    shown = (await tenant.get("/v1/calls/call-1")).json()["activity"]
    assert [each["last_at"] for each in shown] == [written(BASE)]


async def test_memory_is_bounded_while_nothing_is_written(wiring: Wiring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "MOST", 3)
    book, noted = Activity(wiring.database, pause=60), snapshot()
    tenant = noted.id
    for number in range(9):
        book.note(noted, read(encoded(message(call_id=f"call-{number}"))))
    book.note(noted, read(encoded(message(call_id="call-0", at=BASE + 5))))
    await book.close()
    async with wiring.database.tenant_scope(tenant) as connection:
        kept = {f"call-{number}": await activity_of(connection, tenant, f"call-{number}") for number in range(9)}
    assert {name for name, rows in kept.items() if rows} == {"call-0", "call-1", "call-2"}
    assert kept["call-0"][0]["last_at"] > kept["call-1"][0]["last_at"]


TIMES = st.lists(st.tuples(st.sampled_from(EACH), st.sampled_from(["a", "b"]), st.integers(0, 9)), min_size=1, max_size=12)


@examined(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(told=TIMES, data=st.data())
async def test_order_repetition_and_the_process_make_no_difference(told: Any, data: st.DataObject, wiring: Wiring) -> None:
    """The same messages, shuffled and repeated, over two processes with writes in between, leave the same rows."""
    noted = snapshot()
    tenant = noted.id
    books = [Activity(wiring.database, pause=60) for _ in range(2)]
    for kind, call, second in data.draw(st.permutations(told + data.draw(st.lists(st.sampled_from(told), max_size=4)))):
        book = data.draw(st.sampled_from(books))
        book.note(noted, read(encoded(message(kind, BASE + second * 1_000, call))))
        if data.draw(st.booleans()):
            await book.close()
    await asyncio.gather(*(book.close() for book in books))
    async with wiring.database.tenant_scope(tenant) as connection:
        for call in "ab":
            rows = {row["type"]: (row["first_at"], row["last_at"]) for row in await activity_of(connection, tenant, call)}
            expected = {kind: [at for one, of, at in told if (one, of) == (kind, call)] for kind in EACH}
            assert rows == {
                kind: tuple(datetime.fromtimestamp(BASE / 1000 + at, UTC) for at in (min(times), max(times)))
                for kind, times in expected.items()
                if times
            }


async def test_a_conversation_of_megabytes_is_noted_as_a_small_one(tenant: Tenant, effects: Effects) -> None:
    words = [{"role": "user", "message": "word " * 20, "time": BASE + number} for number in range(20_000)]
    body = encoded(message("conversation-update", messages=words))
    assert 2_000_000 < len(body) < 5_000_000
    assert (await tenant.webhook(body)).json() == {}
    assert await seen(tenant) == {"conversation-update": (written(BASE), written(BASE))}
    assert await effects.count(tenant, "processed_webhooks") == 0


async def test_with_all_bodies_kept_a_frequent_message_keeps_none(tenant: Tenant, effects: Effects) -> None:
    retention = {"keys_hours": 720, "bodies_days": 7, "capture": "all"}
    assert (await tenant.ask("PUT", "/v1/retention", retention)).status_code == 200
    await tenant.webhook(message())
    await tenant.webhook({"message": {"type": "hang", "call": {"id": "call-1"}, "timestamp": BASE}})
    assert await effects.owner.fetchval("SELECT count(*) FROM webhook_bodies WHERE tenant_id = $1", tenant.id) == 1

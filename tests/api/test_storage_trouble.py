"""The database cut, stalled or away: 503 and nothing stored, and a delivery repeated until it is taken has one effect."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID

import asyncpg
import httpx
import pytest

import runtime.database
from api.wiring import Wiring
from runtime import metrics
from runtime.ids import TenantId, uuid7
from runtime.settings import Settings
from tests.api.effects import Effects
from tests.api.outages import Relay
from tests.api.people import Person, Tenant, tool_item, tool_message
from tests.api.processes import Process, running
from trunkline.dev.databases import DatabaseUrls
from webhooks import keys
from webhooks.claims import Claimed, Effect

SMS = {"to": "+12135550199", "body": "See you at ten."}
ONE_TEXT = {"processed_webhooks": 1, "messages": 1, "usage_events": 1}
TEXT = tool_message([tool_item("send_sms", SMS)])
IMPATIENT = 0.6


@pytest.fixture
async def relay(urls: DatabaseUrls) -> AsyncIterator[Relay]:
    async with Relay.to(urls.app_url) as made:
        yield made


@pytest.fixture
async def shaky(settings: Settings, relay: Relay, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Process]:
    """A process that reaches the database by way of the relay, and waits no longer than a test can."""
    monkeypatch.setattr(runtime.database, "WAIT_SECONDS", IMPATIENT)
    monkeypatch.setattr(runtime.database, "CONNECT_SECONDS", IMPATIENT)
    async with running(replace(settings, database_url=relay.url)) as started:
        yield started


def assert_unavailable(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("known", [True, False], ids=["tenant known before", "tenant unknown"])
async def test_while_the_database_is_away_nothing_is_taken(
    known: bool, tenant: Tenant, shaky: Process, relay: Relay, effects: Effects
) -> None:
    if known:
        assert (await tenant.webhook(tool_message([tool_item("current_time", {})]), http=shaky.http)).status_code == 200
    await relay.cut()
    before = await effects.counts(tenant)
    for body in (
        TEXT,
        {"message": {"type": "hang", "call": {"id": "c"}}},
        {"message": {"type": "end-of-call-report", "call": {"id": "c"}}},
    ):
        assert_unavailable(await tenant.webhook(body, http=shaky.http))
    person = Person(shaky.http, tenant.key)
    for answer in (await person.get("/v1/messages"), await person.post("/v1/messages", SMS), await person.get("/health/ready")):
        assert_unavailable(answer)
    assert (await person.get("/health/live")).status_code == 200
    assert await effects.counts(tenant) == before
    await relay.mend()
    assert (await tenant.webhook(TEXT, http=shaky.http)).json()["results"][0]["result"]
    assert await effects.count(tenant, "messages") == 1


async def test_a_database_that_does_not_answer_is_given_up_in_time(tenant: Tenant, shaky: Process, relay: Relay, effects: Effects) -> None:
    await tenant.webhook(tool_message([tool_item("current_time", {})]), http=shaky.http)
    before = await effects.counts(tenant)
    relay.stall()
    async with asyncio.timeout(IMPATIENT * 4):
        assert_unavailable(await tenant.webhook(TEXT, http=shaky.http))
    await relay.cut()
    assert await effects.counts(tenant) == before


async def test_somebody_on_the_line_is_answered_even_so(tenant: Tenant, shaky: Process, relay: Relay) -> None:
    ask = {"message": {"type": "assistant-request", "call": {"id": "c"}}}
    assert (await tenant.webhook(ask, http=shaky.http)).status_code == 200
    await relay.cut()
    answer = await tenant.webhook(ask, http=shaky.http)
    assert answer.json() == {"assistantId": tenant.assistant["vapi_assistant_id"]}


async def test_a_twin_that_never_ends_is_given_up_and_leaves_nothing(tenant: Tenant, shaky: Process, effects: Effects) -> None:
    await tenant.webhook(tool_message([tool_item("current_time", {})]), http=shaky.http)
    before = await effects.counts(tenant)
    async with effects.owner.transaction():
        await effects.owner.execute("LOCK TABLE processed_webhooks IN SHARE MODE")  # as a twin's open transaction does, for any key
        assert_unavailable(await tenant.webhook(TEXT, http=shaky.http))
    await asyncio.sleep(0.1)
    assert await effects.counts(tenant) == before
    assert (await tenant.webhook(TEXT, http=shaky.http)).json()["results"][0]["result"]


def troubles() -> float:
    """How often storage was in trouble so far."""
    return sum(sample.value for found in metrics.STORAGE_TROUBLE.collect() for sample in found.samples if sample.name.endswith("_total"))


async def repeated_until_taken(tenant: Tenant, number: int, http: httpx.AsyncClient) -> object:
    """As Vapi does with a backoff plan: again after anything that is no 2xx."""
    await asyncio.sleep(number * 0.015)
    words = {**SMS, "to": f"+12135550{100 + number}", "body": f"Number {number}."}
    body = tool_message([tool_item("send_sms", words, f"tool-{number}")], call_id=f"call-{number}")
    for _ in range(100):
        answer = await tenant.webhook(body, http=http)
        if answer.is_success:
            return answer.json()
        assert answer.is_server_error, answer.text
        await asyncio.sleep(0.05)
    raise AssertionError("it was never taken")


async def end_backends(urls: DatabaseUrls, rounds: int) -> int:
    """End whatever the application's role runs, again and again; a role may end its own. Gives how many were ended."""
    killer, ended = await asyncpg.connect(urls.app_url), 0
    query = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid()"
    for _ in range(rounds):
        await asyncio.sleep(0.05)
        ended += await killer.fetchval(query)
    await killer.close()
    return ended


async def cut_connections(relay: Relay, rounds: int) -> None:
    """Cut and mend the way to the database, again and again."""
    for _ in range(rounds):
        await asyncio.sleep(0.08)
        await relay.cut()
        await relay.mend()


async def test_deliveries_repeated_until_taken_have_one_effect_whatever_is_cut(
    tenant: Tenant, shaky: Process, relay: Relay, http: httpx.AsyncClient, effects: Effects, urls: DatabaseUrls
) -> None:
    """Backends are ended and connections cut at any moment, in two processes, while sixty calls come twice each."""
    before = troubles()
    deliveries = [repeated_until_taken(tenant, number, client) for number in range(60) for client in (http, shaky.http)]
    answers, ended, _ = await asyncio.gather(asyncio.gather(*deliveries), end_backends(urls, 18), cut_connections(relay, 11))
    assert ended > 0
    assert troubles() > before
    assert answers[::2] == answers[1::2]
    assert await effects.counts(tenant) == {"processed_webhooks": 60, "messages": 60, "usage_events": 60}
    assert await effects.arrivals(tenant) == 60


def effect(number: int, **changes: object) -> Effect:
    """An effect of a tool call, as ingest would claim it."""
    values: dict[str, object] = {
        "webhook_id": uuid7(),
        "place": 0,
        "source": "vapi",
        "type": "tool-calls",
        "key": keys.digest(f"key {number}").hex(),
        "fingerprint": keys.digest("what was asked").hex(),
        "answer": f'{{"number":{number}}}',
        "meter": "tool_calls",
    }
    return Effect(**{**values, **changes})  # type: ignore[arg-type]


async def test_another_fingerprint_learns_nothing_of_the_first(tenant: Tenant, wiring: Wiring) -> None:
    tenant_id = TenantId(UUID(tenant.id))
    assert await wiring.claims.accept(tenant_id, [effect(1)]) == [Claimed("new", '{"number":1}', None)]
    other = effect(1, fingerprint=keys.digest("something else").hex())
    assert await wiring.claims.accept(tenant_id, [other]) == [Claimed("conflict", None, None)]
    assert await wiring.claims.accept(tenant_id, [effect(1)]) == [Claimed("replay", '{"number":1}', None)]


async def test_an_effect_that_cannot_be_stored_fails_alone(tenant: Tenant, wiring: Wiring, effects: Effects) -> None:
    """Deliveries that wait at the same time share a round trip; one that breaks a rule of the tables takes no neighbour with it."""
    trips: list[int] = []
    call = wiring.database.call

    class Counting:
        """The database, counting the effects of each round trip."""

        shares = wiring.database.shares

        async def call(self, tenant_id: TenantId, statement: str, *values: object) -> "list[asyncpg.Record]":
            trips.append(str(values[1]).count('"webhook_id"'))
            return await call(tenant_id, statement, *values)

    claims = type(wiring.claims)(Counting())  # type: ignore[arg-type]
    wanted = [[effect(number)] for number in range(20)]
    wanted[7] = [effect(7), effect(70, state="nonsense")]
    outcomes = await asyncio.gather(*(claims.accept(TenantId(UUID(tenant.id)), each) for each in wanted), return_exceptions=True)
    assert max(trips) > 10  # they did share one
    assert isinstance(outcomes[7], asyncpg.CheckViolationError)
    for number, outcome in enumerate(outcomes):
        if number != 7:
            assert outcome == [Claimed("new", f'{{"number":{number}}}', None)]
    assert await effects.counts(tenant) == {"processed_webhooks": 19, "usage_events": 19}

"""Calls that meet under one Idempotency-Key, and calls that are cut off: one effect, and whoever waits holds nothing."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import uuid4

import asyncpg
import httpx
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

import api.wiring
from runtime.database import Database, plain, with_driver
from runtime.settings import Settings
from runtime.shares import Shares
from tests.api.effects import Effects
from tests.api.gates import deferred, gate
from tests.api.outages import Relay
from tests.api.people import Person, Tenant
from tests.api.processes import Process, running
from trunkline.dev.databases import DatabaseUrls

PATH = "/v1/assistants"
KEY = "k-1"
AT_ONCE = 2.0  # seconds: far less than anybody waits for a lock


@pytest.fixture
async def elsewhere(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A second process of the API."""
    async with running(settings) as started:
        yield started.http


@pytest.fixture
async def relay(urls: DatabaseUrls) -> AsyncIterator[Relay]:
    async with Relay.to(urls.app_url) as made:
        yield made


@pytest.fixture
async def shaky(settings: Settings, relay: Relay) -> AsyncIterator[Process]:
    async with running(replace(settings, database_url=relay.url)) as started:
        yield started


def body() -> dict[str, str]:
    return {"vapi_assistant_id": str(uuid4()), "name": "New"}


async def register(who: Person, sent: dict[str, str], http: httpx.AsyncClient | None = None, key: str = KEY) -> httpx.Response:
    """Register an assistant; it is answered at once, or the test has found somebody who waits."""
    return await Person(http or who.http, who.key).post(PATH, sent, Idempotency_Key=key)


async def until_taken(who: Person, sent: dict[str, str], http: httpx.AsyncClient) -> httpx.Response:
    """As a client does that keeps to Retry-After, only faster."""
    while (answer := await register(who, sent, http)).status_code in (409, 503):
        assert answer.headers["retry-after"] == "1"
        await asyncio.sleep(0.05)
    return answer


async def made(effects: Effects, tenant: Tenant, sent: dict[str, str]) -> int:
    query = "SELECT count(*) FROM assistants WHERE tenant_id = $1 AND vapi_assistant_id = $2"
    found: int = await effects.owner.fetchval(query, tenant.id, sent["vapi_assistant_id"])
    return found


async def test_twins_at_once_have_one_effect_and_one_answer(tenant: Tenant, elsewhere: httpx.AsyncClient, effects: Effects) -> None:
    sent = body()
    answers = await asyncio.gather(*(register(tenant, sent, http) for _ in range(10) for http in (tenant.http, elsewhere)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert {answer.headers.get("retry-after") for answer in answers if answer.status_code == 409} <= {"1"}
    later = await asyncio.gather(*(until_taken(tenant, sent, http) for _ in range(10) for http in (tenant.http, elsewhere)))
    done = [answer for answer in (*answers, *later) if answer.status_code == 201]
    assert len({answer.content for answer in done}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in done) == 1
    assert await made(effects, tenant, sent) == 1
    assert await effects.counts(tenant) == {"processed_webhooks": 1}


async def test_a_twin_in_flight_is_409_and_another_body_422_at_once(
    tenant: Tenant, elsewhere: httpx.AsyncClient, effects: Effects, urls: DatabaseUrls
) -> None:
    sent, other = body(), body()
    async with gate(urls.owner_url, tenant) as closed:
        first = asyncio.create_task(register(tenant, sent))
        await closed.reached()
        async with asyncio.timeout(AT_ONCE):
            for http in (tenant.http, elsewhere):
                twin = await register(tenant, sent, http)
                assert (twin.status_code, twin.headers["retry-after"]) == (409, "1")
                assert twin.headers["content-type"] == "application/problem+json"
                assert (await register(tenant, other, http)).status_code == 422
        assert not first.done()
        await closed.open()
        assert (await first).status_code == 201
    again = await register(tenant, sent, elsewhere)
    assert (again.content, again.headers["idempotent-replayed"]) == ((await first).content, "true")
    assert (await register(tenant, other)).status_code == 422
    assert [await made(effects, tenant, each) for each in (sent, other)] == [1, 0]


async def test_a_crowd_of_others_in_flight_is_422_to_each(tenant: Tenant, elsewhere: httpx.AsyncClient, urls: DatabaseUrls) -> None:
    """Two who ask the same other thing meet each other too; neither is told that its own request is being worked on."""
    other = body()
    async with gate(urls.owner_url, tenant) as closed:
        first = asyncio.create_task(register(tenant, body()))
        await closed.reached()
        answers = await asyncio.gather(*(register(tenant, other, http) for _ in range(20) for http in (tenant.http, elsewhere)))
        assert {answer.status_code for answer in answers} == {422}
        await closed.open()
        await first


async def test_another_tenant_is_not_kept_waiting_by_the_same_key(tenant: Tenant, other: Tenant, urls: DatabaseUrls) -> None:
    sent = body()
    async with gate(urls.owner_url, tenant) as closed:
        first = asyncio.create_task(register(tenant, sent))
        await closed.reached()
        async with asyncio.timeout(AT_ONCE):
            assert (await register(other, sent)).status_code == 201
        await closed.open()
        await first


async def test_what_was_read_before_the_commit_is_forgotten_after_it(tenant: Tenant, urls: DatabaseUrls) -> None:
    ask = {"message": {"type": "assistant-request", "call": {"id": "c"}}}
    async with gate(urls.owner_url, tenant) as closed:
        first = asyncio.create_task(register(tenant, body()))
        await closed.reached()
        assert (await tenant.webhook(ask)).status_code == 200  # the tenant as it is without the new assistant
        await closed.open()
        secret = (await first).json()["auth"]["secret"]
    assert (await tenant.webhook(ask, secret=secret)).status_code == 200


@pytest.mark.parametrize("ends", ["committed", "terminated"])
async def test_a_call_cut_off_at_its_commit_has_one_effect_when_it_is_sent_again(
    ends: str, tenant: Tenant, shaky: Process, relay: Relay, effects: Effects, urls: DatabaseUrls
) -> None:
    """Nobody knows whether the first one stands: it is a 503, and the second one finds out."""
    sent = body()
    async with gate(urls.owner_url, tenant) as closed:
        first = asyncio.create_task(register(tenant, sent, shaky.http))
        backend = await closed.reached()
        await relay.cut()
        answer = await first
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        await relay.mend()
        if ends == "terminated":
            await terminate(urls, backend)
            assert await until_gone(effects.owner, backend)
        await closed.open()
        assert await until_gone(effects.owner, backend)
    assert await made(effects, tenant, sent) == (1 if ends == "committed" else 0)
    again = await until_taken(tenant, sent, shaky.http)
    assert (again.status_code, again.headers.get("idempotent-replayed")) == (201, "true" if ends == "committed" else None)
    assert (await register(tenant, sent)).content == again.content
    assert await made(effects, tenant, sent) == 1


async def terminate(urls: DatabaseUrls, backend: int) -> None:
    """End a backend, as its own role may."""
    killer = await asyncpg.connect(urls.app_url)
    await killer.execute("SELECT pg_terminate_backend($1)", backend)
    await killer.close()


async def until_gone(owner: "asyncpg.Connection[asyncpg.Record]", backend: int) -> bool:
    """Wait until a backend has ended, or at least its work."""
    for _ in range(500):
        if not await owner.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND state = 'active'", backend):
            return True
        await asyncio.sleep(0.02)
    return False


async def test_a_fault_at_the_commit_leaves_neither_effect_nor_key(tenant: Tenant, effects: Effects) -> None:
    sent = body()
    async with deferred(effects.owner, tenant, "RAISE EXCEPTION 'not today'"):
        assert (await register(tenant, sent)).status_code == 500
        assert await effects.counts(tenant) == {}
    assert (await register(tenant, sent)).headers.get("idempotent-replayed") is None
    assert await made(effects, tenant, sent) == 1


async def test_a_call_that_is_given_up_leaves_nothing(tenant: Tenant, effects: Effects, urls: DatabaseUrls) -> None:
    sent = body()
    async with gate(urls.owner_url, tenant) as closed:
        first = asyncio.create_task(register(tenant, sent))
        backend = await closed.reached()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await until_gone(effects.owner, backend)
    assert await effects.counts(tenant) == {}
    assert (await register(tenant, sent)).status_code == 201


async def test_one_connection_is_enough(
    settings: Settings, tenant: Tenant, effects: Effects, urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing inside a call asks for a second connection or place, and nobody who waits holds the first."""

    async def narrow(_url: str, _connections: int) -> Database:
        engine = create_async_engine(with_driver(urls.app_url), pool_size=1, max_overflow=0, pool_timeout=20)
        return Database(engine, await asyncpg.create_pool(plain(urls.app_url), min_size=1, max_size=1), Shares(1), Shares(1))

    monkeypatch.setattr(api.wiring, "open_database", narrow)
    sent = [body() for _ in range(6)]
    async with running(settings) as small, asyncio.timeout(30):
        admin = Person(small.http, settings.admin_key)
        twins = [until_taken(tenant, each, small.http) for each in sent[:1] * 10]
        alone = [register(tenant, each, small.http, key=f"own-{number}") for number, each in enumerate(sent[1:])]
        operator = [
            admin.ask("PATCH", f"/v1/admin/tenants/{tenant.id}", {"name": f"N{number}"}, Idempotency_Key=str(uuid4()))
            for number in range(5)
        ]
        answers = await asyncio.gather(*twins, *alone, *operator)
    assert {answer.status_code for answer in answers} == {200, 201}
    assert [await made(effects, tenant, each) for each in sent] == [1] * 6

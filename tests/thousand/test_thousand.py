"""A smaller thousand: every kind of id, many times, over two processes and for two tenants, across clean-ups and a year's end."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime

import asyncpg
import pytest

from runtime.crypto import new_master_key
from runtime.database import Database, open_database
from runtime.settings import Settings
from tests.api.people import ADMIN_KEY, PUBLIC, Person, new_tenant
from tests.api.processes import Process, running
from tests.conftest import Servers, migrated
from tests.thousand.deliveries import Answer, Delivered, Party, deliver, faults_of_answers, faults_of_effects
from tests.thousand.ids import expected, ids_of
from tests.thousand.midnight import faults_of_leaving, put_old_keys, stand_before, watch
from trunkline.dev.databases import DatabaseUrls
from webhooks.cleanup import clean_up

MIDNIGHT = datetime(2028, 1, 1, tzinfo=UTC)
TIMES = 6


@pytest.fixture(scope="module")
async def own_urls(servers: Servers) -> DatabaseUrls:
    made = await servers.new_database(f"thousand{uuid.uuid4().hex[:8]}")
    await migrated(made)
    await watch(made)
    return made


@pytest.fixture(scope="module")
async def processes(own_urls: DatabaseUrls, redis_url: str) -> AsyncIterator[list[Process]]:
    settings = Settings(
        database_url=own_urls.app_url,
        redis_url=redis_url,
        public_base_url=PUBLIC,
        secret_keys=new_master_key("thousand1"),
        admin_key=ADMIN_KEY,
        environment="test",
    )
    async with running(settings) as first, running(settings) as second:
        yield [first, second]


@pytest.fixture
async def parties(processes: list[Process]) -> list[Party]:
    made = [await new_tenant(Person(processes[0].http, ADMIN_KEY)) for _ in range(2)]
    return [Party(uuid.UUID(tenant.id), tenant.slug, tenant.key, tenant.secret) for tenant in made]


@pytest.fixture
async def owner(own_urls: DatabaseUrls) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(own_urls.owner_url)
    yield connection
    await connection.close()


@pytest.fixture
async def database(own_urls: DatabaseUrls) -> AsyncIterator[Database]:
    opened = await open_database(own_urls.app_url, connections=2)
    yield opened
    await opened.close()


async def test_every_id_has_one_effect_and_one_answer_across_clean_ups_and_midnight(
    processes: list[Process], parties: list[Party], owner: "asyncpg.Connection[asyncpg.Record]", database: Database
) -> None:
    async def post(process: int, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        answer = await processes[process].http.post(path, content=body, headers=dict(headers))
        return Answer(answer.status_code, answer.content, answer.headers.get("idempotent-replayed") == "true")

    async def cleans() -> int:
        runs = 0
        while not done.is_set():
            await clean_up(database)
            runs += 1
            await asyncio.sleep(0)
        return runs

    async def travels() -> None:
        await found.a_fifth.wait()
        await stand_before(owner, MIDNIGHT, 0.05)

    ids, done = ids_of(0.2), asyncio.Event()
    found = Delivered.of(parties, ids)
    for party in parties:
        await owner.execute("UPDATE control.tenants SET keys_hours = 72 WHERE id = $1", party.tenant)
        await put_old_keys(owner, party.tenant, MIDNIGHT)
    await stand_before(owner, MIDNIGHT, 60)
    cleaning, travelling = asyncio.create_task(cleans()), asyncio.create_task(travels())
    await deliver(post, found, TIMES, len(processes), seed=1)
    done.set()
    await travelling
    assert await cleaning >= 1
    await stand_before(owner, MIDNIGHT, -2)
    await clean_up(database)
    assert faults_of_answers(found, TIMES) == []
    for party in parties:
        assert await faults_of_effects(owner, party, ids) == []
        assert await faults_of_leaving(owner, party.tenant) == []
    assert await owner.fetchval("SELECT count(*) FROM processed_webhooks WHERE type <> 'old'") == 2 * len(ids)


def test_a_hundred_ids_are_of_every_kind_and_text_different_people() -> None:
    ids = ids_of()
    assert (len(ids), len({each.name for each in ids})) == (100, 100)
    assert expected(ids)["texts"] == len({each.person for each in ids if each.kind in ("tool", "hook", "function", "message")}) == 60
    assert len({each.body(number) for each in ids for number in range(10)}) >= 9 * 100  # a retry is hardly ever the same bytes


async def test_what_happens_twice_or_not_at_all_is_found(parties: list[Party], owner: "asyncpg.Connection[asyncpg.Record]") -> None:
    """The count can fail."""
    assert len(await faults_of_effects(owner, parties[0], ids_of())) == len(expected(ids_of()))
    one = ids_of()[0]
    found = Delivered.of(parties[:1], [one])
    found.answers[parties[0], one] = [Answer(200, b"a", replayed=False), Answer(200, b"a", replayed=False)]
    assert "2 that are no replay" in faults_of_answers(found, 2)[0]
    found.answers[parties[0], one] = [Answer(200, b"a", replayed=False), Answer(200, b"b", replayed=True)]
    assert "2 different answers" in faults_of_answers(found, 2)[0]

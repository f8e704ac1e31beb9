"""What clean-up takes and what it leaves, to the microsecond, on the database's clock."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from runtime.database import Database
from runtime.ids import OPERATOR, TenantId
from tests.retention.conftest import ACCEPT, Keys, MakeKeeper, Owner, Travel, effect_of, id_of
from webhooks import cleanup
from webhooks.cleanup import clean_up

NOW = datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
TICK, HOURS = timedelta(microseconds=1), 72
CUTOFF = NOW - timedelta(hours=HOURS)


async def test_a_key_leaves_when_it_is_strictly_older_than_its_time(
    database: Database, travel: Travel, keys: Keys, make_keeper: MakeKeeper
) -> None:
    tenant = await make_keeper(HOURS)
    older, at, younger = [await keys.put(tenant, CUTOFF + tick) for tick in (-TICK, 0 * TICK, TICK)]
    await travel.to(NOW)
    done = await clean_up(database)
    assert await keys.of(tenant) == {at, younger}
    assert done.keys[tenant] == 1
    await travel.to(NOW + TICK)  # midnight, and a year begins
    await clean_up(database)
    assert await keys.of(tenant) == {younger}
    assert older not in await keys.of(tenant)


async def test_the_id_must_be_older_too(database: Database, travel: Travel, keys: Keys, make_keeper: MakeKeeper, owner: Owner) -> None:
    """A process whose clock is ahead makes ids of the future; its keys stay until both clocks agree."""
    tenant = await make_keeper(HOURS)
    millisecond = timedelta(milliseconds=1)
    floor = CUTOFF.replace(microsecond=999_000)
    older, same = [await keys.put(tenant, CUTOFF - timedelta(days=3), id_at=at) for at in (floor - millisecond, floor)]
    smallest = await owner.fetchval("SELECT app.first_id_at($1)", CUTOFF)
    at_the_bound = await keys.put(tenant, CUTOFF - timedelta(days=3), webhook_id=smallest)
    await travel.to(NOW)
    await clean_up(database)
    assert await keys.of(tenant) == {same, at_the_bound}
    assert older not in await keys.of(tenant)


async def test_a_run_that_lives_stays_whatever_its_age(database: Database, travel: Travel, keys: Keys, make_keeper: MakeKeeper) -> None:
    tenant, old = await make_keeper(HOURS), CUTOFF - timedelta(days=10)
    living = await keys.put(tenant, old, state="in_flight", lease_until=NOW + TICK)
    just_ended = await keys.put(tenant, old, state="in_flight", lease_until=CUTOFF)  # somebody may still come and take it over
    for state in ("done", "failed", "dead"):
        await keys.put(tenant, old, state=state)
    await keys.put(tenant, old, state="in_flight", lease_until=CUTOFF - TICK)
    await travel.to(NOW)
    done = await clean_up(database)
    assert await keys.of(tenant) == {living, just_ended}
    assert done.keys[tenant] == 4


async def test_each_tenant_by_its_own_retention(database: Database, travel: Travel, keys: Keys, make_keeper: MakeKeeper) -> None:
    short, long = await make_keeper(72), await make_keeper(8_784)
    for tenant in (short, long):
        await keys.put(tenant, NOW - timedelta(hours=100))
    of_long = await keys.of(long)
    await keys.put(long, NOW - timedelta(hours=8_785))
    await travel.to(NOW)
    planned = await clean_up(database, dry_run=True)
    assert (planned.keys[short], planned.keys[long]) == (1, 1)
    assert (len(await keys.of(short)), len(await keys.of(long))) == (1, 2)  # nothing was done
    done = await clean_up(database)
    assert {tenant: done.keys[tenant] for tenant in (short, long)} == {tenant: planned.keys[tenant] for tenant in (short, long)}
    assert (await keys.of(short), await keys.of(long)) == (set(), of_long)


async def test_the_operators_own_keys_leave_after_thirty_days(database: Database, travel: Travel, keys: Keys) -> None:
    """They belong to no tenant, and no tenant's retention is theirs."""
    old, at = [await keys.put(OPERATOR, NOW - timedelta(days=30) - tick) for tick in (TICK, 0 * TICK)]
    await travel.to(NOW)
    await clean_up(database)
    assert await keys.of(OPERATOR) == {at}
    assert old not in await keys.of(OPERATOR)


async def test_batches_end_in_the_middle_of_a_webhook_and_step_over_what_stays(
    database: Database, travel: Travel, keys: Keys, make_keeper: MakeKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "FIRST_BATCH", 3)
    monkeypatch.setattr(cleanup, "next_size", lambda size, _took: size)
    tenant, stays = await make_keeper(), set()
    for number in range(5):
        webhook = id_of(CUTOFF - timedelta(days=9) + timedelta(seconds=number))
        for place in range(4):
            living = place == 1
            lease, state = (NOW, "in_flight") if living else (None, "done")
            key = await keys.put(tenant, CUTOFF - TICK, webhook_id=webhook, place=place, state=state, lease_until=lease)
            stays |= {key} if living else set()
    await travel.to(NOW)
    done = await clean_up(database)
    assert await keys.of(tenant) == stays
    assert done.keys[tenant] == 15
    assert done.batches >= 7


async def test_a_run_ends_in_time_and_the_next_one_goes_on(database: Database, travel: Travel, keys: Keys, make_keeper: MakeKeeper) -> None:
    tenant = await make_keeper()
    await keys.put(tenant, CUTOFF - TICK)
    await travel.to(NOW)
    cut_short = await clean_up(database, seconds=0)
    assert (cut_short.finished, len(await keys.of(tenant))) == (False, 1)
    assert (await clean_up(database)).finished
    assert await keys.of(tenant) == set()


async def test_the_last_batch_does_not_walk_through_what_lives(database: Database, owner: Owner, make_keeper: MakeKeeper) -> None:
    """The bound is part of the index condition: pages read do not grow with the history that stays."""
    tenant = await make_keeper()
    await owner.execute(
        "INSERT INTO processed_webhooks (tenant_id, key, fingerprint, webhook_id, place, source, type, state, answer, received_at)"
        " SELECT $1, decode(md5(n::text), 'hex'), '\\x00', app.first_id_at(app.now() - interval '1 hour' + n * interval '0.01 s'), 0,"
        " 'vapi', 'tool-calls', 'done', '{}', app.now() FROM generate_series(1, 20000) AS n",
        tenant,
    )
    await owner.execute("ANALYZE processed_webhooks")
    blocks = "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'processed_webhooks_webhook_idx'"
    await owner.execute("SELECT pg_stat_force_next_flush()")
    before = await owner.fetchval(blocks)
    async with database.pool.acquire() as connection:
        row = await connection.fetchrow(cleanup.FORGET, tenant, UUID(int=0), 0, 1_000, False)
        await connection.execute("SELECT pg_stat_force_next_flush()")
    assert row is not None
    assert (row["walked"], row["forgotten"]) == (0, 0)
    assert await owner.fetchval(blocks) - before < 1_000


async def claim(database: Database, tenant: TenantId, key: str) -> str:
    """One delivery of an effect, as ingest claims it, with a text of its own."""
    effect = effect_of(key)
    while True:
        found = await database.call_for_many(ACCEPT, tenant, json.dumps([effect]))
        outcome: str = found[0]["outcome"]
        if outcome != "absent":  # it ended between the claim and the look
            return outcome


async def test_claims_that_race_with_clean_up_have_one_effect(database: Database, owner: Owner, make_keeper: MakeKeeper) -> None:
    """Keys that are over are delivered again while they leave: each once as new, whoever comes first."""
    tenant, other, names = await make_keeper(), await make_keeper(), [f"{n:032x}" for n in range(1, 301)]
    for each in (tenant, other):
        await owner.executemany(
            "INSERT INTO processed_webhooks (tenant_id, key, fingerprint, webhook_id, place, source, type, state, answer, received_at)"
            " VALUES ($1, decode($2, 'hex'), decode($3, 'hex'), $4, 0, 'vapi', 'tool-calls', 'done', '{}', app.now() - interval '80 h')",
            [(each, name, "0c" * 16, id_of(datetime.now(UTC) - timedelta(hours=90))) for name in names],
        )

    async def deliver(who: TenantId) -> list[str]:
        return [await claim(database, who, name) for _ in range(3) for name in names]

    racing = [deliver(each) for each in (tenant, other) for _ in range(3)]
    *outcomes, cleaned, again = await asyncio.gather(*racing, clean_up(database), clean_up(database))
    assert all(outcome in ("new", "replay") for each in outcomes for outcome in each)
    for each in (tenant, other):
        assert cleaned.keys.get(each, 0) + again.keys.get(each, 0) == len(names)
        for name in names:
            await claim(database, each, name)  # whoever came before it left only had the old answer
        texts = await owner.fetch("SELECT count(*) FROM messages WHERE tenant_id = $1 GROUP BY call_id", each)
        assert [row[0] for row in texts] == [1] * len(names)
        assert await owner.fetchval("SELECT count(*) FROM processed_webhooks WHERE tenant_id = $1", each) == len(names)


async def test_a_delete_costs_no_wait_for_the_disk(database: Database, make_keeper: MakeKeeper, keys: Keys) -> None:
    tenant = await make_keeper()
    await keys.put(tenant, datetime.now(UTC) - timedelta(days=30))
    async with database.pool.acquire() as connection, connection.transaction():
        await connection.fetch(cleanup.FORGET, tenant, UUID(int=0), 0, 10, False)
        assert await connection.fetchval("SHOW synchronous_commit") == "off"
        assert await connection.fetchval("SHOW lock_timeout") == "0"  # that one ends with the function


def test_a_slow_batch_is_followed_by_a_smaller_one() -> None:
    assert cleanup.next_size(1_000, 0.02) == 500
    assert cleanup.next_size(60, 0.02) == cleanup.FEWEST
    assert cleanup.next_size(1_000, 0.001) == 1_250
    assert cleanup.next_size(cleanup.MOST, 0.001) == cleanup.MOST

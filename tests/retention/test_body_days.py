"""Days of kept bodies: made ahead without a wait for anybody, dropped when they are over and no earlier."""

import asyncio
import time
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest

from runtime.clock import monotonic
from runtime.database import Database
from tests.retention.conftest import MakeKeeper, Owner, Travel, id_of
from webhooks import body_days
from webhooks.bodies import body_of, keep
from webhooks.body_days import BodyDay, days_ahead, drop_days, list_days, make_days_ahead, word_for
from webhooks.cleanup import clean_up

EVE = datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
TICK = timedelta(microseconds=1)
FOREVER = float("inf")
PUT = "INSERT INTO webhook_bodies (tenant_id, webhook_id, kept_days, kept_on, body) VALUES ($1, $2, $3, $4, 'b')"


async def days_of(database: Database, kept_days: int) -> list[date]:
    return [day.kept_on for day in await list_days(database) if day.kept_days == kept_days]


async def test_days_are_made_over_midnight_and_the_year(database: Database, travel: Travel) -> None:
    await travel.to(EVE)
    await make_days_ahead(database)
    assert (await days_ahead(database), word_for(await days_ahead(database))) == (8, "ok")
    for kept_days in (7, 30, 90):
        assert [day for day in await days_of(database, kept_days) if day >= EVE.date()] == [date(2026, 12, 31)] + [
            date(2027, 1, n) for n in range(1, 8)
        ]
    await travel.to(EVE + TICK)  # one of those ahead has become today
    assert (await days_ahead(database), word_for(await days_ahead(database))) == (7, "ok")
    assert await make_days_ahead(database) == 3
    assert await days_ahead(database) == 8
    await travel.to(EVE + timedelta(days=3))
    assert word_for(await days_ahead(database)) == "missing days"
    await travel.to(EVE + timedelta(days=30))
    assert await days_ahead(database) == 0


async def test_making_twice_and_at_once_makes_each_day_once(database: Database, travel: Travel) -> None:
    await travel.to(datetime(2028, 2, 27, tzinfo=UTC))  # over the 29th
    made = await asyncio.gather(*(make_days_ahead(database) for _ in range(5)))
    assert sorted(made) == [0, 0, 0, 0, 24]
    assert date(2028, 2, 29) in await days_of(database, 90)
    assert await make_days_ahead(database) == 0


async def test_making_days_waits_for_no_insert_and_none_for_it(
    database: Database, travel: Travel, application: Owner, make_keeper: MakeKeeper
) -> None:
    tenant, day = await make_keeper(), datetime(2029, 5, 1, tzinfo=UTC)
    await travel.to(day)
    await make_days_ahead(database)
    async with application.transaction():
        await application.execute("SELECT set_config('app.tenant_id', $1, true)", str(tenant))
        await application.execute(PUT, tenant, uuid4(), 30, day.date())
        await travel.to(day + timedelta(days=1))
        assert await asyncio.wait_for(make_days_ahead(database), 0.9) == 3  # its own lock time-out is a second


async def test_a_day_is_dropped_when_it_is_over_and_no_moment_earlier(database: Database, travel: Travel, application: Owner) -> None:
    for kept_days in (7, 30, 90):
        kept_on = datetime(2030, 3, 1, tzinfo=UTC)
        await travel.to(kept_on)
        await make_days_ahead(database)
        end = kept_on + timedelta(days=kept_days + 1)
        await travel.to(end - TICK)
        with pytest.raises(asyncpg.InvalidParameterValueError, match="not over"):
            await application.fetchval(body_days.DROP, kept_days, kept_on.date())
        assert kept_on.date() in await days_of(database, kept_days)
        await travel.to(end)
        assert await application.fetchval(body_days.DROP, kept_days, kept_on.date()) > 0
        assert kept_on.date() not in await days_of(database, kept_days)
        assert await application.fetchval(body_days.DROP, kept_days, kept_on.date()) is None  # again: nothing


async def test_clean_up_drops_each_class_by_its_own_days_and_gives_the_space_back(
    database: Database, travel: Travel, owner: Owner, make_keeper: MakeKeeper
) -> None:
    tenant, kept_on = await make_keeper(), datetime(2031, 6, 1, 12, tzinfo=UTC)
    await travel.to(kept_on)
    await make_days_ahead(database)
    for kept_days in (7, 30, 90):
        await owner.execute(
            "INSERT INTO webhook_bodies SELECT $1, gen_random_uuid(), $2, $3, uuid_send(gen_random_uuid()) FROM generate_series(1, 2000)",
            tenant, kept_days, kept_on.date(),
        )  # fmt: skip
    await travel.to(kept_on + timedelta(days=8))
    before = await owner.fetchval("SELECT sum(bytes) FROM app.body_days_v1() WHERE kept_on = $1", kept_on.date())
    planned = [day for day in (await clean_up(database, dry_run=True)).days if day.kept_on == kept_on.date()]
    done = await clean_up(database)
    gone = [day for day in done.days if day.kept_on == kept_on.date()]
    assert gone == planned
    assert [(day.kept_days, day.bytes > 200_000) for day in gone] == [(7, True)]
    assert await owner.fetchval("SELECT sum(bytes) FROM app.body_days_v1() WHERE kept_on = $1", kept_on.date()) == before - gone[0].bytes
    assert await owner.fetchval("SELECT count(*) FROM webhook_bodies WHERE tenant_id = $1", tenant) == 4_000
    assert await days_ahead(database) == 8


async def test_a_day_that_is_being_read_is_given_up_after_50_ms_and_dropped_later(
    database: Database, travel: Travel, application: Owner, make_keeper: MakeKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept_on = datetime(2032, 4, 1, tzinfo=UTC)
    await travel.to(kept_on)
    await make_days_ahead(database)
    await travel.to(kept_on + timedelta(days=8))
    day = BodyDay(7, kept_on.date(), 0, is_over=True)
    reading = application.transaction()
    await reading.start()
    await application.execute("SELECT set_config('app.tenant_id', $1, true)", str(await make_keeper()))
    await application.fetch("SELECT webhook_id FROM webhook_bodies WHERE kept_on = $1 AND kept_days = 7", kept_on.date())
    monkeypatch.setattr(body_days, "TRIES", 1)
    began = time.perf_counter()
    given_up = await drop_days(database, [day], FOREVER)
    took = time.perf_counter() - began
    assert (given_up.days, given_up.held) == ([], [day])
    assert 0.045 < took < 3
    monkeypatch.setattr(body_days, "TRIES", 20)
    waiting = asyncio.create_task(drop_days(database, [day], FOREVER))
    await asyncio.sleep(0.4)
    assert not waiting.done()
    await reading.rollback()
    dropped = await waiting
    assert (dropped.days, dropped.held) == ([day], [])
    assert kept_on.date() not in await days_of(database, 7)


async def test_days_that_do_not_fit_into_the_time_are_left(database: Database) -> None:
    day = BodyDay(7, date(2001, 1, 1), 0, is_over=True)
    assert (await drop_days(database, [day], monotonic() - 1)).held == [day]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT app.drop_body_day_v1(7, app.today())",
        "SELECT app.drop_body_day_v1(7, NULL)",
        "SELECT app.drop_body_day_v1(NULL, '2001-01-01')",
        "SELECT app.drop_body_day_v1(8, '2001-01-01')",
        "SELECT app.make_body_days_v1(32)",
        "SELECT app.make_body_days_v1(-1)",
        "SELECT app.make_body_days_v1(NULL)",
        "DROP TABLE {day}",
        "TRUNCATE {day}",
        "SELECT body FROM {day}",
        "DELETE FROM {day}",
        "INSERT INTO {day} SELECT app.current_tenant(), gen_random_uuid(), 7, app.today(), 'b'",
        "ALTER TABLE webhook_bodies_7 DETACH PARTITION {day}",
        "SELECT body FROM webhook_bodies_7",
        "CREATE TABLE another PARTITION OF webhook_bodies_7 FOR VALUES FROM ('2001-01-01') TO ('2001-01-02')",
        "UPDATE webhook_bodies SET kept_days = 90",
        "TRUNCATE webhook_bodies",
        "CREATE TEMP TABLE webhook_bodies_7 (x int)",
        "CREATE FUNCTION app.now2() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ],
)
async def test_the_application_can_do_nothing_else_with_a_day(
    database: Database, application: Owner, make_keeper: MakeKeeper, statement: str
) -> None:
    await make_days_ahead(database)
    before = await list_days(database)
    name = await application.fetchval("SELECT 'public.' || app.body_day_name(7, app.today())")
    undone = application.transaction()
    await undone.start()
    await application.execute("SELECT set_config('app.tenant_id', $1, true)", str(await make_keeper()))
    with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.InvalidParameterValueError)):
        await application.execute(statement.format(day=name))
    await undone.rollback()
    assert await list_days(database) == before


async def test_a_body_of_an_evening_is_read_back_after_midnight(database: Database, travel: Travel, make_keeper: MakeKeeper) -> None:
    tenant, other, webhook = await make_keeper(), await make_keeper(), id_of(EVE)
    await travel.to(EVE)
    await make_days_ahead(database)
    await travel.to(EVE + timedelta(seconds=1))  # it was taken before midnight and is kept after it
    await keep(database, tenant, webhook, 30, b'{"message": {"type": "status-update"}}')
    async with database.tenant_scope(tenant) as connection:
        assert await body_of(connection, tenant, webhook) == b'{"message":{"type":"status-update"}}'
    async with database.tenant_scope(other) as connection:
        assert await body_of(connection, other, webhook) is None

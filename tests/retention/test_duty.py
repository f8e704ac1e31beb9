"""The worker's hourly clean-up, as a duty: bounded, and going on soon when there is more."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from runtime.database import Database
from tests.retention.conftest import Keys, MakeKeeper, Owner
from trunkline import duties
from trunkline.duties import Duty, DutyRoster, GoOn, long_duties, standing_duties

AGO = timedelta(days=40)
WAIT = "SELECT extract(epoch FROM next_run - last_run)::float8 FROM control.duties WHERE name = $1"


async def test_the_worker_cleans_up_once_and_again_in_an_hour(
    database: Database, owner: Owner, keys: Keys, make_keeper: MakeKeeper
) -> None:
    tenant = await make_keeper()
    await keys.put(tenant, datetime.now(UTC) - AGO)
    roster = DutyRoster(database, uuid4(), long_duties(database, None, None)[:1])  # type: ignore[arg-type]  # clean_up alone
    await roster.announce()
    assert await roster.run_next() == "clean_up"
    assert await keys.of(tenant) == set()
    assert await roster.run_next() is None
    assert 3_590 < await owner.fetchval(WAIT, "clean_up") <= 3_600


async def test_a_turn_that_does_not_suffice_goes_on_soon(
    database: Database, owner: Owner, keys: Keys, make_keeper: MakeKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = await make_keeper()
    await keys.put(tenant, datetime.now(UTC) - AGO)
    await owner.execute("UPDATE control.duties SET next_run = app.now()")
    roster = DutyRoster(database, uuid4(), long_duties(database, None, None)[:1])  # type: ignore[arg-type]  # clean_up alone
    await roster.announce()
    monkeypatch.setattr(duties, "CLEAN_UP_SECONDS", 0.0)
    assert await roster.run_next() == "clean_up"
    assert len(await keys.of(tenant)) == 1
    assert 4 < await owner.fetchval(WAIT, "clean_up") <= 5


async def test_a_duty_says_itself_when_it_goes_on(database: Database, owner: Owner) -> None:
    async def unfinished() -> GoOn:
        return GoOn(1.5)

    roster = DutyRoster(database, uuid4(), [Duty("unfinished", 60, unfinished)])
    await roster.announce()
    await roster.run_next()
    assert 1.4 < await owner.fetchval(WAIT, "unfinished") <= 1.5
    await owner.execute("DELETE FROM control.duties WHERE name = 'unfinished'")


def test_a_long_duty_keeps_no_short_one_waiting(database: Database) -> None:
    long = {duty.name for duty in long_duties(database, None, None)}  # type: ignore[arg-type]  # nothing runs
    assert long.isdisjoint(duty.name for duty in standing_duties(database, None))  # type: ignore[arg-type]  # nothing runs
    assert duties.CLEAN_UP_SECONDS < duties.LEASE_SECONDS / 4

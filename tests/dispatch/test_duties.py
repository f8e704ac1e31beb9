import asyncio
from uuid import uuid4

import asyncpg

from runtime.database import Database
from tests.dispatch.desk import until
from trunkline.duties import Duty, DutyRoster

Owner = asyncpg.Connection


class Work:
    """Counts how often it was done, and how often at once."""

    def __init__(self, seconds: float = 0.05) -> None:
        self.seconds = seconds
        self.done = self.now = self.most = 0

    async def __call__(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(self.seconds)
        self.now -= 1
        self.done += 1


def roster(database: Database, *duties: Duty, lease: float = 5.0) -> DutyRoster:
    return DutyRoster(database, uuid4(), duties, lease)


async def test_a_duty_runs_once_per_due_time_whoever_takes_it(database: Database, owner: Owner) -> None:
    work = Work()
    workers = [roster(database, Duty("count", 60, work)) for _ in range(5)]
    await asyncio.gather(*(worker.announce() for worker in workers))
    for _ in range(3):
        await asyncio.gather(*(worker.run_next() for worker in workers))
    assert (work.done, work.most) == (1, 1)
    await owner.execute("UPDATE control.duties SET next_run = app.now()")
    await asyncio.gather(*(worker.run_next() for worker in workers))
    assert (work.done, work.most) == (2, 1)


async def test_a_duty_whose_holder_died_is_taken_over_after_its_lease_and_the_late_one_changes_nothing(
    database: Database, owner: Owner
) -> None:
    slow, quick = Work(seconds=1.0), Work()
    first = roster(database, Duty("count", 60, slow), lease=0.3)
    second = roster(database, Duty("count", 60, quick))
    await first.announce()
    late = asyncio.create_task(first.run_next())
    await asyncio.sleep(0.1)
    assert await second.run_next() is None
    await asyncio.sleep(0.5)
    row = await owner.fetchrow("SELECT last_error, holder FROM control.duties WHERE name = 'count'")
    assert row is not None
    assert (row["last_error"], slow.done) == ("TimeoutError", 0)  # it kept to its lease
    await late
    await owner.execute(
        "UPDATE control.duties SET next_run = app.now(), holder = $1, attempt = attempt + 1, lease_until = app.now()", uuid4()
    )
    assert await second.run_next() == "count"
    assert quick.done == 1


async def test_whoever_finishes_after_its_lease_does_not_end_the_turn_of_the_next(database: Database, owner: Owner) -> None:
    other = uuid4()

    async def overtaken() -> None:
        await owner.execute(
            "UPDATE control.duties SET holder = $1, attempt = attempt + 1, lease_until = app.now() + interval '1 hour'", other
        )

    worker = roster(database, Duty("count", 60, overtaken))
    await worker.announce()
    await worker.run_next()
    row = await owner.fetchrow("SELECT holder, last_run FROM control.duties WHERE name = 'count'")
    assert row is not None
    assert (row["holder"], row["last_run"]) == (other, None)


async def test_a_duty_that_fails_is_noted_and_does_not_end_the_others(database: Database, owner: Owner) -> None:
    async def fail() -> None:
        raise RuntimeError("broken")

    work, stopping = Work(), asyncio.Event()
    worker = roster(database, Duty("breaks", 60, fail), Duty("count", 60, work))
    running = asyncio.create_task(worker.run(stopping))

    async def both() -> bool:
        return await owner.fetchval("SELECT count(*) FROM control.duties WHERE last_run IS NOT NULL") == 2

    await until(both)
    stopping.set()
    await running
    errors = dict(await owner.fetch("SELECT name, last_error FROM control.duties"))
    assert errors == {"breaks": "RuntimeError", "count": None}

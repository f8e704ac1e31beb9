"""Clean-up: what a tenant's retention no longer covers leaves, in steps so small that ingest waits for none of them.

Keys leave in batches of a few milliseconds with as long a pause after each; kept bodies leave by whole days; what was said in calls, what a
tenant's privacy setting no longer keeps and is to be forgotten, and the numbers that tool calls left on forgotten calls, by calls. How long
a tenant keeps its keys is read by the SQL function itself, with the boundary, on the database's clock (migrations/sql/0002/60_forget.sql).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import text

from runtime import clock
from runtime.database import Database, passing_condition
from runtime.ids import OPERATOR, TenantId
from webhooks.body_days import BodyDay, drop_days, list_days, make_days_ahead

FIRST_BATCH, FEWEST, MOST = 200, 50, 2_000
SECONDS_OF_A_BATCH = 0.008  # aimed at: a claim of a key that is leaving waits so long
SHORTEST_PAUSE = 0.002
COUNTED_AT_ONCE = 20_000  # a dry run locks nothing
TENANTS_AT_ONCE = 200
CALLS_AT_ONCE = 500
BEGINNING = UUID(int=0)
TRIES, PAUSE_AFTER_TROUBLE = 5, 0.2
ROW_IS_HELD = ("lock_timeout", "deadlock", "statement_timeout")

FORGET = "SELECT walked, forgotten, last_id, last_place FROM app.forget_keys_v1($1, $2, $3, $4, $5)"
FORGETTABLE = "SELECT tenant FROM app.forgettable_v1($1) AS tenant"
FORGET_CONTENTS = "SELECT tenant, forgotten, to_walk FROM app.forget_contents_v1($1, $2, $3)"
FORGET_KEPT = "SELECT walked, forgotten, last_call FROM app.forget_kept_v1($1, $2, $3, $4)"
FORGET_REFUSALS = "SELECT tenant, forgotten FROM app.forget_text_refusals_v1($1, $2, $3)"
REFUSALS_AT_ONCE = 1_000
TENANTS = text("SELECT id FROM control.tenants ORDER BY id")

Progress = Callable[[TenantId, int], None]  # a tenant, and how many of its keys left just now


@dataclass(slots=True)
class CleanUp:
    """What one run did, or with `dry_run` would do. Times in seconds; `finished` is false when its time was up before the work was."""

    dry_run: bool
    keys: dict[TenantId, int] = field(default_factory=dict)
    days: list[BodyDay] = field(default_factory=list)
    held_days: list[BodyDay] = field(default_factory=list)
    days_made: int = 0
    contents: dict[TenantId, int] = field(default_factory=dict)  # calls of a tenant whose customer or words left
    text_refusals: int = 0
    finished: bool = True
    batches: int = 0
    longest_batch: float = 0.0
    drop_seconds: list[float] = field(default_factory=list)

    @property
    def bytes_returned(self) -> int:
        """What the days that left took on disk."""
        return sum(day.bytes for day in self.days)


def nobody_watches(_tenant: TenantId, _keys: int) -> None:
    """No progress is shown."""


async def clean_up(
    database: Database, *, dry_run: bool = False, seconds: float = float("inf"), progress: Progress = nobody_watches
) -> CleanUp:
    """Make body days ahead, drop those that are over, and forget every tenant's keys that are over; begins no batch after `seconds`.

    Raises:
        asyncpg.PostgresError, OSError: the database refused or went away; what left before is gone, the next run goes on.
    """
    deadline = clock.monotonic() + seconds
    done = CleanUp(dry_run)
    if not dry_run:
        done.days_made = await days_made(database)
    done.days = [day for day in await list_days(database) if day.is_over]
    if not dry_run:
        dropped = await drop_days(database, done.days, deadline)
        done.days, done.held_days, done.drop_seconds = dropped.days, dropped.held, dropped.seconds
    for tenant in await tenants_with_old_keys(database):
        try:
            await forget_keys(database, tenant, done, deadline, progress)
        except Exception as error:
            if passing_condition(error) not in ROW_IS_HELD:
                raise
            done.finished = False  # somebody holds a row of this tenant for long: the others do not wait for it
    await forget_contents(database, done, deadline)
    await forget_text_refusals(database, done, deadline)
    return done


async def forget_text_refusals(database: Database, done: CleanUp, deadline: float) -> None:
    """Refused texts of 30 days ago, of every tenant; idle tenants cost one probe of an index each."""
    tenants = await all_tenants(database)
    for start in range(0, len(tenants), TENANTS_AT_ONCE):
        some = tenants[start : start + TENANTS_AT_ONCE]
        while some and not is_up(done, deadline):
            found = await database.call_for_many(FORGET_REFUSALS, some, REFUSALS_AT_ONCE, done.dry_run)
            done.text_refusals += sum(row["forgotten"] for row in found)
            some = [] if done.dry_run else [row["tenant"] for row in found if row["forgotten"] >= REFUSALS_AT_ONCE]


async def forget_contents(database: Database, done: CleanUp, deadline: float) -> None:
    """What was said in calls and is kept no longer, of every tenant; then what else is to be forgotten, of those that have any.

    Idle tenants cost two probes of an index each.
    """
    tenants, to_walk = await all_tenants(database), set[UUID]()
    for start in range(0, len(tenants), TENANTS_AT_ONCE):
        some = tenants[start : start + TENANTS_AT_ONCE]
        while some:
            if is_up(done, deadline):
                return
            try:
                found = await database.call_for_many(FORGET_CONTENTS, some, CALLS_AT_ONCE, done.dry_run)
            except Exception as error:
                if passing_condition(error) not in ROW_IS_HELD:
                    raise
                done.finished = False
                break
            for row in found:
                count_contents(done, row["tenant"], row["forgotten"])
            to_walk.update(row["tenant"] for row in found if row["to_walk"])
            some = [] if done.dry_run else [row["tenant"] for row in found if row["forgotten"] >= CALLS_AT_ONCE]
    for tenant in sorted(to_walk):
        try:
            await forget_kept(database, TenantId(tenant), done, deadline)
        except Exception as error:
            if passing_condition(error) not in ROW_IS_HELD:
                raise
            done.finished = False


async def forget_kept(database: Database, tenant: TenantId, done: CleanUp, deadline: float) -> None:
    """Walk over one tenant's calls once, a batch in a transaction, each beginning where the one before ended."""
    after, walked = "", CALLS_AT_ONCE
    while walked == CALLS_AT_ONCE:
        if is_up(done, deadline):
            return
        row = (await database.call(tenant, FORGET_KEPT, tenant, after, CALLS_AT_ONCE, done.dry_run))[0]
        count_contents(done, tenant, row["forgotten"])
        after, walked = row["last_call"], row["walked"]


def is_up(done: CleanUp, deadline: float) -> bool:
    """Whether the time is; then it did not finish."""
    done.finished = done.finished and clock.monotonic() < deadline
    return clock.monotonic() >= deadline


def count_contents(done: CleanUp, tenant: UUID, calls: int) -> None:
    """So many more calls of a tenant."""
    if calls:
        done.contents[TenantId(tenant)] = done.contents.get(TenantId(tenant), 0) + calls


async def days_made(database: Database) -> int:
    """How many days were made ahead; none where somebody holds the table for long: there is a week's room, and another run in an hour."""
    try:
        return await make_days_ahead(database)
    except Exception as error:
        if passing_condition(error) != "lock_timeout":
            raise
        return 0


async def tenants_with_old_keys(database: Database) -> list[TenantId]:
    """Who may have keys that are over; idle tenants cost one probe of an index each, many in a round trip."""
    tenants = [OPERATOR, *await all_tenants(database)]
    found: list[TenantId] = []
    for start in range(0, len(tenants), TENANTS_AT_ONCE):
        some = await database.call_for_many(FORGETTABLE, tenants[start : start + TENANTS_AT_ONCE])
        found += [TenantId(row["tenant"]) for row in some]
    return found


async def all_tenants(database: Database) -> list[UUID]:
    """Every tenant there is or was."""
    async with database.unscoped() as connection:  # unscoped: the list of tenants stands in the schema control
        return list((await connection.execute(TENANTS)).scalars())


async def forget_keys(database: Database, tenant: TenantId, done: CleanUp, deadline: float, progress: Progress) -> None:
    """One tenant's keys, a batch in a transaction, each beginning where the one before ended."""
    after, place, size = BEGINNING, 0, COUNTED_AT_ONCE if done.dry_run else FIRST_BATCH
    while True:
        if clock.monotonic() >= deadline:
            done.finished = False
            return
        began = clock.monotonic()
        walked, forgotten, after, place = await one_batch(database, tenant, after, place, size, dry_run=done.dry_run)
        took = clock.monotonic() - began
        done.batches += 1
        done.longest_batch = max(done.longest_batch, took)
        if forgotten:
            done.keys[tenant] = done.keys.get(tenant, 0) + forgotten
            progress(tenant, forgotten)
        if walked < size:
            return
        if not done.dry_run:
            size = next_size(size, took)
            await asyncio.sleep(max(SHORTEST_PAUSE, took))


async def one_batch(
    database: Database, tenant: TenantId, after: UUID, place: int, size: int, *, dry_run: bool
) -> tuple[int, int, UUID, int]:
    """(walked, forgotten, last id, last place) of a batch; a row that somebody holds is waited for by trying again, not in a queue."""
    for attempt in range(1, TRIES + 1):
        try:
            row = (await database.call(tenant, FORGET, tenant, after, place, size, dry_run))[0]
        except Exception as error:
            if attempt == TRIES or passing_condition(error) not in ("lock_timeout", "deadlock"):
                raise
            await asyncio.sleep(PAUSE_AFTER_TROUBLE)
        else:
            return row["walked"], row["forgotten"], row["last_id"], row["last_place"]
    raise AssertionError("the last attempt returns or raises")


def next_size(size: int, took: float) -> int:
    """As many rows as should take the time aimed at; a slow batch is followed by a much smaller one, a quick one by a slightly larger."""
    if took > SECONDS_OF_A_BATCH:
        return max(FEWEST, size // 2)
    return min(MOST, size + size // 4)

"""The days of kept bodies: made ahead, so that a body always finds its day, and dropped whole when their time is over."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

from runtime import clock
from runtime.database import Database, passing_condition
from runtime.logs import log

DAYS_AHEAD = 7
ENOUGH_DAYS = 7  # today included: at midnight one of those made ahead has become today, and the next is made within the hour
TRIES, PAUSE_SECONDS = 8, 0.25  # a reader of a body is gone by then

MAKE = "SELECT app.make_body_days_v1($1)"
DROP = "SELECT app.drop_body_day_v1($1, $2)"
DAYS = "SELECT kept_days, kept_on, bytes, is_over FROM app.body_days_v1()"
AHEAD = "SELECT app.body_days_ahead_v1()"


@dataclass(frozen=True, slots=True)
class BodyDay:
    """The bodies of one class (7, 30 or 90 days) that were kept on one day, in UTC."""

    kept_days: int
    kept_on: date
    bytes: int  # on disk
    is_over: bool


@dataclass(slots=True)
class Dropped:
    """Days that left, those that are left for the next time, and how long each try took, in seconds."""

    days: list[BodyDay] = field(default_factory=list)
    held: list[BodyDay] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


async def make_days_ahead(database: Database) -> int:
    """Make the days from today to a week ahead that are missing; answers how many. No insert waits for it."""
    made: int = (await database.call_for_many(MAKE, DAYS_AHEAD))[0][0]
    return made


async def days_ahead(database: Database) -> int:
    """How many days there are without a gap, today included; 0: bodies of today cannot be kept."""
    ahead: int = (await database.call_for_many(AHEAD))[0][0]
    return ahead


def word_for(ahead: int) -> str:
    """What readiness and the doctor say of the days ahead: "ok" or "missing days"."""
    return "ok" if ahead >= ENOUGH_DAYS else "missing days"


async def list_days(database: Database) -> list[BodyDay]:
    """Every day there is, the oldest first."""
    return [BodyDay(*row) for row in await database.call_for_many(DAYS)]


async def drop_days(database: Database, days: Sequence[BodyDay], deadline: float) -> Dropped:
    """Drop days that are over, each in a transaction of its own, until the deadline; one that is being read is left for the next time."""
    dropped = Dropped()
    for number, day in enumerate(days):
        if clock.monotonic() >= deadline:
            dropped.held += days[number:]
            break
        began = clock.monotonic()
        if await drop_day(database, day, dropped.seconds):
            dropped.days.append(day)
        else:
            log.warning("a day of bodies is over and somebody holds it", kept_days=day.kept_days, kept_on=day.kept_on.isoformat(),
                        seconds=round(clock.monotonic() - began, 1))  # fmt: skip  # one thing said
            dropped.held.append(day)
    return dropped


async def drop_day(database: Database, day: BodyDay, seconds: list[float]) -> bool:
    """Try until nobody holds the day; each try waits at most 50 ms for its locks, so that nobody waits longer behind it."""
    for attempt in range(TRIES):
        if attempt:
            await asyncio.sleep(PAUSE_SECONDS)
        began = clock.monotonic()
        try:
            await database.call_for_many(DROP, day.kept_days, day.kept_on)
        except Exception as error:
            if passing_condition(error) not in ("lock_timeout", "deadlock"):
                raise
        else:
            return True
        finally:
            seconds.append(clock.monotonic() - began)
    return False

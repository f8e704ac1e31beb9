"""A night that tests travel through: the database's clock and this process's stand where a test puts them, Redis's runs on."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

import asyncpg
import pytest

from messaging import day_counts
from messaging.day_counts import COUNTED_ONLY, PACIFIC
from messaging.pacer import DayCap
from runtime import clock
from runtime.ids import TenantId

Owner = asyncpg.Connection
NOW = "CREATE OR REPLACE FUNCTION app.now() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE AS $now$SELECT {}$now$"
REAL = "clock_timestamp()"  # clock: what the tests' travels end with


today = clock.now


def of_today(registration: UUID, cap: int = COUNTED_ONLY) -> DayCap:
    """The counter of Redis's day."""
    return DayCap.on(str(registration), cap, PACIFIC, today())


@dataclass
class Travel:
    """Both clocks."""

    owner: Owner
    patch: pytest.MonkeyPatch

    async def to(self, moment: datetime, *, worker: datetime | None = None) -> None:
        """`worker`: where this process's clock stands, if not at the same instant."""
        await self.owner.execute(NOW.format(f"'{moment.isoformat()}'::timestamptz"))
        self.patch.setattr(day_counts, "day_count", of_today)  # the pacer refuses a day that is not Redis's
        self.patch.setattr(clock, "now", lambda: worker or moment)

    async def home(self) -> None:
        await self.owner.execute(NOW.format(REAL))


async def say_hours(owner: Owner, tenant: TenantId, setting: str) -> None:
    """A tenant's own hours, as its API stores them."""
    await owner.execute("INSERT INTO quiet_hours (tenant_id, name, setting) VALUES ($1, 'default', $2)", tenant, setting)


async def turn(owner: Owner, mode: str, tenant: TenantId | None) -> None:
    """The switch, as the operator's API stores it."""
    await owner.execute("INSERT INTO control.switches (name, tenant_id, mode) VALUES ('quiet_hours', $1, $2)", tenant, mode)


def old_id() -> UUID:
    """An id of a message that was accepted long ago."""
    return UUID(int=uuid4().int & ((1 << 72) - 1) | 0x19 << 120 | 0x7 << 76)

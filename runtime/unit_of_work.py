"""One transaction for everything that a task does: whatever scope it enters meanwhile joins in a savepoint, and all of it commits at once.

Another task never joins, also not one that this task started: two tasks on one connection would read each other's answers.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

ENTER_SCOPE = text("SELECT set_config('app.tenant_id', :tenant, true)")
SCOPE = text("SELECT coalesce(current_setting('app.tenant_id', true), '')")
NO_TENANT = ""  # a tenant table refuses it, as it refuses a scope that was never set


@dataclass(frozen=True, slots=True)
class Unit:
    """A transaction that is open, and whose it is."""

    connection: AsyncConnection
    engine: AsyncEngine
    task: "asyncio.Task[object] | None"


_unit: ContextVar[Unit | None] = ContextVar("unit", default=None)


@contextmanager
def opened(connection: AsyncConnection, engine: AsyncEngine) -> Iterator[None]:
    """Until the block ends, scopes of this engine that this task enters join the connection's transaction."""
    token = _unit.set(Unit(connection, engine, asyncio.current_task()))
    try:
        yield
    finally:
        _unit.reset(token)


def joinable(engine: AsyncEngine) -> AsyncConnection | None:
    """The connection of the unit that this task has open on this engine, if any."""
    unit = _unit.get()
    if unit is None or unit.engine is not engine or unit.task is not asyncio.current_task():
        return None
    return unit.connection


@asynccontextmanager
async def part(connection: AsyncConnection, scope: str) -> AsyncIterator[AsyncConnection]:
    """A part of a unit, in a scope of its own; the one around it holds again afterwards. On an exception only this part is undone."""
    async with connection.begin_nested():
        outer = (await connection.execute(SCOPE)).scalar_one()
        await connection.execute(ENTER_SCOPE, {"tenant": scope})
        yield connection
        await connection.execute(ENTER_SCOPE, {"tenant": outer})  # a savepoint that is kept keeps its setting too

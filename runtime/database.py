"""PostgreSQL: the tenant scope that every query of tenant data runs in, and the fast lane for the versioned SQL functions.

Row security is the wall; `tenant_scope` is the door. Its setting lives in the transaction (`set_config(…, true)`), so that a
pooled connection never carries one tenant into the next transaction.
"""

import errno
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy.engine import make_url
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from runtime import unit_of_work
from runtime.ids import TenantId
from runtime.shares import Shares
from runtime.unit_of_work import ENTER_SCOPE, NO_TENANT

WAIT_SECONDS = 8.0  # how long a statement may take, the wait for a twin's commit included
CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Database:
    """One process's connections: an engine for ordinary work, a pool of bare asyncpg connections for the fast lane."""

    engine: AsyncEngine
    pool: "asyncpg.Pool[asyncpg.Record]"
    shares: Shares  # of the fast lane
    ordinary_shares: Shares  # of the engine; a task never enters the scope of the tenant it is in already

    @asynccontextmanager
    async def tenant_scope(self, tenant: TenantId) -> AsyncIterator[AsyncConnection]:
        """A transaction that sees and writes this tenant's rows only; commits at the end, rolls back on an exception.

        A tenant uses at most its share of the connections; whoever waits for a place holds none. Inside a unit of this task it is a
        part of that one, on its connection and without a place of its own.
        """
        if (joined := unit_of_work.joinable(self.engine)) is not None:
            async with unit_of_work.part(joined, str(tenant)) as connection:
                yield connection
            return
        async with self.ordinary_shares.of(tenant), self.engine.begin() as connection:  # unscoped: this is where the scope is entered
            await self.enter(connection, tenant)
            yield connection

    @asynccontextmanager
    async def unit(self, tenant: TenantId) -> AsyncIterator[AsyncConnection]:
        """One transaction, in this tenant's scope, for all that this task does until the block ends: scopes entered meanwhile join it."""
        async with self.tenant_scope(tenant) as connection:
            with unit_of_work.opened(connection, self.engine):
                yield connection

    def refuse_unit(self) -> None:
        """For whoever asks somebody else's server next, which no transaction may wait for.

        Raises:
            RuntimeError: this task has a unit open.
        """
        if unit_of_work.joinable(self.engine) is not None:
            raise RuntimeError("somebody else's server is asked inside a unit of work")

    async def enter(self, connection: AsyncConnection, tenant: TenantId) -> None:
        """Go on in a tenant's scope, in a transaction that began outside: one change of both is one commit."""
        await connection.execute(ENTER_SCOPE, {"tenant": str(tenant)})

    @asynccontextmanager
    async def unscoped(self) -> AsyncIterator[AsyncConnection]:
        """A transaction outside every tenant: it reaches the schema `control` and no tenant table. Inside a unit, a part of that one."""
        if (joined := unit_of_work.joinable(self.engine)) is not None:
            async with unit_of_work.part(joined, NO_TENANT) as connection:
                yield connection
            return
        async with self.engine.begin() as connection:  # unscoped: for the schema control; each use gives its reason
            yield connection

    async def call(self, tenant: TenantId | UUID, statement: str, *values: object) -> "list[asyncpg.Record]":
        """Run one statement on the fast lane for a tenant, which uses at most its share of the connections.

        The statement calls a versioned SQL function, which enters the tenant's scope itself: one round trip, one transaction.
        """
        async with self.shares.of(tenant):
            return await self.call_for_many(statement, *values)

    async def call_for_many(self, statement: str, *values: object) -> "list[asyncpg.Record]":
        """Run one statement on the fast lane that works for several tenants in turn, each in its own scope, inside the SQL function."""
        found: list[asyncpg.Record] = await self.pool.fetch(statement, *values)  # unscoped: the SQL function enters the scope itself
        return found

    async def close(self) -> None:
        """Give every connection back."""
        await self.pool.close()
        await self.engine.dispose()


async def open_database(url: str, connections: int = 16) -> Database:
    """Connect; half of the connections serve the fast lane.

    Raises:
        OSError, asyncpg.PostgresError: the database cannot be reached or refuses the role.
    """
    fast = max(4, connections // 2)
    ordinary = max(4, connections - fast)
    engine = create_async_engine(
        with_driver(url),
        pool_size=ordinary,
        max_overflow=0,
        pool_timeout=WAIT_SECONDS,
        pool_pre_ping=True,
        hide_parameters=True,  # an exception's text must not carry a number
        connect_args={"timeout": CONNECT_SECONDS, "command_timeout": WAIT_SECONDS},
    )
    pool = await asyncpg.create_pool(
        plain(url),
        min_size=2,
        max_size=fast,
        timeout=CONNECT_SECONDS,
        command_timeout=WAIT_SECONDS,
        max_inactive_connection_lifetime=60,
        reset=nothing_to_reset,
    )
    return Database(engine, pool, Shares(max(1, fast // 4)), Shares(max(1, ordinary // 4)))


async def nothing_to_reset(_connection: object) -> None:
    """What the fast lane sets lives in its transaction; the driver's own clean-up would be a second round trip for every one."""


def with_driver(url: str) -> str:
    """The address for SQLAlchemy: a bare `postgresql://` would mean another driver since 2.1."""
    return make_url(url).set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)


def plain(url: str) -> str:
    """The address for asyncpg itself."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def rows(records: "Sequence[asyncpg.Record]") -> list[dict[str, Any]]:
    """Records of the fast lane as plain dictionaries."""
    return [dict(record) for record in records]


PASSING_STATES = {
    "40001": "serialization",
    "40P01": "deadlock",
    "55P03": "lock_timeout",
    "57014": "statement_timeout",
    "53300": "too_many_connections",
    "57P01": "server_stopping",
    "57P02": "server_stopping",
    "57P03": "server_starting",
    "25006": "read_only",  # a fail-over in progress
    "53100": "disk_full",
}


UNREACHABLE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN}


def passing_condition(error: BaseException) -> str | None:
    """The name of a storage condition that a retry outlives, or None: then it is a bug and somebody is told."""
    driver = getattr(error, "driver_exception", error)
    state = getattr(driver, "sqlstate", None)
    if isinstance(state, str):
        return "connection_lost" if state.startswith("08") else PASSING_STATES.get(state)
    if getattr(error, "connection_invalidated", False) or closed_under_us(driver):
        return "connection_lost"
    if isinstance(error, PoolTimeout):
        return "connections_exhausted"
    return "unreachable" if isinstance(driver, OSError) and unreachable(driver) else None


def closed_under_us(error: BaseException) -> bool:
    """Whether asyncpg found its connection or pool closed; its other interface errors are wrong uses of it, ours to mend."""
    if isinstance(error, AttributeError) and error.obj is None and error.name in ("write", "writelines"):
        return True  # the driver writes to a transport that is gone
    if isinstance(error, asyncpg.InternalClientError):
        return True  # a backend that was terminated just as its connection was taken out again
    return isinstance(error, asyncpg.InterfaceError) and not isinstance(error, ValueError) and "clos" in str(error)


def unreachable(error: OSError) -> bool:
    """Whether a server could not be reached or did not answer in time; a missing file of ours is something else."""
    if isinstance(error, ConnectionError | TimeoutError | ssl.SSLError | socket.gaierror):
        return True
    if isinstance(error, FileNotFoundError):
        return error.filename is None  # a unix socket that is not there; opening a file names it
    several = error.errno is None and str(error).startswith("Multiple exceptions")  # how asyncio tells that every address of a host refused
    return several or error.errno in UNREACHABLE

"""A transaction held at its COMMIT: what a test does meanwhile happens while the call is in flight, every time."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from tests.api.people import Tenant

MAKE = """
CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {does}; RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER {name} AFTER INSERT ON assistants DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN (NEW.tenant_id = '{tenant}') EXECUTE FUNCTION {name}();
"""
WAITING = """
SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objsubid = 1 AND classid::bigint << 32 | objid::bigint = $1
"""


@dataclass
class Gate:
    """Whoever registers an assistant of the tenant waits here, with everything done and nothing committed."""

    owner: "asyncpg.Connection[asyncpg.Record]"
    number: int

    async def reached(self) -> int:
        """Wait until somebody waits; gives the backend's number."""
        async with asyncio.timeout(10):
            while True:
                waiting = await self.owner.fetch(WAITING, self.number)
                if waiting:
                    pid: int = waiting[0]["pid"]
                    return pid
                await asyncio.sleep(0.01)

    async def open(self) -> None:
        await self.owner.execute("SELECT pg_advisory_unlock_all()")


@asynccontextmanager
async def gate(url: str, tenant: Tenant) -> AsyncIterator[Gate]:
    """A closed gate, until it is opened or the block ends."""
    number = secrets.randbits(62)
    owner = await asyncpg.connect(url)
    try:
        await owner.fetchval("SELECT pg_advisory_lock($1)", number)
        async with deferred(owner, tenant, f"PERFORM pg_advisory_xact_lock({number})"):
            made = Gate(owner, number)
            try:
                yield made
            finally:
                await made.open()
    finally:
        await owner.close()


@asynccontextmanager
async def deferred(owner: "asyncpg.Connection[asyncpg.Record]", tenant: Tenant, does: str) -> AsyncIterator[None]:
    """Until the block ends every transaction that registered an assistant of the tenant does this when it commits."""
    name = f"gate_{secrets.token_hex(6)}"
    await owner.execute(MAKE.format(name=name, does=does, tenant=tenant.id))
    try:
        yield
    finally:
        await owner.execute(f"DROP FUNCTION {name} CASCADE")

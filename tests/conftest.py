"""One PostgreSQL and one Valkey of the suite's own; every test brings its own tenants, so nothing is emptied in between."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import asyncpg
import hypothesis
import pytest
from sqlalchemy import text

from migrations.run import upgrade
from runtime.database import Database, open_database
from runtime.ids import TenantId, uuid7
from trunkline.dev.databases import DatabaseUrls
from trunkline.dev.postgres import EmbeddedPostgres
from trunkline.dev.valkey import EmbeddedValkey

OWNER, APPLICATION = "trunkline_owner", "trunkline_app"
MakeTenant = Callable[..., Awaitable[TenantId]]

# no test fails by how long it took: the machine is shared
hypothesis.settings.register_profile(
    "house", parent=hypothesis.settings(), deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("house")


@dataclass(frozen=True)
class Servers:
    """The running servers; `new_database` gives an empty one, owned by a role that is no superuser."""

    postgres: EmbeddedPostgres
    valkey: EmbeddedValkey

    async def new_database(self, name: str) -> DatabaseUrls:
        return await self.postgres.ensure_owner_and_database(name, OWNER, APPLICATION)


@pytest.fixture(scope="session")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    """PostgreSQL 18 as embedded, or the one whose programs stand in TRUNKLINE_TEST_POSTGRES (make test-pg15)."""
    directory = tmp_path_factory.mktemp("servers")
    programs = os.environ.get("TRUNKLINE_TEST_POSTGRES")
    postgres = EmbeddedPostgres(directory / "postgres", durable=False, bin_dir=Path(programs) if programs else None)
    valkey = EmbeddedValkey(directory / "valkey", durable=False)
    async with postgres, valkey:
        yield Servers(postgres, valkey)


@pytest.fixture(scope="session")
async def urls(servers: Servers) -> DatabaseUrls:
    """A migrated database: the owner's address and the application's."""
    made = await servers.new_database("suite")
    await migrated(made)
    return made


async def migrated(urls: DatabaseUrls) -> None:
    """Migrate in a thread: Alembic starts a loop of its own."""
    await asyncio.to_thread(upgrade, urls.owner_url, APPLICATION)


@pytest.fixture(scope="session")
async def database(urls: DatabaseUrls) -> AsyncIterator[Database]:
    """As the application's role, as in production."""
    opened = await open_database(urls.app_url)
    yield opened
    await opened.close()


@pytest.fixture
async def owner(urls: DatabaseUrls) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """As the owner's role, to see effects across tenants."""
    connection = await asyncpg.connect(urls.owner_url)
    yield connection
    await connection.close()


@pytest.fixture(scope="session")
def redis_url(servers: Servers) -> str:
    return servers.valkey.url


@pytest.fixture
def make_tenant(database: Database) -> MakeTenant:
    """A tenant that is only a row."""

    async def make(timezone: str = "America/Los_Angeles") -> TenantId:
        tenant = TenantId(uuid7())
        async with database.unscoped() as connection:
            await connection.execute(
                text("INSERT INTO control.tenants (id, slug, name, timezone, plan) VALUES (:id, :slug, :slug, :timezone, 'standard')"),
                {"id": tenant, "slug": f"t-{uuid4().hex}", "timezone": timezone},
            )
        return tenant

    return make

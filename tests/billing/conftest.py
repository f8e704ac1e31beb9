import os
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import uuid4

import pytest
from sqlalchemy import text

from runtime.database import Database, open_database
from runtime.ids import TenantId, uuid7

MakeTenant = Callable[..., Awaitable[TenantId]]


@pytest.fixture(scope="session")
async def database() -> AsyncIterator[Database]:
    opened = await open_database(os.environ["TRUNKLINE_TEST_DATABASE_URL"])
    yield opened
    await opened.close()


@pytest.fixture
def make_tenant(database: Database) -> MakeTenant:
    async def make(timezone: str = "America/Los_Angeles") -> TenantId:
        tenant = TenantId(uuid7())
        async with database.unscoped() as connection:
            await connection.execute(
                text("INSERT INTO control.tenants (id, slug, name, timezone, plan) VALUES (:id, :slug, :slug, :timezone, 'standard')"),
                {"id": tenant, "slug": f"t-{uuid4().hex}", "timezone": timezone},
            )
        return tenant

    return make

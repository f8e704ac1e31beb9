"""Tenants with what they own, as the application's role makes them."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from runtime.crypto import Keyring, new_master_key
from runtime.database import Database
from runtime.ids import TenantId
from tenants import audit
from tests.conftest import MakeTenant

Trail = Callable[[TenantId], Awaitable[list[dict[str, Any]]]]


@pytest.fixture(scope="session")
def keyring() -> Keyring:
    return Keyring.parse(f"{new_master_key('new')},{new_master_key('old')}")


@pytest.fixture
async def tenant(make_tenant: MakeTenant) -> TenantId:
    return await make_tenant()


@pytest.fixture
async def other(make_tenant: MakeTenant) -> TenantId:
    return await make_tenant()


@pytest.fixture
def trail(database: Database) -> Trail:
    """The audit trail of a tenant, the newest first."""

    async def read(tenant: TenantId) -> list[dict[str, Any]]:
        async with database.unscoped() as connection:
            return await audit.entries(connection, tenant, None, 50)

    return read


async def slug_of(database: Database, tenant: UUID) -> str:
    async with database.unscoped() as connection:
        return str((await connection.execute(text("SELECT slug FROM control.tenants WHERE id = :id"), {"id": tenant})).scalar_one())

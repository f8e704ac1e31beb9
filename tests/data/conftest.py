"""Connections of each role to one migrated database of these tests' own."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.conftest import APPLICATION, Servers, migrated
from trunkline.dev.databases import DatabaseUrls


@pytest.fixture(scope="session")
async def scratch(servers: Servers) -> DatabaseUrls:
    """A database whose schema may be broken, inside a transaction that is undone."""
    made = await servers.new_database("scratch")
    await migrated(made)
    return made


@pytest.fixture(scope="session")
async def superuser(servers: Servers, scratch: DatabaseUrls) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    assert scratch
    connection = await asyncpg.connect(servers.postgres.superuser_url("scratch"))
    yield connection
    await connection.close()


@pytest.fixture
async def application(urls: DatabaseUrls) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """The application's role without the application: nothing but the database refuses. Each test's own: others end the role's backends."""
    connection = await asyncpg.connect(urls.app_url)
    assert await connection.fetchval("SELECT current_user") == APPLICATION
    yield connection
    await connection.close()


@pytest.fixture(scope="session")
async def owning(urls: DatabaseUrls) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """The owner's eyes, for the whole session."""
    connection = await asyncpg.connect(urls.owner_url)
    yield connection
    await connection.close()

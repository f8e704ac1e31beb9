"""The API in this process, over ASGI, with real servers behind it."""

from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import httpx
import pytest

from api.wiring import Wiring
from runtime.crypto import new_master_key
from runtime.settings import Settings
from sandbox.vapi import VapiSandbox
from tests.api.effects import Effects
from tests.api.people import ADMIN_KEY, PUBLIC, Person, Tenant, new_tenant
from tests.api.processes import Process, running
from tests.api.vapi_side import OPERATORS, Side, new_side
from trunkline.dev.databases import DatabaseUrls


@pytest.fixture(scope="session")
def settings(urls: DatabaseUrls, redis_url: str) -> Settings:
    return Settings(
        database_url=urls.app_url,
        redis_url=redis_url,
        public_base_url=PUBLIC,
        secret_keys=new_master_key("suite1"),
        admin_key=ADMIN_KEY,
        environment="test",
    )


@pytest.fixture(scope="session")
async def api(settings: Settings) -> AsyncIterator[Process]:
    async with running(settings) as started:
        yield started


@pytest.fixture(scope="session")
def http(api: Process) -> httpx.AsyncClient:
    return api.http


@pytest.fixture(scope="session")
def wiring(api: Process) -> Wiring:
    return api.wiring


@pytest.fixture(scope="session")
def admin(http: httpx.AsyncClient) -> Person:
    return Person(http, ADMIN_KEY)


@pytest.fixture(scope="session")
async def vapi_server() -> AsyncIterator[VapiSandbox]:
    async with VapiSandbox.running() as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
async def beside_vapi(settings: Settings, vapi_server: VapiSandbox) -> AsyncIterator[Process]:
    """A process that asks the sandbox Vapi, with a key of the operator's own."""
    async with running(replace(settings, vapi_base_url=vapi_server.url, vapi_api_key=OPERATORS)) as started:
        yield started


@pytest.fixture
async def side(beside_vapi: Process, vapi_server: VapiSandbox) -> AsyncIterator[Side]:
    """A tenant with a key at Vapi and an assistant there; new secrets are not waited for."""
    beside_vapi.wiring.configuring.setup.settle = 0.0
    vapi_server.path_faults.all.clear()
    vapi_server.path_faults.seen.clear()
    yield await new_side(beside_vapi.http, vapi_server)
    vapi_server.path_faults.all.clear()


@pytest.fixture
async def tenant(admin: Person) -> Tenant:
    return await new_tenant(admin)


@pytest.fixture
async def other(admin: Person) -> Tenant:
    return await new_tenant(admin)


@pytest.fixture
def effects(owner: "asyncpg.Connection[asyncpg.Record]") -> Effects:
    return Effects(owner)

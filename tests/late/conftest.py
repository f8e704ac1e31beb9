"""Tenants with calls, a sandbox Vapi that is asked about them, workers to order: everything real, over sockets."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from runtime.crypto import Keyring, new_master_key
from runtime.database import Database
from runtime.ids import TenantId, uuid7
from sandbox.vapi import VapiSandbox
from tenants.snapshot import TenantBook
from tenants.vapi_accounts import VapiKeys
from tests.late.lines import Line, MakeDuty, MakeLine, Owner
from webhooks.late_calls import LateCalls
from webhooks.late_reports import Rules
from webhooks.vapi_client import VapiClient

OPERATOR_KEY = "the operator's key at Vapi"


@pytest.fixture(scope="session")
def keyring() -> Keyring:
    return Keyring.parse(new_master_key("late1"))


@pytest.fixture(autouse=True)
async def nothing_due(owner: Owner) -> None:
    """What other tests left unreported, or not noted yet, is not asked about and not noted in this one, however long ago they ran."""
    await owner.execute("UPDATE calls SET reported_at = app.now() WHERE reported_at IS NULL")
    await owner.execute(
        "INSERT INTO control.call_watch (tenant_id, watched_until) SELECT id, 'ffffffff-ffff-7fff-bfff-ffffffffffff' FROM control.tenants"
        " ON CONFLICT (tenant_id) DO UPDATE SET watched_until = excluded.watched_until"
    )


@pytest.fixture
async def vapi() -> AsyncIterator[VapiSandbox]:
    async with VapiSandbox.running() as sandbox:
        yield sandbox


@pytest.fixture
def make_line(owner: Owner, database: Database, keyring: Keyring, vapi: VapiSandbox) -> MakeLine:
    async def make() -> Line:
        tenant, assistant = TenantId(uuid7()), str(uuid4())
        await owner.execute(
            "INSERT INTO control.tenants (id, slug, name, timezone, plan) VALUES ($1, $2, 'Line', 'UTC', 'standard')",
            tenant,
            f"line-{uuid4().hex[:12]}",
        )
        made = Line(owner, database, keyring, vapi, tenant, assistant)
        await made.registers(assistant)
        return made

    return make


@pytest.fixture
async def line(make_line: MakeLine) -> Line:
    return await make_line()


@pytest.fixture
async def neighbour(make_line: MakeLine) -> Line:
    return await make_line()


@pytest.fixture
async def make_duty(database: Database, keyring: Keyring, vapi: VapiSandbox) -> AsyncIterator[MakeDuty]:
    """The duty of workers of their own; without `operator_key` the operator has none."""
    async with VapiClient(vapi.url, total=1.0) as client:

        def make(operator_key: str = "", rules: Rules | None = None) -> LateCalls:
            return LateCalls(database, keyring, client, VapiKeys(database, keyring), TenantBook(database), operator_key, rules)

        yield make

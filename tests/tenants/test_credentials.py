"""Rows of credentials: one secret in two of them, changes at the same moment, and what cannot be opened any more."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.crypto import Keyring, new_master_key
from runtime.database import Database
from runtime.ids import TenantId
from runtime.refusals import Conflict
from tenants import assistants, credentials
from tenants.credentials import MOST_HEADERS
from tenants.signature_plans import BearerPlan, Plan, SignaturePlan
from tests.tenants.test_snapshot import read

ACTOR = "key:1"
GIVEN = "a-secret-that-the-user-has-at-vapi"
ENDLESS = "SELECT count(*) FROM webhook_credentials WHERE tenant_id = $1 AND valid_until = 'infinity'"
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"
Owner: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Change = Callable[[AsyncConnection, int], Awaitable[object]]


@pytest.mark.parametrize("first_to_end", ["the tenant's", "the assistant's"])
async def test_a_secret_in_two_rows_is_valid_as_long_as_the_longer_of_them(
    first_to_end: str, database: Database, keyring: Keyring, tenant: TenantId
) -> None:
    async with database.tenant_scope(tenant) as connection:
        made = await assistants.register(connection, keyring, tenant, "assistant-1", "Front desk", ACTOR, given=GIVEN)
        await credentials.add(connection, keyring, tenant, None, BearerPlan(), GIVEN)
        await credentials.retire(connection, tenant, None if first_to_end == "the tenant's" else made.row["id"], 60)
    assert (await read(database, tenant)).credentials == {keyring.digest(GIVEN): float("inf")}


@pytest.mark.parametrize("plan", [BearerPlan(), SignaturePlan()])
async def test_where_the_secret_cannot_be_opened_a_new_one_is_made_and_shown(
    plan: Plan, database: Database, keyring: Keyring, tenant: TenantId
) -> None:
    async with database.tenant_scope(tenant) as connection:
        lost = await credentials.put(connection, Keyring.parse(new_master_key("gone")), tenant, plan, None, 0, ACTOR)
        made = await credentials.put(connection, keyring, tenant, plan, None, 0, ACTOR)
        kept = await credentials.put(connection, keyring, tenant, plan, None, 0, ACTOR)
    assert made.secret
    assert made.secret != lost.secret
    assert kept.secret is None


async def overlapping(database: Database, tenant: TenantId, owner: Owner, change: Change) -> list[object]:
    """Two changes of a tenant: the second does what it can before the first commits. What each gives, or raises."""

    async def second() -> object:
        async with database.tenant_scope(tenant) as connection:
            return await change(connection, 1)

    async with database.tenant_scope(tenant) as connection:
        first = await change(connection, 0)
        task = asyncio.create_task(second())
        while not task.done() and not await owner.fetchval(WAITING):  # noqa: ASYNC110  the database tells nobody that a lock is waited for
            await asyncio.sleep(0.01)
    return [first, *await asyncio.gather(task, return_exceptions=True)]


async def test_of_rotations_at_the_same_moment_one_secret_has_no_end(
    database: Database, keyring: Keyring, tenant: TenantId, owner: Owner
) -> None:
    async with database.tenant_scope(tenant) as connection:
        await credentials.add(connection, keyring, tenant, None, BearerPlan())
    ended = await overlapping(database, tenant, owner, lambda connection, _: credentials.rotate(connection, keyring, tenant, 600, ACTOR))
    assert not [each for each in ended if isinstance(each, BaseException)]
    assert await owner.fetchval(ENDLESS, tenant) == 1


async def test_of_rotations_of_an_assistant_at_the_same_moment_one_secret_has_no_end(
    database: Database, keyring: Keyring, tenant: TenantId, owner: Owner
) -> None:
    async with database.tenant_scope(tenant) as connection:
        assistant = (await assistants.register(connection, keyring, tenant, "assistant-1", "Front desk", ACTOR)).row["id"]
    ended = await overlapping(
        database, tenant, owner, lambda connection, _: assistants.rotate_secret(connection, keyring, tenant, assistant, 600, ACTOR)
    )
    assert not [each for each in ended if isinstance(each, BaseException)]
    assert await owner.fetchval(ENDLESS, tenant) == 1


async def test_headers_of_ones_own_are_few_also_when_they_come_at_the_same_moment(
    database: Database, keyring: Keyring, tenant: TenantId, owner: Owner
) -> None:
    async with database.tenant_scope(tenant) as connection:
        for number in range(MOST_HEADERS - 1):
            await credentials.add(connection, keyring, tenant, None, BearerPlan(f"x-token-{number}"))
    ended = await overlapping(
        database,
        tenant,
        owner,
        lambda connection, number: credentials.add(connection, keyring, tenant, None, BearerPlan(f"x-new-{number}")),
    )
    assert [isinstance(each, Conflict) for each in ended] == [False, True]
    assert len((await read(database, tenant)).bearer_headers) == MOST_HEADERS

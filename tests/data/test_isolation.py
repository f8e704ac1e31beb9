"""A tenant reaches its own rows and no other, whatever the verb, the table and the mistake; effects are counted as the owner."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import asyncpg
import pytest

from tests.data.rows import TABLES, Ids, Row, digest, insert_of, row_of, seed

VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE", "upsert", "upsert nothing", "move")
REFUSED = {  # by what the scope is
    "unset": (asyncpg.InsufficientPrivilegeError, "no tenant scope"),
    "empty": (asyncpg.InsufficientPrivilegeError, "no tenant scope"),
    "malformed": (asyncpg.InvalidTextRepresentationError, "invalid input syntax for type uuid"),
}
# verbs the application has no use for, and so no right to
NOT_GRANTED = {("usage_events", verb) for verb in ("UPDATE", "DELETE", "upsert", "move")} | {("subscriptions", "DELETE")}
NOT_GRANTED |= {(table, verb) for table in ("webhook_bodies", "text_refusals") for verb in ("UPDATE", "upsert", "move")}
MATRIX = [(table, verb) for table in TABLES for verb in VERBS]


class Pair(NamedTuple):
    """Two tenants with a row in every table."""

    one: Ids
    two: Ids


@pytest.fixture(scope="module")
async def pair(owning: "asyncpg.Connection[asyncpg.Record]") -> Pair:
    """Tenants whose rows no test here may change."""
    return Pair(await seed(owning), await seed(owning))


async def attempt(application: "asyncpg.Connection[asyncpg.Record]", scope: object, statement: str, *values: object) -> str:
    """One statement in a transaction of its own, in a scope unless that is None; what the server says was done."""
    async with application.transaction():
        if scope is not None:
            await enter(application, scope)
        return str(await application.execute(statement, *values))


async def enter(application: "asyncpg.Connection[asyncpg.Record]", scope: object) -> None:
    await application.execute("SELECT set_config('app.tenant_id', $1, true)", str(scope))


def statement_of(table: str, verb: str, target: Ids, elsewhere: Ids, existing: Row) -> tuple[str, Sequence[object]]:
    """A statement about the target tenant's rows."""
    if verb == "INSERT":
        return insert_of(table, row_of(table, target))
    if verb.startswith("upsert"):
        keys = ", ".join(KEYS[table])
        then = "NOTHING" if verb == "upsert nothing" else "UPDATE SET tenant_id = excluded.tenant_id"
        row = {name: value for name, value in existing.items() if (table, name) != ("message_events", "id")}
        return insert_of(table, row, f"ON CONFLICT ({keys}) DO {then}")
    return {
        "SELECT": (f"SELECT tenant_id FROM {table} WHERE tenant_id = $1", [target.tenant]),
        "UPDATE": (f"UPDATE {table} SET tenant_id = tenant_id WHERE tenant_id = $1", [target.tenant]),
        "DELETE": (f"DELETE FROM {table} WHERE tenant_id = $1", [target.tenant]),
        "move": (f"UPDATE {table} SET tenant_id = $2 WHERE tenant_id = $1", [target.tenant, elsewhere.tenant]),
    }[verb]


KEYS: dict[str, tuple[str, ...]] = dict.fromkeys(TABLES, ("tenant_id", "id")) | {
    "processed_webhooks": ("tenant_id", "key"),
    "calls": ("tenant_id", "call_id"),
    "call_contents": ("tenant_id", "call_id"),
    "message_events": ("tenant_id", "message_id", "receipt"),
    "opt_outs": ("tenant_id", "recipient"),
    "usage_events": ("tenant_id", "meter", "source_id"),
    "webhook_bodies": ("tenant_id", "webhook_id", "kept_days", "kept_on"),
    "http_tools": ("tenant_id", "name"),
    "opening_hours": ("tenant_id", "name"),
    "quiet_hours": ("tenant_id", "name"),
    "text_policies": ("tenant_id", "name"),
    "vapi_accounts": ("tenant_id", "name"),
    "inbound_routes": ("tenant_id", "phone_number"),
    "transfer_directory": ("tenant_id", "name"),
    "answerers": ("tenant_id", "type"),
    "registration_holds": ("tenant_id", "registration_id"),
    "learned_rates": ("tenant_id", "registration_id"),
    "learned_concurrency": ("tenant_id", "account_sid"),
    "consent_settings": ("tenant_id", "name"),
    "sender_opt_outs": ("tenant_id", "recipient", "sender_id"),
    "call_activity": ("tenant_id", "call_id", "type"),
}


async def existing_row(owner: "asyncpg.Connection[asyncpg.Record]", table: str, tenant: UUID) -> Row:
    found = await owner.fetchrow(f"SELECT * FROM {table} WHERE tenant_id = $1", tenant)
    assert found is not None
    return dict(found)


def affected(tag: str) -> int:
    return int(tag.rsplit(" ", 1)[1])


async def all_digests(owner: "asyncpg.Connection[asyncpg.Record]", pair: Pair, table: str) -> list[tuple[int, str]]:
    return [await digest(owner, table, ids.tenant) for ids in pair]


@pytest.mark.parametrize("scope", ["unset", "empty", "malformed"])
@pytest.mark.parametrize(("table", "verb"), MATRIX)
async def test_without_a_scope_a_tenant_table_refuses(
    application: "asyncpg.Connection[asyncpg.Record]",
    owning: "asyncpg.Connection[asyncpg.Record]",
    pair: Pair,
    table: str,
    verb: str,
    scope: str,
) -> None:
    before = await all_digests(owning, pair, table)
    statement, values = statement_of(table, verb, pair.one, pair.two, await existing_row(owning, table, pair.one.tenant))
    kind, words = (asyncpg.InsufficientPrivilegeError, "permission denied") if (table, verb) in NOT_GRANTED else REFUSED[scope]
    with pytest.raises(kind, match=words):
        await attempt(application, {"unset": None, "empty": "", "malformed": "not a tenant"}[scope], statement, *values)
    assert await all_digests(owning, pair, table) == before


@pytest.mark.parametrize(("table", "verb"), MATRIX)
async def test_another_tenants_rows_are_out_of_reach(
    application: "asyncpg.Connection[asyncpg.Record]",
    owning: "asyncpg.Connection[asyncpg.Record]",
    pair: Pair,
    table: str,
    verb: str,
) -> None:
    before = await all_digests(owning, pair, table)
    statement, values = statement_of(table, verb, pair.one, pair.two, await existing_row(owning, table, pair.one.tenant))
    writes = verb == "INSERT" or verb.startswith("upsert")
    if writes or (table, verb) in NOT_GRANTED:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await attempt(application, pair.two.tenant, statement, *values)
    else:
        assert affected(await attempt(application, pair.two.tenant, statement, *values)) == 0
    async with application.transaction():
        await enter(application, pair.two.tenant)
        assert {row["tenant_id"] for row in await application.fetch(f"SELECT tenant_id FROM {table}")} == {pair.two.tenant}
    assert await all_digests(owning, pair, table) == before


@pytest.mark.parametrize(("table", "verb"), MATRIX)
async def test_its_own_rows_are_within_reach(
    application: "asyncpg.Connection[asyncpg.Record]",
    owning: "asyncpg.Connection[asyncpg.Record]",
    pair: Pair,
    table: str,
    verb: str,
) -> None:
    mine = await seed(owning)
    neighbour = await digest(owning, table, pair.two.tenant)
    statement, values = statement_of(table, verb, mine, pair.two, await existing_row(owning, table, mine.tenant))
    if (table, verb) == ("registrations", "DELETE"):  # its sender stands on it
        await owning.execute("DELETE FROM senders WHERE tenant_id = $1", mine.tenant)
    refused = verb == "move" or (table, verb) in NOT_GRANTED  # a row cannot be given away
    try:
        reached = affected(await attempt(application, mine.tenant, statement, *values))
    except asyncpg.InsufficientPrivilegeError:
        assert refused
    else:
        assert not refused
        assert reached == (0 if verb == "upsert nothing" else 1)
    rows = {"INSERT": 2, "DELETE": 0}.get(verb, 1) if not refused else 1
    assert (await digest(owning, table, mine.tenant))[0] == rows
    assert await digest(owning, table, pair.two.tenant) == neighbour


@pytest.mark.parametrize(
    ("child", "column", "parent"),
    [
        ("webhook_credentials", "assistant_id", "assistant"),
        ("signing_credentials", "assistant_id", "assistant"),
        ("senders", "registration_id", "registration"),
        ("message_events", "message_id", "message"),
    ],
)
async def test_a_row_cannot_hang_on_another_tenants(
    application: "asyncpg.Connection[asyncpg.Record]", pair: Pair, child: str, column: str, parent: str
) -> None:
    statement, values = insert_of(child, {**row_of(child, pair.two), column: getattr(pair.one, parent)})
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await attempt(application, pair.two.tenant, statement, *values)


async def test_two_tenants_may_have_equal_ids(
    application: "asyncpg.Connection[asyncpg.Record]", owning: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """A key that left the tenant out would tell one tenant what another has."""
    one, two = await seed(owning), await seed(owning)
    for table in TABLES:
        row = {**await existing_row(owning, table, one.tenant), "tenant_id": two.tenant, **parent_of(table, two)}
        if table == "message_events":
            del row["id"]  # the database numbers them
        statement, values = insert_of(table, row)
        await attempt(application, two.tenant, statement, *values)
        assert (await digest(owning, table, two.tenant))[0] == 2


def parent_of(table: str, ids: Ids) -> Row:
    """What a copied row must hang on instead."""
    parents: dict[str, Row] = {
        "webhook_credentials": {"assistant_id": ids.assistant},
        "signing_credentials": {"assistant_id": ids.assistant},
        "senders": {"registration_id": ids.registration},
        "message_events": {"message_id": ids.message},
    }
    return parents.get(table, {})


async def test_the_matrix_knows_every_tenant_table(owning: "asyncpg.Connection[asyncpg.Record]") -> None:
    found = await owning.fetch(  # a partition is reached through its parent only
        "SELECT c.relname AS table_name FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id'"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
    )
    assert {row["table_name"] for row in found} == set(TABLES)


async def test_the_application_may_not_truncate(application: "asyncpg.Connection[asyncpg.Record]", pair: Pair) -> None:
    for table in TABLES:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await attempt(application, pair.one.tenant, f"TRUNCATE {table} CASCADE")

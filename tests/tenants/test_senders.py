from dataclasses import replace
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from runtime.crypto import Keyring, SealBroken, new_master_key
from runtime.database import Database
from runtime.ids import TenantId
from runtime.refusals import Conflict, NotFound
from tenants import registry
from tenants.senders import SenderBook, SenderRequest, list_senders, put_sender
from tests.tenants.conftest import Trail

numbers = count()


def wanted(**given: Any) -> SenderRequest:
    """A sender of an account that nobody has."""
    number = next(numbers)
    values: dict[str, Any] = {
        "account_sid": f"AC{uuid4().hex}",
        "tier": "standard_75_100",
        "tier_source": "tenant",
        "from_number": f"+1907555{number:04d}",
        "auth_token": f"token {number}",
    }
    return SenderRequest(**(values | given))


async def put(database: Database, keyring: Keyring, tenant: TenantId, sender: SenderRequest, *, default: bool = False) -> UUID:
    async with database.tenant_scope(tenant) as connection:
        return await put_sender(connection, keyring, tenant, sender, "key:1", default=default)


async def listed(database: Database, tenant: TenantId) -> dict[UUID, dict[str, Any]]:
    async with database.tenant_scope(tenant) as connection:
        return {row["id"]: row for row in await list_senders(connection, tenant)}


async def test_senders_of_one_campaign_share_its_registration(database: Database, keyring: Keyring, tenant: TenantId) -> None:
    first = await put(database, keyring, tenant, wanted(campaign_sid="CM1", brand_sid="BN1"))
    second = await put(database, keyring, tenant, wanted(campaign_sid="CM1", brand_sid="BN1"))
    alone = await put(database, keyring, tenant, wanted())
    rows = await listed(database, tenant)
    assert rows[first]["registration_id"] == rows[second]["registration_id"] != rows[alone]["registration_id"]
    assert (rows[first]["campaign_sid"], rows[first]["brand_sid"]) == ("CM1", "BN1")
    assert rows[alone]["campaign_sid"] is None


async def test_the_same_campaign_of_two_tenants_is_two_registrations(
    database: Database, keyring: Keyring, tenant: TenantId, other: TenantId, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    for whose in (tenant, other):
        await put(database, keyring, whose, wanted(campaign_sid="CM2"))
    rows = await owner.fetch("SELECT id FROM registrations WHERE campaign_sid = 'CM2'")
    assert len({row["id"] for row in rows}) == 2


async def test_a_sender_of_another_tenant_is_refused(
    database: Database, keyring: Keyring, tenant: TenantId, other: TenantId, owner: "asyncpg.Connection[asyncpg.Record]", trail: Trail
) -> None:
    sender = wanted()
    await put(database, keyring, tenant, sender)
    with pytest.raises(Conflict, match="belongs to another tenant"):
        await put(database, keyring, other, sender)
    assert await listed(database, other) == {}
    assert await owner.fetchval("SELECT count(*) FROM registrations WHERE tenant_id = $1", other) == 0
    assert await trail(other) == []
    await put(database, keyring, other, replace(sender, account_sid="AC" + uuid4().hex))  # the number in another account is another sender


async def test_a_sender_put_again_is_the_same_one(database: Database, keyring: Keyring, tenant: TenantId) -> None:
    sender = wanted()
    first = await put(database, keyring, tenant, sender, default=True)
    registration = (await listed(database, tenant))[first]["registration_id"]
    again = await put(database, keyring, tenant, replace(sender, tier="short_code"), default=True)
    rows = await listed(database, tenant)
    assert again == first
    assert (len(rows), rows[first]["registration_id"], rows[first]["tier"]) == (1, registration, "short_code")


async def test_a_tenant_has_one_default_sender(database: Database, keyring: Keyring, tenant: TenantId) -> None:
    ids = [await put(database, keyring, tenant, wanted(), default=default) for default in (True, False, True)]
    rows = await listed(database, tenant)
    assert [rows[each]["is_default"] for each in ids] == [False, False, True]


async def test_credentials_are_opened_for_a_call(
    database: Database, keyring: Keyring, tenant: TenantId, owner: "asyncpg.Connection[asyncpg.Record]", trail: Trail
) -> None:
    with_token = wanted(auth_token="tok-one")
    with_key = wanted(auth_token=None, api_key_sid="SK1", api_key_secret="sec-two", from_number=None, messaging_service_sid="MG1")
    with_both = wanted(auth_token="tok-three", api_key_sid="SK3", api_key_secret="sec-three")
    book = SenderBook(database, keyring)
    ids = [await put(database, keyring, tenant, each) for each in (with_token, with_key, with_both)]
    found = [await book.credentials(tenant, each) for each in ids]
    assert [(each.username, each.password, each.auth_tokens) for each in found] == [
        (with_token.account_sid, "tok-one", ("tok-one",)),
        ("SK1", "sec-two", ()),
        ("SK3", "sec-three", ("tok-three",)),
    ]
    assert [(each.from_number, each.messaging_service_sid) for each in found[:2]] == [(with_token.from_number, None), (None, "MG1")]
    stored = str(await owner.fetch("SELECT s::text FROM senders AS s WHERE tenant_id = $1", tenant))
    written = stored + str(await trail(tenant)) + repr(found) + repr(with_both)
    assert [secret for secret in ("tok-one", "sec-two", "tok-three", "sec-three") if secret in written] == []


async def test_a_secret_copied_into_another_row_does_not_open(
    database: Database, keyring: Keyring, tenant: TenantId, other: TenantId, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    mine, theirs = await put(database, keyring, tenant, wanted()), await put(database, keyring, other, wanted())
    copied = await owner.fetchval("SELECT auth_token_sealed FROM senders WHERE tenant_id = $1 AND id = $2", tenant, mine)
    await owner.execute("UPDATE senders SET auth_token_sealed = $3 WHERE tenant_id = $1 AND id = $2", other, theirs, copied)
    with pytest.raises(SealBroken):
        await SenderBook(database, keyring).credentials(other, theirs)
    both = "UPDATE senders SET api_key_sid = 'SK', api_key_secret_sealed = auth_token_sealed WHERE tenant_id = $1 AND id = $2"
    await owner.execute(both, tenant, mine)  # the same tenant, another column
    with pytest.raises(SealBroken):
        await SenderBook(database, keyring).credentials(tenant, mine)


async def test_the_previous_token_still_signs_callbacks(database: Database, keyring: Keyring, tenant: TenantId) -> None:
    """Twilio signs with the old token until the new one is promoted."""
    sender = wanted(auth_token="old")
    sender_id = await put(database, keyring, tenant, sender)
    await put(database, keyring, tenant, replace(sender, auth_token="new"))
    found = await SenderBook(database, keyring).credentials(tenant, sender_id)
    assert (found.auth_tokens, found.password) == (("new", "old"), "new")


async def test_credentials_sealed_by_an_older_key_open_and_by_a_lost_one_do_not(database: Database, tenant: TenantId) -> None:
    old, new = new_master_key("old"), new_master_key("new")
    sender_id = await put(database, Keyring.parse(old), tenant, wanted(auth_token="kept"))
    found = await SenderBook(database, Keyring.parse(f"{new},{old}")).credentials(tenant, sender_id)
    assert found.password == "kept"
    with pytest.raises(SealBroken):
        await SenderBook(database, Keyring.parse(new)).credentials(tenant, sender_id)


async def test_a_sender_is_nobody_elses(database: Database, keyring: Keyring, tenant: TenantId, other: TenantId) -> None:
    mine = await put(database, keyring, tenant, wanted())
    with pytest.raises(NotFound):
        await SenderBook(database, keyring).credentials(other, mine)


@pytest.mark.parametrize(
    ("tier", "most", "granted"),
    [
        ("short_code", "sole_proprietor", ("sole_proprietor", "capped")),
        ("sole_proprietor", "short_code", ("sole_proprietor", "tenant")),
        ("short_code", "short_code", ("short_code", "tenant")),
        ("short_code", None, ("short_code", "tenant")),
        ("unregistered", "short_code", ("unregistered", "tenant")),
    ],
)
async def test_the_operator_caps_a_claim(
    tier: str, most: str | None, granted: tuple[str, str], database: Database, keyring: Keyring, tenant: TenantId
) -> None:
    async with database.unscoped() as connection:
        await registry.change_tenant(connection, tenant, "admin", max_tier=most)
    await put(database, keyring, tenant, wanted(tier=tier))
    async with database.tenant_scope(tenant) as connection:
        (row,) = await list_senders(connection, tenant)
    assert (row["tier"], row["tier_source"]) == granted


async def test_the_change_is_in_the_audit_trail(database: Database, keyring: Keyring, tenant: TenantId, trail: Trail) -> None:
    sender_id = await put(database, keyring, tenant, wanted())
    (entry,) = await trail(tenant)
    assert (entry["action"], entry["target"], entry["actor"]) == ("sender.put", str(sender_id), "key:1")
    assert entry["detail"] == {"tier": "standard_75_100", "tier_source": "tenant"}

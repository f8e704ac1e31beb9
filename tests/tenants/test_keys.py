import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from runtime import clock
from runtime.crypto import Keyring, new_master_key
from runtime.database import Database
from runtime.ids import TenantId
from runtime.refusals import NotFound
from tenants.keys import KeyBook, NewKey, checksum, create_key, list_keys, plausible, revoke_key
from tests.tenants.conftest import Trail


async def made(database: Database, keyring: Keyring, tenant: TenantId, *scopes: str) -> NewKey:
    async with database.unscoped() as connection:
        return await create_key(connection, keyring, tenant, "a key", scopes or ("read", "write"), "admin")


async def test_a_key_stands_for_its_tenant(database: Database, keyring: Keyring, tenant: TenantId, other: TenantId) -> None:
    book = KeyBook(database, keyring)
    for whose, scopes in ((tenant, ("read",)), (other, ("read", "write"))):
        key = await made(database, keyring, whose, *scopes)
        holder = await book.holder(key.key)
        assert holder is not None
        assert (holder.tenant, holder.key_id, holder.scopes) == (whose, key.id, frozenset(scopes))


async def test_only_a_keyed_hash_is_kept(database: Database, keyring: Keyring, tenant: TenantId, trail: Trail) -> None:
    key = await made(database, keyring, tenant)
    async with database.unscoped() as connection:
        row = (await connection.execute(text("SELECT t::text FROM control.api_keys AS t WHERE id = :id"), {"id": key.id})).scalar_one()
        shown = await list_keys(connection, tenant)
    (entry,) = await trail(tenant)
    body = key.key.removeprefix("trk_")
    for public in (row, repr(shown), repr(entry)):
        assert body[4:-4] not in public
    assert key.key.encode().hex() not in row
    assert shown[0]["hint"] == f"{key.key[:8]}…{key.key[-4:]}"
    assert "key_hash" not in shown[0]
    assert (entry["action"], entry["target"], entry["actor"]) == ("key.created", str(key.id), "admin")


async def test_a_revoked_key_ends_within_two_seconds(
    database: Database, keyring: Keyring, tenant: TenantId, trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, elsewhere = await made(database, keyring, tenant), KeyBook(database, keyring)
    at = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: at)
    assert await elsewhere.holder(key.key) is not None
    async with database.unscoped() as connection:
        await revoke_key(connection, tenant, key.id, "admin")
    monkeypatch.setattr(clock, "monotonic", lambda: at + 2.0)
    assert await elsewhere.holder(key.key) is None
    assert await KeyBook(database, keyring).holder(key.key) is None
    assert [entry["action"] for entry in await trail(tenant)] == ["key.revoked", "key.created"]


async def test_a_key_ends_once_and_by_its_own_tenant(database: Database, keyring: Keyring, tenant: TenantId, other: TenantId) -> None:
    key = await made(database, keyring, tenant)
    async with database.unscoped() as connection:
        with pytest.raises(NotFound):
            await revoke_key(connection, other, key.id, "admin")
        await revoke_key(connection, tenant, key.id, "admin")
        with pytest.raises(NotFound):
            await revoke_key(connection, tenant, key.id, "admin")
        assert await list_keys(connection, other) == []


async def test_keys_outlive_a_rotation_of_the_master_key(database: Database, tenant: TenantId) -> None:
    old, new = new_master_key("old"), new_master_key("new")
    key = await made(database, Keyring.parse(old), tenant)
    assert await KeyBook(database, Keyring.parse(f"{new},{old}")).holder(key.key) is not None
    assert await KeyBook(database, Keyring.parse(new)).holder(key.key) is None


async def test_what_cannot_be_a_key_costs_no_query(keyring: Keyring) -> None:
    """No database is there to ask."""
    book = KeyBook(None, keyring)  # type: ignore[arg-type]  # on purpose
    for text_ in ("", "trk_", "trk_x.00000000", "Bearer x", "trk_ü." + checksum("trk_ü"), "sk_live." + checksum("sk_live")):
        assert await book.holder(text_) is None


@given(
    st.text(string.ascii_letters + string.digits + "_-", min_size=40, max_size=40),
    st.integers(0, 39),
    st.sampled_from(string.ascii_letters),
)
def test_a_typing_error_is_found_without_a_query(body: str, place: int, typed: str) -> None:
    key = f"trk_{body}.{checksum('trk_' + body)}"
    assert plausible(key)
    wrong = key[: 4 + place] + typed + key[5 + place :]
    assert plausible(wrong) == (wrong == key)
    assert not plausible(key[:-1])
    assert not plausible(key + "0")


@given(st.text())
def test_no_text_makes_it_fail(key: str) -> None:
    assert plausible(key) in (True, False)

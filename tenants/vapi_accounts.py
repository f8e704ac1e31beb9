"""A tenant's own account at Vapi: the key that asks there in its name. It is sealed, and never shown again."""

from typing import Any

from sqlalchemy import delete, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.crypto import Keyring
from runtime.database import Database
from runtime.fresh import FreshCache
from runtime.ids import TenantId
from runtime.refusals import NotFound
from tenants import audit
from tenants.tables import vapi_accounts

NAME = "default"  # a tenant has one account today
COLUMN = "vapi_accounts.api_key"
HINT_CHARACTERS = 4
accounts = vapi_accounts.c


async def put_account(connection: AsyncConnection, keyring: Keyring, tenant: TenantId, api_key: str, actor: str) -> dict[str, Any]:
    """Set or renew the key; gives `hint` and `updated_at`."""
    values = {"api_key_sealed": keyring.seal(api_key, tenant, COLUMN), "hint": api_key[-HINT_CHARACTERS:]}
    await connection.execute(
        insert(vapi_accounts)
        .values(tenant_id=tenant, name=NAME, **values)
        .on_conflict_do_update(index_elements=["tenant_id", "name"], set_={**values, "updated_at": text("app.now()")})
    )
    await audit.record(connection, actor, "vapi.put", tenant, NAME)
    return await account_row(connection, tenant)


async def account_row(connection: AsyncConnection, tenant: TenantId) -> dict[str, Any]:
    """`hint` and `updated_at`, without the key.

    Raises:
        NotFound: the tenant has set none.
    """
    query = select(accounts.hint, accounts.updated_at).where(accounts.tenant_id == tenant, accounts.name == NAME)
    found = (await connection.execute(query)).mappings().one_or_none()
    if found is None:
        raise NotFound("Vapi account")
    return dict(found)


async def own_key(connection: AsyncConnection, keyring: Keyring, tenant: TenantId) -> str | None:
    """The key itself, as it is now, or None.

    Raises:
        SealBroken: it was sealed with a key that is no longer configured.
    """
    query = select(accounts.api_key_sealed).where(accounts.tenant_id == tenant, accounts.name == NAME)
    found = (await connection.execute(query)).scalar_one_or_none()
    return None if found is None else keyring.open(found, tenant, COLUMN)


async def remove(connection: AsyncConnection, tenant: TenantId, actor: str) -> None:
    """Forget the key.

    Raises:
        NotFound: the tenant has set none.
    """
    await account_row(connection, tenant)
    await connection.execute(delete(vapi_accounts).where(accounts.tenant_id == tenant, accounts.name == NAME))
    await audit.record(connection, actor, "vapi.removed", tenant, NAME)


class VapiKeys:
    """Tenants' own keys, opened, at most two seconds old; they never leave the process but to Vapi."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring
        self._keys: FreshCache[TenantId, str | None] = FreshCache(self._load)

    async def key(self, tenant: TenantId) -> str | None:
        """The tenant's own key, or None.

        Raises:
            SealBroken: it was sealed with a key that is no longer configured.
        """
        return await self._keys.get(tenant)

    async def _load(self, tenant: TenantId) -> str | None:
        async with self._database.tenant_scope(tenant) as connection:
            return await own_key(connection, self._keyring, tenant)

"""API keys: shown once, stored as keyed hashes, checked for typing errors without a query."""

import hmac
import secrets
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.crypto import Keyring
from runtime.database import Database
from runtime.fresh import FreshCache
from runtime.ids import TenantId, uuid7
from runtime.refusals import NotFound
from tenants import audit
from tenants.tables import api_keys

PREFIX = "trk_"
SCOPES = ("read", "write")
RANDOM_BYTES = 30


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key at its only showing."""

    id: UUID
    key: str
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """Whom a key stands for."""

    key_id: UUID
    tenant: TenantId
    scopes: frozenset[str]


def checksum(body: str) -> str:
    """Eight hex digits that catch a typing error; they prove nothing."""
    return f"{zlib.crc32(body.encode()):08x}"


def plausible(key: str) -> bool:
    """Whether a text can be a key at all: refuses scanners without a query."""
    body, _, tail = key.rpartition(".")
    return body.startswith(PREFIX) and key.isascii() and hmac.compare_digest(tail, checksum(body))


async def create_key(
    connection: AsyncConnection, keyring: Keyring, tenant: TenantId, name: str, scopes: Sequence[str], actor: str
) -> NewKey:
    """Make a key for a tenant; the caller shows it, nobody can read it again."""
    body = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    key = f"{body}.{checksum(body)}"
    made = NewKey(uuid7(), key, tuple(scopes))
    await connection.execute(
        insert(api_keys).values(
            id=made.id, tenant_id=tenant, name=name, key_hash=keyring.digest(key), hint=key[:8] + "…" + key[-4:], scopes=list(scopes)
        ),
    )
    await audit.record(connection, actor, "key.created", tenant, str(made.id), name=name, scopes=list(scopes))
    return made


async def list_keys(connection: AsyncConnection, tenant: TenantId) -> list[dict[str, Any]]:
    """A tenant's keys without what they are."""
    columns = (api_keys.c.id, api_keys.c.name, api_keys.c.hint, api_keys.c.scopes, api_keys.c.created_at, api_keys.c.revoked_at)
    found = await connection.execute(select(*columns).where(api_keys.c.tenant_id == tenant).order_by(api_keys.c.id))
    return [dict(row) for row in found.mappings()]


async def revoke_key(connection: AsyncConnection, tenant: TenantId, key_id: UUID, actor: str) -> None:
    """End a key; every process follows within two seconds.

    Raises:
        NotFound: the tenant has no such key, or it ended before.
    """
    ended = await connection.execute(
        update(api_keys)
        .where(api_keys.c.tenant_id == tenant, api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
        .values(revoked_at=text("app.now()")),
    )
    if ended.rowcount == 0:
        raise NotFound("key")
    await audit.record(connection, actor, "key.revoked", tenant, str(key_id))


class KeyBook:
    """Key holders by key, at most two seconds old."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring
        self._holders: FreshCache[tuple[bytes, ...], KeyHolder | None] = FreshCache(self._load)

    async def holder(self, key: str) -> KeyHolder | None:
        """Whom this key stands for, or None."""
        return await self._holders.get(tuple(self._keyring.digests(key))) if plausible(key) else None

    async def _load(self, digests: tuple[bytes, ...]) -> KeyHolder | None:
        query = select(api_keys.c.id, api_keys.c.tenant_id, api_keys.c.scopes).where(
            api_keys.c.key_hash.in_(digests), api_keys.c.revoked_at.is_(None)
        )
        async with self._database.unscoped() as connection:  # unscoped: a key is looked up before its tenant is known
            found = (await connection.execute(query)).one_or_none()
        return KeyHolder(found.id, TenantId(found.tenant_id), frozenset(found.scopes)) if found else None

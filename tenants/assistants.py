"""Assistants and the credentials that Vapi presents for them."""

import secrets
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.crypto import Keyring
from runtime.ids import TenantId, uuid7
from runtime.refusals import Conflict, NotFound
from tenants import audit
from tenants.tables import assistant_routes, assistants, webhook_credentials

SECRET_PREFIX, SECRET_BYTES = "whs_", 32
COLUMN = "webhook_credentials.secret"

# the newest secret has no end yet: rotation gives it one, and leaves the ends of older ones
RETIRE = text("""
UPDATE webhook_credentials SET valid_until = least(valid_until, app.now() + make_interval(secs => :grace))
WHERE tenant_id = :tenant AND assistant_id = :assistant
""")


@dataclass(frozen=True, slots=True)
class Registered:
    """An assistant with its secret, at the only time it is shown."""

    row: dict[str, Any]
    secret: str


async def register(
    connection: AsyncConnection, keyring: Keyring, tenant: TenantId, vapi_assistant_id: str, name: str, actor: str
) -> Registered:
    """Register a Vapi assistant for a tenant and make its webhook secret.

    Raises:
        Conflict: the tenant registered it before.
    """
    assistant = uuid7()
    try:
        await connection.execute(insert(assistants).values(tenant_id=tenant, id=assistant, vapi_assistant_id=vapi_assistant_id, name=name))
    except IntegrityError as error:
        raise Conflict("This assistant is registered already; rotate its secret if it is lost.") from error
    await connection.execute(insert(assistant_routes).values(vapi_assistant_id=vapi_assistant_id, tenant_id=tenant))
    secret = await new_secret(connection, keyring, tenant, assistant)
    await audit.record(connection, actor, "assistant.registered", tenant, str(assistant), vapi_assistant_id=vapi_assistant_id)
    return Registered(await assistant_row(connection, tenant, assistant), secret)


async def new_secret(connection: AsyncConnection, keyring: Keyring, tenant: TenantId, assistant: UUID) -> str:
    """Make and store a secret for an assistant."""
    secret = SECRET_PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    await connection.execute(
        insert(webhook_credentials).values(
            tenant_id=tenant,
            id=uuid7(),
            assistant_id=assistant,
            mode="bearer",
            secret_hash=keyring.digest(secret),
            secret_sealed=keyring.seal(secret, tenant, COLUMN),
        ),
    )
    return secret


async def rotate_secret(
    connection: AsyncConnection, keyring: Keyring, tenant: TenantId, assistant: UUID, grace_seconds: int, actor: str
) -> Registered:
    """Make a new secret; the ones before it end after the grace.

    Raises:
        NotFound: the tenant has no such assistant.
    """
    row = await assistant_row(connection, tenant, assistant)
    await connection.execute(RETIRE, {"tenant": tenant, "assistant": assistant, "grace": grace_seconds})
    secret = await new_secret(connection, keyring, tenant, assistant)
    await audit.record(connection, actor, "assistant.secret_rotated", tenant, str(assistant), grace_seconds=grace_seconds)
    return Registered(row, secret)


async def assistant_row(connection: AsyncConnection, tenant: TenantId, assistant: UUID) -> dict[str, Any]:
    """One assistant.

    Raises:
        NotFound: the tenant has no such assistant.
    """
    query = select(assistants).where(assistants.c.tenant_id == tenant, assistants.c.id == assistant)
    found = (await connection.execute(query)).mappings().one_or_none()
    if found is None:
        raise NotFound("assistant")
    return dict(found)


async def list_assistants(connection: AsyncConnection, tenant: TenantId, before: UUID | None, limit: int) -> list[dict[str, Any]]:
    """A tenant's assistants, the newest first."""
    query = select(assistants).where(assistants.c.tenant_id == tenant).order_by(assistants.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(assistants.c.id < before)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def rename(connection: AsyncConnection, tenant: TenantId, assistant: UUID, name: str, actor: str) -> dict[str, Any]:
    """Change an assistant's name.

    Raises:
        NotFound: the tenant has no such assistant.
    """
    await connection.execute(
        update(assistants)
        .where(assistants.c.tenant_id == tenant, assistants.c.id == assistant)
        .values(name=name, updated_at=text("app.now()")),
    )
    row = await assistant_row(connection, tenant, assistant)
    await audit.record(connection, actor, "assistant.changed", tenant, str(assistant))
    return row


async def remove(connection: AsyncConnection, tenant: TenantId, assistant: UUID, actor: str) -> None:
    """Forget an assistant and its secrets; its webhooks are refused from then on.

    Raises:
        NotFound: the tenant has no such assistant.
    """
    row = await assistant_row(connection, tenant, assistant)
    await connection.execute(delete(assistants).where(assistants.c.tenant_id == tenant, assistants.c.id == assistant))
    await connection.execute(
        delete(assistant_routes).where(
            assistant_routes.c.tenant_id == tenant, assistant_routes.c.vapi_assistant_id == row["vapi_assistant_id"]
        ),
    )
    await audit.record(connection, actor, "assistant.removed", tenant, str(assistant), vapi_assistant_id=row["vapi_assistant_id"])


async def owners_of(connection: AsyncConnection, vapi_assistant_id: str) -> frozenset[UUID]:
    """Which tenants registered an assistant; reads the schema control only."""
    query = select(assistant_routes.c.tenant_id).where(assistant_routes.c.vapi_assistant_id == vapi_assistant_id)
    return frozenset((await connection.execute(query)).scalars())

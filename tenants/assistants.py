"""Assistants and the credentials that Vapi presents for them."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.crypto import Keyring
from runtime.ids import TenantId, uuid7
from runtime.refusals import Conflict, NotFound
from tenants import audit, credentials
from tenants.bounds import Kind, take_turn
from tenants.signature_plans import BearerPlan, Plan, mode_of
from tenants.tables import assistant_routes, assistants

BEARER = BearerPlan()


@dataclass(frozen=True, slots=True)
class Registered:
    """An assistant with its secret, at the only time it is shown."""

    row: dict[str, Any]
    secret: str = field(repr=False)


async def register(
    connection: AsyncConnection,
    keyring: Keyring,
    tenant: TenantId,
    vapi_assistant_id: str,
    name: str,
    actor: str,
    plan: Plan = BEARER,
    given: str | None = None,
) -> Registered:
    """Register a Vapi assistant for a tenant and make its webhook secret, unless one is given.

    Raises:
        Conflict: the tenant registered it before. Invalid: the plan cannot work, or the given secret is none.
    """
    assistant = uuid7()
    try:
        await connection.execute(insert(assistants).values(tenant_id=tenant, id=assistant, vapi_assistant_id=vapi_assistant_id, name=name))
    except IntegrityError as error:
        raise Conflict("This assistant is registered already; rotate its secret if it is lost.") from error
    await connection.execute(insert(assistant_routes).values(vapi_assistant_id=vapi_assistant_id, tenant_id=tenant))
    secret = await credentials.add(connection, keyring, tenant, assistant, plan, given)
    await audit.record(
        connection, actor, "assistant.registered", tenant, str(assistant), vapi_assistant_id=vapi_assistant_id, mode=mode_of(plan)
    )
    return Registered(await assistant_row(connection, tenant, assistant), secret)


async def rotate_secret(
    connection: AsyncConnection,
    keyring: Keyring,
    tenant: TenantId,
    assistant: UUID,
    grace_seconds: int,
    actor: str,
    plan: Plan | None = None,
    given: str | None = None,
) -> Registered:
    """Make a new secret, under the plan it has unless another is given; the ones before it end after the grace.

    Raises:
        NotFound: the tenant has no such assistant. Invalid: the plan cannot work, or the given secret is none.
    """
    await take_turn(connection, tenant, Kind.CREDENTIALS)
    row = await assistant_row(connection, tenant, assistant)
    plan = plan or row["plan"]
    await credentials.retire(connection, tenant, assistant, grace_seconds)
    secret = await credentials.add(connection, keyring, tenant, assistant, plan, given)
    await audit.record(
        connection, actor, "assistant.secret_rotated", tenant, str(assistant), grace_seconds=grace_seconds, mode=mode_of(plan)
    )
    return Registered({**row, "plan": plan}, secret)


async def assistant_row(connection: AsyncConnection, tenant: TenantId, assistant: UUID) -> dict[str, Any]:
    """One assistant, with the plan of its newest credential.

    Raises:
        NotFound: the tenant has no such assistant.
    """
    query = select(assistants).where(assistants.c.tenant_id == tenant, assistants.c.id == assistant)
    found = (await connection.execute(query)).mappings().one_or_none()
    if found is None:
        raise NotFound("assistant")
    credential = await credentials.current(connection, tenant, assistant)
    return {**found, "plan": credential.plan if credential else BEARER}


async def list_assistants(connection: AsyncConnection, tenant: TenantId, before: UUID | None, limit: int) -> list[dict[str, Any]]:
    """A tenant's assistants with the plans of their newest credentials, the newest first."""
    query = select(assistants).where(assistants.c.tenant_id == tenant).order_by(assistants.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(assistants.c.id < before)
    rows = (await connection.execute(query)).mappings().all()
    found = await credentials.current_of(connection, tenant, [row["id"] for row in rows])
    return [{**row, "plan": found[row["id"]].plan if row["id"] in found else BEARER} for row in rows]


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

"""Tenants: made, found, changed, suspended and resumed by the operator."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.ids import TenantId, uuid7
from runtime.refusals import Conflict, Invalid, NotFound
from tenants import audit
from tenants.slugs import is_slug
from tenants.tables import tenants
from tenants.tiers import Tier

NAME_LENGTHS = range(1, 201)
SUSPENDED = "suspended"
HOST_ZONES = {"localtime", "posixrules", "Factory"}  # they mean another zone on another machine, or none

HOLD = text("""
UPDATE control.schedule SET hold_reason = :reason WHERE (tenant_id, registration_id) IN (
  SELECT tenant_id, registration_id FROM control.schedule WHERE tenant_id = :tenant AND hold_reason IS NULL
  ORDER BY tenant_id, registration_id FOR UPDATE)
""")
RELEASE = text("""
UPDATE control.schedule SET hold_reason = NULL, next_at = app.now() WHERE (tenant_id, registration_id) IN (
  SELECT tenant_id, registration_id FROM control.schedule WHERE tenant_id = :tenant AND hold_reason = :reason
  ORDER BY tenant_id, registration_id FOR UPDATE)
""")


def checked(field: str, value: str) -> str:
    """A field of a tenant, or a refusal that says what is wrong with it.

    Raises:
        Invalid: with the field's pointer.
    """
    fault = {"slug": slug_fault, "name": name_fault, "timezone": timezone_fault}[field](value)
    if fault:
        raise Invalid.at(f"/{field}", fault)
    return value


def slug_fault(value: str) -> str | None:
    """What is wrong with a slug."""
    if is_slug(value):
        return None
    return "A slug is 2 to 63 lower-case letters, digits and single hyphens, such as smile-dental."


def name_fault(value: str) -> str | None:
    """What is wrong with a name."""
    return None if len(value) in NAME_LENGTHS and value.isprintable() else "A name has 1 to 200 printable characters."


def timezone_fault(value: str) -> str | None:
    """What is wrong with a time zone."""
    if value in available_timezones() - HOST_ZONES:
        ZoneInfo(value)
        return None
    return "Use a name of the IANA time zone database, such as America/Los_Angeles."


def checked_tier(field: str, value: str, tiers: Mapping[str, Tier]) -> str:
    """The name of a tier that an SMS sender can have.

    Raises:
        Invalid: with the field's pointer.
    """
    if value not in tiers:
        raise Invalid.at(f"/{field}", f"There is no SMS tier {value!r}; there are: {', '.join(tiers)}.")
    return value


async def create_tenant(
    connection: AsyncConnection, slug: str, name: str, timezone: str, plan: str, tier: str | None, actor: str
) -> TenantId:
    """Make a tenant.

    Raises:
        Conflict: the slug is or was somebody's.
    """
    tenant = TenantId(uuid7())
    values = {"id": tenant, "slug": slug, "name": name, "timezone": timezone, "plan": plan, "tier": tier, "status": "active"}
    try:
        await connection.execute(insert(tenants).values(values))
    except IntegrityError as error:
        raise Conflict(f"The slug {slug} is taken; slugs are never reused.") from error
    await audit.record(connection, actor, "tenant.created", tenant, slug, plan=plan)
    return tenant


async def tenant_row(connection: AsyncConnection, tenant: UUID) -> dict[str, Any]:
    """One tenant.

    Raises:
        NotFound: there is none, or it was closed.
    """
    found = (await connection.execute(select(tenants).where(tenants.c.id == tenant))).mappings().one_or_none()
    if found is None:
        raise NotFound("tenant")
    return dict(found)


async def tenant_id_of(connection: AsyncConnection, slug: str) -> TenantId:
    """The tenant with this slug.

    Raises:
        NotFound: there is none.
    """
    found = (await connection.execute(select(tenants.c.id).where(tenants.c.slug == slug))).scalar()
    if found is None:
        raise NotFound("tenant")
    return TenantId(found)


async def list_tenants(connection: AsyncConnection, status: str | None, before: UUID | None, limit: int) -> list[dict[str, Any]]:
    """Tenants, the newest first."""
    query = select(tenants).order_by(tenants.c.id.desc()).limit(limit)
    if status is not None:
        query = query.where(tenants.c.status == status)
    if before is not None:
        query = query.where(tenants.c.id < before)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def change_tenant(connection: AsyncConnection, tenant: UUID, actor: str, **changes: str | None) -> None:
    """Change name, timezone, plan, tier or max_tier.

    Raises:
        NotFound: there is no such tenant.
    """
    changed = await connection.execute(update(tenants).where(tenants.c.id == tenant).values(**changes, updated_at=text("app.now()")))
    if changed.rowcount == 0:
        raise NotFound("tenant")
    await audit.record(connection, actor, "tenant.changed", tenant, None, **changes)


async def suspend(connection: AsyncConnection, tenant: UUID, reason: str, actor: str) -> None:
    """Stop serving: tools answer with an error, texts wait.

    Raises:
        NotFound: there is no such tenant.
    """
    await set_status(connection, tenant, SUSPENDED, reason)
    await connection.execute(HOLD, {"tenant": tenant, "reason": SUSPENDED})
    await audit.record(connection, actor, "tenant.suspended", tenant, None, reason=reason)


async def resume(connection: AsyncConnection, tenant: UUID, actor: str) -> None:
    """Serve again; what waited leaves.

    Raises:
        NotFound: there is no such tenant.
    """
    await set_status(connection, tenant, "active", None)
    await connection.execute(RELEASE, {"tenant": tenant, "reason": SUSPENDED})
    await audit.record(connection, actor, "tenant.resumed", tenant)


async def set_status(connection: AsyncConnection, tenant: UUID, status: str, reason: str | None) -> None:
    """Write the status of a tenant that is not closed."""
    changed = await connection.execute(
        update(tenants)
        .where(tenants.c.id == tenant, tenants.c.status != "closed")
        .values(status=status, status_reason=reason, updated_at=text("app.now()")),
    )
    if changed.rowcount == 0:
        raise NotFound("tenant")

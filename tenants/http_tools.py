"""Tools of the tenant's own: HTTP endpoints that the model may call, each with a secret that signs what we send."""

import re
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.addresses import AllowedHosts
from runtime.crypto import Keyring
from runtime.ids import TenantId
from runtime.refusals import Invalid, NotFound
from tenants import audit, bounds
from tenants.endpoints import PutEndpoint, check_endpoint, put_endpoint, rotate_endpoint, sealed_for, shown
from tenants.tables import http_tools

COLUMN = sealed_for(http_tools)
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
RESERVED = frozenset({"send_sms", "cancel_sms", "current_time", "resolve_date", "opening_hours", "opt_out"})
LARGEST_SCHEMA = 16_384  # bytes
MOST_TOOLS = 100  # every snapshot of the tenant carries them
SHOWN = shown(http_tools)


@dataclass(frozen=True, slots=True)
class ToolDefinition:
    """A tool as its tenant defines it; `timeout_ms` is of one attempt, a null `secret` keeps the one it has or makes one."""

    name: str
    url: str
    method: str
    timeout_ms: int
    description: str
    repeatable: bool
    business_arguments: tuple[str, ...]
    business_seconds: int
    secret: str | None = field(default=None, repr=False)
    parameters: dict[str, Any] | None = None  # the JSON schema of its arguments


def check(wanted: ToolDefinition, allowed: AllowedHosts) -> None:
    """Refuse what cannot work.

    Raises:
        Invalid: the name is none or one of ours, the URL may not be called, or the secret is not of Standard Webhooks' form.
    """
    if not NAME.fullmatch(wanted.name):
        raise Invalid.at("/name", "A tool's name has 1 to 64 letters, digits, underscores and hyphens.")
    if wanted.name in RESERVED:
        raise Invalid.at("/name", f"{wanted.name} is a tool of this service; choose another name.")
    check_endpoint(wanted.url, wanted.secret, allowed)
    if wanted.parameters is not None:
        check_parameters(wanted.parameters)


def check_parameters(schema: dict[str, Any]) -> None:
    """Refuse what describes no arguments, or more than a model should read.

    Raises:
        Invalid: it is no schema of an object, or too large.
    """
    if schema.get("type") != "object" or not isinstance(schema.get("properties", {}), dict):
        raise Invalid.at("/parameters", 'The JSON schema of the arguments has "type": "object" and "properties".')
    if len(msgspec.json.encode(schema)) > LARGEST_SCHEMA:
        raise Invalid.at("/parameters", f"The JSON schema has at most {LARGEST_SCHEMA:,} bytes.")


def refuse_impossible(name: str) -> None:
    """Refuse what cannot be a tool's name; some of it could not even be looked for.

    Raises:
        NotFound: there is no such tool.
    """
    if not NAME.fullmatch(name):
        raise NotFound("tool")


async def put(
    connection: AsyncConnection, keyring: Keyring, tenant: TenantId, wanted: ToolDefinition, allowed: AllowedHosts, actor: str
) -> PutEndpoint:
    """Create a tool or replace its definition; its secret stays unless another is given, which ends the old ones at once.

    Raises:
        Invalid: it cannot work, or the tenant has too many.
    """
    check(wanted, allowed)
    values: dict[str, Any] = {
        "url": wanted.url,
        "method": wanted.method,
        "timeout_ms": wanted.timeout_ms,
        "description": wanted.description,
        "repeatable": wanted.repeatable,
        "business_arguments": list(wanted.business_arguments),
        "business_seconds": wanted.business_seconds,
        "parameters": wanted.parameters,
    }
    await bounds.refuse_too_many(connection, tenant, bounds.Kind.TOOLS, http_tools.c.name, wanted.name, MOST_TOOLS, "tools")
    put = await put_endpoint(connection, keyring, tenant, http_tools.c.name, wanted.name, values, wanted.secret)
    action, new = "tool.created" if put.created else "tool.changed", put.secret is not None
    await audit.record(connection, actor, action, tenant, wanted.name, method=wanted.method, new_secret=new)
    return put


async def rotate(connection: AsyncConnection, keyring: Keyring, tenant: TenantId, name: str, grace_seconds: int, actor: str) -> PutEndpoint:
    """Make a new secret; the one before it signs too until the grace ends, one from before that no more.

    Raises:
        NotFound: the tenant has no such tool.
    """
    refuse_impossible(name)
    put = await rotate_endpoint(connection, keyring, tenant, http_tools.c.name, name, grace_seconds)
    if put is None:
        raise NotFound("tool")
    await audit.record(connection, actor, "tool.secret_rotated", tenant, name, grace_seconds=grace_seconds)
    return put


async def tool_row(connection: AsyncConnection, tenant: TenantId, name: str) -> dict[str, Any]:
    """One tool without its secret.

    Raises:
        NotFound: the tenant has no such tool.
    """
    refuse_impossible(name)
    query = select(*SHOWN).where(http_tools.c.tenant_id == tenant, http_tools.c.name == name)
    found = (await connection.execute(query)).mappings().one_or_none()
    if found is None:
        raise NotFound("tool")
    return dict(found)


async def list_tools(connection: AsyncConnection, tenant: TenantId, after: str | None, limit: int) -> list[dict[str, Any]]:
    """A tenant's tools by name, without their secrets."""
    query = select(*SHOWN).where(http_tools.c.tenant_id == tenant).order_by(http_tools.c.name).limit(limit)
    if after is not None:
        query = query.where(http_tools.c.name > after)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def remove(connection: AsyncConnection, tenant: TenantId, name: str, actor: str) -> None:
    """Forget a tool and its secrets.

    Raises:
        NotFound: the tenant has no such tool.
    """
    refuse_impossible(name)
    query = delete(http_tools).where(http_tools.c.tenant_id == tenant, http_tools.c.name == name).returning(http_tools.c.name)
    if (await connection.execute(query)).scalar_one_or_none() is None:
        raise NotFound("tool")
    await audit.record(connection, actor, "tool.removed", tenant, name)

"""Tools of the tenant's own: HTTP endpoints that the model may call, each with a secret that signs what we send."""

import base64
import binascii
import re
import secrets
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import delete, func, literal_column, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.addresses import AllowedHosts, checked_url
from runtime.crypto import Keyring
from runtime.ids import TenantId
from runtime.refusals import Invalid, NotFound
from tenants import audit
from tenants.tables import http_tools

COLUMN = "http_tools.secret"
SECRET_PREFIX, SECRET_BYTES = "whsec_", 32
SECRET_LENGTHS = range(24, 65)  # bytes, Standard Webhooks 1.0
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
RESERVED = frozenset({"send_sms", "cancel_sms", "current_time", "resolve_date", "opening_hours", "opt_out"})
LARGEST_SCHEMA = 16_384  # bytes
MOST_TOOLS = 100  # every snapshot of the tenant carries them
SHOWN = tuple(column for column in http_tools.c if "secret" not in column.name)


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


@dataclass(frozen=True, slots=True)
class PutTool:
    """A tool without its secret, and the secret at the only time it is shown."""

    row: dict[str, Any]
    secret: str | None = field(default=None, repr=False)


def check(wanted: ToolDefinition, allowed: AllowedHosts) -> None:
    """Refuse what cannot work.

    Raises:
        Invalid: the name is none or one of ours, the URL may not be called, or the secret is not of Standard Webhooks' form.
    """
    if not NAME.fullmatch(wanted.name):
        raise Invalid.at("/name", "A tool's name has 1 to 64 letters, digits, underscores and hyphens.")
    if wanted.name in RESERVED:
        raise Invalid.at("/name", f"{wanted.name} is a tool of this service; choose another name.")
    try:
        checked_url(wanted.url, allowed)
    except ValueError as error:
        raise Invalid.at("/url", str(error)) from None
    if wanted.parameters is not None:
        check_parameters(wanted.parameters)
    if wanted.secret is not None:
        try:
            signing_key(wanted.secret)
        except ValueError as error:
            raise Invalid.at("/secret", str(error)) from None


def check_parameters(schema: dict[str, Any]) -> None:
    """Refuse what describes no arguments, or more than a model should read.

    Raises:
        Invalid: it is no schema of an object, or too large.
    """
    if schema.get("type") != "object" or not isinstance(schema.get("properties", {}), dict):
        raise Invalid.at("/parameters", 'The JSON schema of the arguments has "type": "object" and "properties".')
    if len(msgspec.json.encode(schema)) > LARGEST_SCHEMA:
        raise Invalid.at("/parameters", f"The JSON schema has at most {LARGEST_SCHEMA:,} bytes.")


def signing_key(secret: str) -> bytes:
    """The bytes that sign, of "whsec_" and their base64.

    Raises:
        ValueError: with a sentence.
    """
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or len(key) not in SECRET_LENGTHS:
        raise ValueError(f'A secret is "{SECRET_PREFIX}" and the base64 of {SECRET_LENGTHS[0]} to {SECRET_LENGTHS[-1]} random bytes.')
    return key


def new_secret() -> str:
    """A fresh secret in Standard Webhooks' form."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def refuse_impossible(name: str) -> None:
    """Refuse what cannot be a tool's name; some of it could not even be looked for.

    Raises:
        NotFound: there is no such tool.
    """
    if not NAME.fullmatch(name):
        raise NotFound("tool")


async def put(
    connection: AsyncConnection, keyring: Keyring, tenant: TenantId, wanted: ToolDefinition, allowed: AllowedHosts, actor: str
) -> PutTool:
    """Create a tool or replace its definition; its secret stays unless another is given, which ends the old ones at once.

    Raises:
        Invalid: it cannot work, or the tenant has too many.
    """
    check(wanted, allowed)
    secret = wanted.secret or new_secret()
    sealed = keyring.seal(secret, tenant, COLUMN)
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
    given = {"secret_sealed": sealed, "previous_secret_sealed": None, "previous_secret_until": None} if wanted.secret else {}
    await refuse_too_many(connection, tenant, wanted.name)
    query = (
        insert(http_tools)
        .values(tenant_id=tenant, name=wanted.name, secret_sealed=sealed, **values)
        .on_conflict_do_update(index_elements=["tenant_id", "name"], set_={**values, **given, "updated_at": text("app.now()")})
        .returning(*SHOWN, literal_column("xmax = 0").label("created"))  # xmax is 0 where the row was inserted
    )
    row = dict((await connection.execute(query)).mappings().one())
    created = row.pop("created")
    await audit.record(
        connection,
        actor,
        "tool.created" if created else "tool.changed",
        tenant,
        wanted.name,
        method=wanted.method,
        new_secret=created or bool(given),
    )
    return PutTool(row, secret if created or given else None)


async def refuse_too_many(connection: AsyncConnection, tenant: TenantId, name: str) -> None:
    """Refuse a new tool of a tenant that has as many as it may.

    Raises:
        Invalid: it has.
    """
    await connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:tenant, 2))"), {"tenant": str(tenant)})
    query = select(func.count()).select_from(http_tools).where(http_tools.c.tenant_id == tenant, http_tools.c.name != name)
    if (await connection.execute(query)).scalar_one() >= MOST_TOOLS:
        raise Invalid.at("/name", f"A tenant has at most {MOST_TOOLS} tools; remove one first.")


async def rotate(connection: AsyncConnection, keyring: Keyring, tenant: TenantId, name: str, grace_seconds: int, actor: str) -> PutTool:
    """Make a new secret; the one before it signs too until the grace ends, one from before that no more.

    Raises:
        NotFound: the tenant has no such tool.
    """
    refuse_impossible(name)
    secret = new_secret()
    until = text("app.now() + make_interval(secs => :grace)").bindparams(grace=grace_seconds)
    query = (
        update(http_tools)
        .where(http_tools.c.tenant_id == tenant, http_tools.c.name == name)
        .values(
            secret_sealed=keyring.seal(secret, tenant, COLUMN),
            previous_secret_sealed=http_tools.c.secret_sealed if grace_seconds else None,
            previous_secret_until=until if grace_seconds else None,
            updated_at=text("app.now()"),
        )
        .returning(*SHOWN)
    )
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound("tool")
    await audit.record(connection, actor, "tool.secret_rotated", tenant, name, grace_seconds=grace_seconds)
    return PutTool(dict(row), secret)


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

"""Endpoints of the tenant's own that answer where Vapi asks, by the type of the message; each with a secret that signs what we send."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.addresses import AllowedHosts
from runtime.crypto import Keyring
from runtime.ids import TenantId
from runtime.refusals import Invalid, NotFound
from tenants import audit
from tenants.endpoints import PutEndpoint, check_endpoint, put_endpoint, rotate_endpoint, sealed_for, shown
from tenants.tables import answerers

COLUMN = sealed_for(answerers)
TYPES = (
    "knowledge-base-request",
    "call.endpointing.request",
    "campaign.predial",
    "handoff-destination-request",
    "transfer-destination-request",
)
SHOWN = shown(answerers)


@dataclass(frozen=True, slots=True)
class AnswererDefinition:
    """An answerer as its tenant defines it; `timeout_ms` is for all attempts together, a null `secret` keeps the old one or makes one."""

    type: str
    url: str
    method: str
    timeout_ms: int
    secret: str | None = field(default=None, repr=False)


class AnswererView(msgspec.Struct, frozen=True):
    """An answerer in the snapshot. Its secrets are sealed."""

    type: str
    url: str
    method: str
    timeout_ms: int
    secret_sealed: str
    previous_secret_sealed: str | None = None


def check(wanted: AnswererDefinition, allowed: AllowedHosts) -> None:
    """Refuse what cannot work.

    Raises:
        Invalid: no such type, a URL that may not be called, or a secret that is not of Standard Webhooks' form.
    """
    if wanted.type not in TYPES:
        raise Invalid.at("/type", f"An answerer answers one of {', '.join(TYPES)}.")
    check_endpoint(wanted.url, wanted.secret, allowed)


async def put(
    connection: AsyncConnection, keyring: Keyring, tenant: TenantId, wanted: AnswererDefinition, allowed: AllowedHosts, actor: str
) -> PutEndpoint:
    """Create an answerer or replace it; its secret stays unless another is given, which ends the old ones at once.

    Raises:
        Invalid: it cannot work.
    """
    check(wanted, allowed)
    values = {"url": wanted.url, "method": wanted.method, "timeout_ms": wanted.timeout_ms}
    put = await put_endpoint(connection, keyring, tenant, answerers.c.type, wanted.type, values, wanted.secret)
    action, new = "answerer.created" if put.created else "answerer.changed", put.secret is not None
    await audit.record(connection, actor, action, tenant, wanted.type, method=wanted.method, new_secret=new)
    return put


async def rotate(connection: AsyncConnection, keyring: Keyring, tenant: TenantId, kind: str, grace_seconds: int, actor: str) -> PutEndpoint:
    """Make a new secret; the one before it signs too until the grace ends, one from before that no more.

    Raises:
        NotFound: the tenant has no such answerer.
    """
    put = await rotate_endpoint(connection, keyring, tenant, answerers.c.type, kind, grace_seconds)
    if put is None:
        raise NotFound("answerer")
    await audit.record(connection, actor, "answerer.secret_rotated", tenant, kind, grace_seconds=grace_seconds)
    return put


async def answerer(connection: AsyncConnection, tenant: TenantId, kind: str) -> dict[str, Any]:
    """One answerer without its secret.

    Raises:
        NotFound: the tenant has none for this type.
    """
    query = select(*SHOWN).where(answerers.c.tenant_id == tenant, answerers.c.type == kind)
    found = (await connection.execute(query)).mappings().one_or_none()
    if found is None:
        raise NotFound("answerer")
    return dict(found)


async def list_answerers(connection: AsyncConnection, tenant: TenantId, after: str | None, limit: int) -> list[dict[str, Any]]:
    """A tenant's answerers by type, without their secrets."""
    query = select(*SHOWN).where(answerers.c.tenant_id == tenant).order_by(answerers.c.type).limit(limit)
    if after is not None:
        query = query.where(answerers.c.type > after)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def remove(connection: AsyncConnection, tenant: TenantId, kind: str, actor: str) -> None:
    """Forget an answerer and its secrets.

    Raises:
        NotFound: the tenant has none for this type.
    """
    await answerer(connection, tenant, kind)
    await connection.execute(delete(answerers).where(answerers.c.tenant_id == tenant, answerers.c.type == kind))
    await audit.record(connection, actor, "answerer.removed", tenant, kind)

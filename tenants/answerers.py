"""Endpoints of the tenant's own that answer where Vapi asks, by the type of the message; each with a secret that signs what we send."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import delete, literal_column, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.addresses import AllowedHosts, checked_url
from runtime.crypto import Keyring
from runtime.ids import TenantId
from runtime.refusals import Invalid, NotFound
from tenants import audit
from tenants.http_tools import new_secret, signing_key
from tenants.tables import answerers

COLUMN = "answerers.secret"
TYPES = (
    "knowledge-base-request",
    "call.endpointing.request",
    "campaign.predial",
    "handoff-destination-request",
    "transfer-destination-request",
)
SHOWN = tuple(column for column in answerers.c if "secret" not in column.name)


@dataclass(frozen=True, slots=True)
class AnswererDefinition:
    """An answerer as its tenant defines it; `timeout_ms` is for all attempts together, a null `secret` keeps the old one or makes one."""

    type: str
    url: str
    method: str
    timeout_ms: int
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class PutAnswerer:
    """An answerer without its secret, and the secret at the only time it is shown."""

    row: dict[str, Any]
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
    try:
        checked_url(wanted.url, allowed)
    except ValueError as error:
        raise Invalid.at("/url", str(error)) from None
    if wanted.secret is not None:
        try:
            signing_key(wanted.secret)
        except ValueError as error:
            raise Invalid.at("/secret", str(error)) from None


async def put(
    connection: AsyncConnection, keyring: Keyring, tenant: TenantId, wanted: AnswererDefinition, allowed: AllowedHosts, actor: str
) -> PutAnswerer:
    """Create an answerer or replace it; its secret stays unless another is given, which ends the old ones at once.

    Raises:
        Invalid: it cannot work.
    """
    check(wanted, allowed)
    secret = wanted.secret or new_secret()
    sealed = keyring.seal(secret, tenant, COLUMN)
    values: dict[str, Any] = {"url": wanted.url, "method": wanted.method, "timeout_ms": wanted.timeout_ms}
    given = {"secret_sealed": sealed, "previous_secret_sealed": None, "previous_secret_until": None} if wanted.secret else {}
    query = (
        insert(answerers)
        .values(tenant_id=tenant, type=wanted.type, secret_sealed=sealed, **values)
        .on_conflict_do_update(index_elements=["tenant_id", "type"], set_={**values, **given, "updated_at": text("app.now()")})
        .returning(*SHOWN, literal_column("xmax = 0").label("created"))  # xmax is 0 where the row was inserted
    )
    row = dict((await connection.execute(query)).mappings().one())
    created = row.pop("created")
    action, fresh = "answerer.created" if created else "answerer.changed", created or bool(given)
    await audit.record(connection, actor, action, tenant, wanted.type, method=wanted.method, new_secret=fresh)
    return PutAnswerer(row, secret if fresh else None)


async def rotate(connection: AsyncConnection, keyring: Keyring, tenant: TenantId, kind: str, grace_seconds: int, actor: str) -> PutAnswerer:
    """Make a new secret; the one before it signs too until the grace ends, one from before that no more.

    Raises:
        NotFound: the tenant has no such answerer.
    """
    secret = new_secret()
    until = text("app.now() + make_interval(secs => :grace)").bindparams(grace=grace_seconds)
    query = (
        update(answerers)
        .where(answerers.c.tenant_id == tenant, answerers.c.type == kind)
        .values(
            secret_sealed=keyring.seal(secret, tenant, COLUMN),
            previous_secret_sealed=answerers.c.secret_sealed if grace_seconds else None,
            previous_secret_until=until if grace_seconds else None,
            updated_at=text("app.now()"),
        )
        .returning(*SHOWN)
    )
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound("answerer")
    await audit.record(connection, actor, "answerer.secret_rotated", tenant, kind, grace_seconds=grace_seconds)
    return PutAnswerer(dict(row), secret)


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

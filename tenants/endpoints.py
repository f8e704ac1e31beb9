"""Endpoints of a tenant's own that are asked over HTTP: a table's rows with an address, and the secrets that sign what is sent there.

The secrets are in the form of Standard Webhooks 1.0, sealed, and shown once.
"""

import base64
import binascii
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, Table, literal_column, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.addresses import AllowedHosts, checked_url
from runtime.crypto import Keyring
from runtime.ids import TenantId
from runtime.refusals import Invalid

SECRET_PREFIX, SECRET_BYTES = "whsec_", 32
SECRET_LENGTHS = range(24, 65)  # bytes, Standard Webhooks 1.0


@dataclass(frozen=True, slots=True)
class PutEndpoint:
    """An endpoint's row without its secrets, the secret at the only time it is shown, and whether the row is new."""

    row: dict[str, Any]
    secret: str | None = field(default=None, repr=False)
    created: bool = False


def check_endpoint(url: str, secret: str | None, allowed: AllowedHosts) -> None:
    """Refuse what cannot be asked.

    Raises:
        Invalid: the URL may not be called, or the secret is not of Standard Webhooks' form.
    """
    try:
        checked_url(url, allowed)
    except ValueError as error:
        raise Invalid.at("/url", str(error)) from None
    if secret is not None:
        try:
            signing_key(secret)
        except ValueError as error:
            raise Invalid.at("/secret", str(error)) from None


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


def sealed_for(table: Table) -> str:
    """What the secrets of a table's rows are bound to."""
    return f"{table.name}.secret"


def shown(table: Table) -> tuple[Column[Any], ...]:
    """The columns that are not secret."""
    return tuple(column for column in table.c if "secret" not in column.name)


async def put_endpoint(
    connection: AsyncConnection,
    keyring: Keyring,
    tenant: TenantId,
    named: Column[Any],
    name: str,
    values: Mapping[str, Any],
    secret: str | None,
) -> PutEndpoint:
    """Create the endpoint of that name, a value of the column `named`, or replace it; a given `secret` ends the old ones at once."""
    fresh = secret or new_secret()
    sealed = keyring.seal(fresh, tenant, sealed_for(named.table))
    given = {"secret_sealed": sealed, "previous_secret_sealed": None, "previous_secret_until": None} if secret else {}
    query = (
        insert(named.table)
        .values({"tenant_id": tenant, named.name: name, "secret_sealed": sealed, **values})
        .on_conflict_do_update(index_elements=["tenant_id", named.name], set_={**values, **given, "updated_at": text("app.now()")})
        .returning(*shown(named.table), literal_column("xmax = 0").label("created"))  # xmax is 0 where the row was inserted
    )
    row = dict((await connection.execute(query)).mappings().one())
    created = row.pop("created")
    return PutEndpoint(row, fresh if created or given else None, created)


async def rotate_endpoint(
    connection: AsyncConnection, keyring: Keyring, tenant: TenantId, named: Column[Any], name: str, grace_seconds: int
) -> PutEndpoint | None:
    """Make a new secret; the one before it signs too until the grace ends, one from before that no more.

    None: there is no such endpoint.
    """
    table, fresh = named.table, new_secret()
    until = text("app.now() + make_interval(secs => :grace)").bindparams(grace=grace_seconds)
    query = (
        update(table)
        .where(table.c.tenant_id == tenant, named == name)
        .values(
            secret_sealed=keyring.seal(fresh, tenant, sealed_for(table)),
            previous_secret_sealed=table.c.secret_sealed if grace_seconds else None,
            previous_secret_until=until if grace_seconds else None,
            updated_at=text("app.now()"),
        )
        .returning(*shown(table))
    )
    row = (await connection.execute(query)).mappings().one_or_none()
    return None if row is None else PutEndpoint(dict(row), fresh)

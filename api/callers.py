"""Who calls: guards that run before a body is read, and the caller they found."""

import hmac
from dataclasses import dataclass

from litestar.connection import ASGIConnection, Request
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler

from api.wiring import Wiring, wiring_of
from runtime import sentry
from runtime.refusals import Forbidden, NotFound, Unauthorized
from tenants import audit
from tenants.snapshot import Snapshot

Connection = ASGIConnection[object, object, object, State]
BEARER = "bearer "
ADMIN = "admin"
READING = {"GET", "HEAD"}
CALLER, OPERATOR_CALLS = "caller", "operator_calls"  # what a guard noted in the request's state: it admits a request once


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody with a tenant's key, or the operator acting for that tenant; `actor` is how the audit trail names them."""

    actor: str
    tenant: Snapshot


def bearer(connection: Connection) -> str:
    """The key in the Authorization header, empty when there is none."""
    header = connection.headers.get("authorization", "")
    return header[len(BEARER) :].strip() if header[: len(BEARER)].lower() == BEARER else ""


def is_admin(connection: Connection, key: str) -> bool:
    """Whether this is the operator's key; an unset one matches nothing."""
    admin_key = wiring_of(connection.app.state).settings.admin_key
    return bool(admin_key) and hmac.compare_digest(key.encode(), admin_key.encode())


async def admin_only(connection: Connection, _: BaseRouteHandler) -> None:
    """Guard of the admin API.

    Raises:
        Unauthorized: no key or an unknown one. Forbidden: a tenant's key.
    """
    if OPERATOR_CALLS in connection.scope["state"]:
        return
    key = bearer(connection)
    if is_admin(connection, key):
        sentry.bind_tenant(sentry.NOBODY)
        connection.scope["state"][OPERATOR_CALLS] = True
        return
    if await wiring_of(connection.app.state).keys.holder(key):
        raise Forbidden("This needs the operator's key; a tenant's key opens the tenant API only.")
    raise Unauthorized


async def tenant_only(connection: Connection, _: BaseRouteHandler) -> None:
    """Guard of the tenant API: a tenant's key with the scope it takes, or the operator's with `X-Tenant: {slug}`.

    Raises:
        Unauthorized: no key or an unknown one. Forbidden: the key may only read. NotFound: X-Tenant names nobody.
    """
    if CALLER in connection.scope["state"]:
        return
    wiring, key = wiring_of(connection.app.state), bearer(connection)
    if is_admin(connection, key):
        tenant = await wiring.tenants.by_slug(connection.headers.get("x-tenant", ""))
        if tenant is None:
            raise NotFound("tenant; name one with the header X-Tenant")
        caller = Caller(ADMIN, tenant)
        await note_acting(wiring, tenant, connection)
    else:
        holder = await wiring.keys.holder(key)
        own = await wiring.tenants.by_id(holder.tenant) if holder else None
        if holder is None or own is None:
            raise Unauthorized
        needed = "read" if connection.scope.get("method") in READING else "write"
        if needed not in holder.scopes:
            raise Forbidden(f"This key lacks the scope {needed}.")
        caller = Caller(f"key:{holder.key_id}", own)
    sentry.bind_tenant(caller.tenant.tags)
    connection.scope["state"][CALLER] = caller


async def note_acting(wiring: Wiring, tenant: Snapshot, connection: Connection) -> None:
    """The operator enters a tenant's scope: written down before anything is done or read there."""
    what = f"{connection.scope.get('method')} {connection.scope.get('path_template')}"
    async with wiring.database.unscoped() as database:  # unscoped: the audit trail stands in the schema control
        await audit.record(database, ADMIN, "tenant.acted_for", tenant.id, what)


async def provide_caller(request: Request[object, object, State]) -> Caller:
    """The caller that the guard found."""
    caller: Caller = request.scope["state"][CALLER]
    return caller

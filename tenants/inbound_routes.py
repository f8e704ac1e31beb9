"""Who takes a call whose number has no assistant at Vapi, by the number that was called."""

import re
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import delete, literal_column, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.ids import TenantId
from runtime.refusals import Invalid, NotFound
from tenants import audit, bounds, destinations
from tenants.destinations import Destination, StoredDestination
from tenants.tables import assistants, inbound_routes

DEFAULT = "default"
PHONE_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}|[A-Za-z0-9_-]{1,64}")  # E.164, or an id of Vapi's, or "default"
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
OURS = frozenset({"local_date", "local_time", "local_weekday", "local_now", "time_zone", "business_name"})  # set anew for each call
WITHHELD = frozenset({"server", "serverurl", "serverurlsecret", "credentials", "credentialids", "credentialid", "headers", "apikey"})
MOST_ROUTES = 200  # every snapshot of the tenant carries them
LARGEST = 4_096  # bytes of overrides and variables
CARRIED = (inbound_routes.c.target, inbound_routes.c.overrides, inbound_routes.c.variables)  # by the snapshot, beside the number
Variable = str | int | float | bool


class Target(msgspec.Struct, frozen=True, omit_defaults=True):
    """Exactly one of these: an assistant of ours, a squad or workflow at Vapi, a destination, or words for the caller."""

    assistant_id: UUID | None = None
    squad_id: str | None = None
    workflow_id: str | None = None
    destination: Destination | None = None
    error: str | None = None


class StoredTarget(Target, frozen=True, omit_defaults=True):
    """As it stands in a row."""

    destination: StoredDestination | None = None


class RouteView(msgspec.Struct, frozen=True):
    """A route in the snapshot; `vapi_assistant_id` is null where its assistant was removed, or it names none."""

    phone_number: str
    target: StoredTarget
    overrides: dict[str, Any]
    variables: dict[str, Variable]
    vapi_assistant_id: str | None = None


def check(target: Target, overrides: dict[str, Any], variables: dict[str, Variable]) -> None:
    """Refuse what cannot work.

    Raises:
        Invalid: none or several targets, overrides where there is nothing to override, a variable of ours, or too much of it.
    """
    named = [name for name in Target.__struct_fields__ if getattr(target, name) is not None]
    if len(named) != 1:
        raise Invalid.at("", "Name exactly one of assistant_id, squad_id, workflow_id, destination and error.")
    if target.destination is not None:
        destinations.check(target.destination, assistants=False)
    if named[0] in ("destination", "error") and (overrides or variables):
        raise Invalid.at("/overrides" if overrides else "/variables", f"With {named[0]} there is no assistant to tell this.")
    if named[0] == "workflow_id" and overrides:
        raise Invalid.at("/overrides", "A workflow takes variables only.")
    check_variables("/variables", variables)
    inner = overrides.get("variableValues", {})
    if not isinstance(inner, dict):
        raise Invalid.at("/overrides/variableValues", "Variables are an object.")
    check_variables("/overrides/variableValues", inner)
    secret = withheld(overrides)
    if secret is not None:
        raise Invalid.at("/overrides", f"{secret} is set at Vapi and not here, since it may hold a secret.")
    if len(msgspec.json.encode([overrides, variables])) > LARGEST:
        raise Invalid.at("/overrides", f"Overrides and variables have at most {LARGEST:,} bytes together.")


def check_variables(pointer: str, variables: dict[str, Any]) -> None:
    """Refuse names that no prompt can use, or that are set for each call.

    Raises:
        Invalid: such a name.
    """
    for name in variables:
        if name in OURS:
            raise Invalid.at(pointer, f"{name} is set for each call.")
        if not VARIABLE.fullmatch(name):
            raise Invalid.at(pointer, "A variable's name has 1 to 64 letters, digits and underscores, and begins with no digit.")


def withheld(value: Any) -> str | None:
    """The first name in it under which secrets stand, or by which messages would go elsewhere."""
    if isinstance(value, dict):
        return next((name for name in value if name.lower() in WITHHELD), None) or next(filter(None, map(withheld, value.values())), None)
    return next(filter(None, map(withheld, value)), None) if isinstance(value, list) else None


def refuse_impossible(phone_number: str) -> None:
    """Refuse what cannot be a number's name.

    Raises:
        NotFound: there is no such route.
    """
    if not PHONE_NUMBER.fullmatch(phone_number):
        raise NotFound("route")


async def put(
    connection: AsyncConnection,
    tenant: TenantId,
    phone_number: str,
    target: Target,
    overrides: dict[str, Any],
    variables: dict[str, Variable],
    actor: str,
) -> dict[str, Any]:
    """Create a route or replace it.

    Raises:
        Invalid: it cannot work, its assistant is not the tenant's, or the tenant has too many.
    """
    if not PHONE_NUMBER.fullmatch(phone_number):
        raise Invalid.at("/phone_number", 'A number is written like +12135550123, or is Vapi\'s id of it, or "default".')
    check(target, overrides, variables)
    if target.assistant_id is not None:
        await refuse_foreign(connection, tenant, target.assistant_id)
    await bounds.refuse_too_many(connection, tenant, bounds.Kind.ROUTES, inbound_routes.c.phone_number, phone_number, MOST_ROUTES, "routes")
    values = {"target": msgspec.to_builtins(target), "overrides": overrides, "variables": variables}
    query = (
        insert(inbound_routes)
        .values(tenant_id=tenant, phone_number=phone_number, **values)
        .on_conflict_do_update(index_elements=["tenant_id", "phone_number"], set_={**values, "updated_at": text("app.now()")})
        .returning(*inbound_routes.c, literal_column("xmax = 0").label("created"))  # xmax is 0 where the row was inserted
    )
    row = dict((await connection.execute(query)).mappings().one())
    await bounds.refuse_too_large(connection, tenant, inbound_routes, CARRIED, "routes")
    action = "inbound_route.created" if row.pop("created") else "inbound_route.changed"
    await audit.record(connection, actor, action, tenant, tail(phone_number), to=next(iter(values["target"])))
    return row


def tail(phone_number: str) -> str:
    """A number as the audit trail names it, which holds no customer data: its last four digits."""
    return f"…{phone_number[-4:]}" if phone_number.startswith("+") else phone_number


async def refuse_foreign(connection: AsyncConnection, tenant: TenantId, assistant: UUID) -> None:
    """Refuse an assistant that is not the tenant's.

    Raises:
        Invalid: the tenant has no such assistant.
    """
    query = select(assistants.c.id).where(assistants.c.tenant_id == tenant, assistants.c.id == assistant)
    if (await connection.execute(query)).scalar_one_or_none() is None:
        raise Invalid.at("/assistant_id", "There is no such assistant.")


async def route(connection: AsyncConnection, tenant: TenantId, phone_number: str) -> dict[str, Any]:
    """One route.

    Raises:
        NotFound: the tenant has no such route.
    """
    refuse_impossible(phone_number)
    query = select(inbound_routes).where(inbound_routes.c.tenant_id == tenant, inbound_routes.c.phone_number == phone_number)
    found = (await connection.execute(query)).mappings().one_or_none()
    if found is None:
        raise NotFound("route")
    return dict(found)


async def list_routes(connection: AsyncConnection, tenant: TenantId, after: str | None, limit: int) -> list[dict[str, Any]]:
    """A tenant's routes by number."""
    query = select(inbound_routes).where(inbound_routes.c.tenant_id == tenant).order_by(inbound_routes.c.phone_number).limit(limit)
    if after is not None:
        query = query.where(inbound_routes.c.phone_number > after)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def remove(connection: AsyncConnection, tenant: TenantId, phone_number: str, actor: str) -> None:
    """Forget a route.

    Raises:
        NotFound: the tenant has no such route.
    """
    await route(connection, tenant, phone_number)
    wanted = (inbound_routes.c.tenant_id == tenant, inbound_routes.c.phone_number == phone_number)
    await connection.execute(delete(inbound_routes).where(*wanted))
    await audit.record(connection, actor, "inbound_route.removed", tenant, tail(phone_number))

"""Who takes a call whose number has no assistant at Vapi: decided from the snapshot alone, since somebody waits on the line. Pure."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from tenants.destinations import as_vapi
from tenants.inbound_routes import DEFAULT, RouteView
from tenants.snapshot import Snapshot
from webhooks.answers import one_line, spoken_time
from webhooks.envelope import decoded, reread

NO_ASSISTANT = "Sorry, nobody is set up to take this call yet. Please try again later."
SUSPENDED_CALL = "Sorry, this service is paused at the moment. Please try again later."
OVERRIDES = {"assistantId": "assistantOverrides", "squadId": "squadOverrides", "workflowId": "workflowOverrides"}


class Dialled(msgspec.Struct, rename="camel"):
    """Where a body names the number that was called: at message level, and in `call`."""

    phone_number: Raw | UnsetType = UNSET
    phone_number_id: Raw | UnsetType = UNSET
    call: Raw | UnsetType = UNSET


class Asking(msgspec.Struct):
    """The body of an assistant-request."""

    message: Dialled


ASKING = msgspec.json.Decoder(Asking)


def taker(tenant: Snapshot, body: bytes, now: datetime) -> dict[str, Any]:
    """What Vapi is told: by the number's own route, else the default one, else the tenant's only assistant, else a sentence.

    Raises:
        Invalid: the body cannot be read.
    """
    if tenant.status != "active":
        return {"error": SUSPENDED_CALL}
    route = route_of(tenant, dialled(body)) if tenant.inbound_routes else None
    if route is not None:
        return routed(tenant, route, now)
    return {"assistantId": next(iter(tenant.assistants))} if len(tenant.assistants) == 1 else {"error": NO_ASSISTANT}


def dialled(body: bytes) -> list[str]:
    """The names of the number that was called, the likeliest first: the number itself, then Vapi's id of it.

    Raises:
        Invalid: the body cannot be read.
    """
    message = reread(ASKING, body).message
    call = decoded(message.call)
    call = call if isinstance(call, dict) else {}
    numbers = [each for each in (decoded(message.phone_number), call.get("phoneNumber")) if isinstance(each, dict)]
    ids = [decoded(message.phone_number_id), call.get("phoneNumberId"), *(each.get("id") for each in numbers)]
    return [name for name in (*(each.get("number") for each in numbers), *ids) if isinstance(name, str) and name]


def route_of(tenant: Snapshot, names: list[str]) -> RouteView | None:
    """The route of the first of these names that has one; a number that nobody routes has the default."""
    return next((tenant.inbound_routes[name] for name in (*names, DEFAULT) if name in tenant.inbound_routes), None)


def routed(tenant: Snapshot, route: RouteView, now: datetime) -> dict[str, Any]:
    """What a route says; one whose assistant was removed says that nobody is there, and does not guess another."""
    target = route.target
    if target.error is not None:
        return {"error": one_line(target.error)}
    if target.destination is not None:
        return {"destination": as_vapi(target.destination)}
    named = {"assistantId": route.vapi_assistant_id, "squadId": target.squad_id, "workflowId": target.workflow_id}
    who = next((name for name, value in named.items() if value is not None), None)
    if who is None:
        return {"error": NO_ASSISTANT}
    given = route.overrides.get("variableValues", {})
    overrides = {**route.overrides, "variableValues": {**given, **route.variables, **local_variables(tenant, now)}}
    return {who: named[who], OVERRIDES[who]: overrides}


def local_variables(tenant: Snapshot, now: datetime) -> dict[str, str]:
    """What a prompt can say of here and now, in the tenant's zone (Vapi's own `{{date}}` and `{{time}}` are UTC)."""
    local, said = now.astimezone(tenant.zone), spoken_time(now, tenant.zone)
    return {
        "local_date": local.date().isoformat(),
        "local_time": said.rsplit(", ", 1)[1],
        "local_weekday": said.split(",", 1)[0],
        "local_now": said,
        "time_zone": tenant.zone.key,
        "business_name": tenant.name,
    }

"""Who takes a call whose number has no assistant at Vapi."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Controller, delete, get, put
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta

from api.callers import Caller
from api.pages import NOT_OURS, Cursor, Limit, Page, page, position
from api.routes.shapes import END, Body, moment
from api.wiring import wiring_of
from runtime.refusals import Invalid
from tenants import inbound_routes
from tenants.destinations import Destination, StoredDestination
from tenants.inbound_routes import Target, Variable

VapiId = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+" + END)]
Sentence = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^[^\x00]*\S[^\x00]*" + END)]


class InboundRouteBody(Body):
    """Exactly one of `assistant_id` (one registered here), `squad_id`, `workflow_id`, `destination` and `error` (spoken to the caller)."""

    assistant_id: Annotated[UUID, Meta(examples=["01900000-0000-7000-8000-000000000001"])] | None = None
    squad_id: VapiId | None = None
    workflow_id: VapiId | None = None
    destination: Destination | None = None
    error: Sentence | None = None
    overrides: Annotated[
        dict[str, Any], Meta(description="What is different in these calls, as Vapi names it.", examples=[{"firstMessage": "Good day."}])
    ] = msgspec.field(default_factory=dict)
    variables: Annotated[
        dict[str, Variable], Meta(description="Values for the prompt's variables; the local time is added.", examples=[{"desk": "Front"}])
    ] = msgspec.field(default_factory=dict)


class InboundRoute(Body):
    """A route."""

    phone_number: str
    assistant_id: UUID | None
    squad_id: str | None
    workflow_id: str | None
    destination: Destination | None
    error: str | None
    overrides: dict[str, Any]
    variables: dict[str, Any]
    created_at: str
    updated_at: str


class InboundRouteRoutes(Controller):
    """`/v1/inbound-routes`."""

    path = "/v1/inbound-routes"
    tags = ("Answers",)

    @put(
        "/{phone_number:str}",
        summary="Say who takes the calls to a number",
        description="A number as +12135550123, or Vapi's id of it, or `default` for every number without a route of its own.",
    )
    async def put(
        self, phone_number: FromPath[str], data: JSONBody[InboundRouteBody], caller: NamedDependency[Caller], state: State
    ) -> InboundRoute:
        """Create or replace the route."""
        wiring, tenant = wiring_of(state), caller.tenant.id
        target = Target(data.assistant_id, data.squad_id, data.workflow_id, data.destination, data.error)
        wanted = (phone_number, target, data.overrides, data.variables)
        async with wiring.database.tenant_scope(tenant) as connection:
            row = await inbound_routes.put(connection, tenant, *wanted, caller.actor)
        wiring.tenants.forget(caller.tenant.slug)
        return shown(row)

    @get(summary="List routes of inbound calls")
    async def list(
        self, caller: NamedDependency[Caller], state: State, limit: FromQuery[Limit] = 50, cursor: FromQuery[Cursor] = None
    ) -> Page[InboundRoute]:
        """By number."""
        after = position(cursor)
        if after is not None and not inbound_routes.PHONE_NUMBER.fullmatch(after):
            raise Invalid.at("/cursor", NOT_OURS)
        async with wiring_of(state).database.tenant_scope(caller.tenant.id) as connection:
            rows = await inbound_routes.list_routes(connection, caller.tenant.id, after, limit + 1)
        shown_rows, following = page(rows, limit, key="phone_number")
        return Page([shown(row) for row in shown_rows], following)

    @get("/{phone_number:str}", summary="One route of inbound calls")
    async def one(self, phone_number: FromPath[str], caller: NamedDependency[Caller], state: State) -> InboundRoute:
        """As it is now."""
        async with wiring_of(state).database.tenant_scope(caller.tenant.id) as connection:
            return shown(await inbound_routes.route(connection, caller.tenant.id, phone_number))

    @delete(
        "/{phone_number:str}",
        summary="Remove a route of inbound calls",
        description="The default takes the number's calls, if there is one.",
    )
    async def remove(self, phone_number: FromPath[str], caller: NamedDependency[Caller], state: State) -> None:
        """Forget it."""
        wiring = wiring_of(state)
        async with wiring.database.tenant_scope(caller.tenant.id) as connection:
            await inbound_routes.remove(connection, caller.tenant.id, phone_number, caller.actor)
        wiring.tenants.forget(caller.tenant.slug)


def shown(row: dict[str, Any]) -> InboundRoute:
    """A route as the contract has it."""
    target = row["target"]
    return InboundRoute(
        phone_number=row["phone_number"],
        assistant_id=UUID(target["assistant_id"]) if "assistant_id" in target else None,
        squad_id=target.get("squad_id"),
        workflow_id=target.get("workflow_id"),
        destination=msgspec.convert(target["destination"], StoredDestination) if "destination" in target else None,
        error=target.get("error"),
        overrides=row["overrides"],
        variables=row["variables"],
        created_at=moment(row["created_at"]) or "",
        updated_at=moment(row["updated_at"]) or "",
    )

"""Tools of the tenant's own: HTTP endpoints that its assistants may call."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Controller, delete, get, post, put
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta

from api.callers import Caller
from api.pages import NOT_OURS, Cursor, Limit, Page, page, position
from api.routes.shapes import END, Body, moment
from api.wiring import wiring_of
from runtime.refusals import Invalid
from tenants import http_tools
from tenants.endpoints import PutEndpoint
from tenants.http_tools import ToolDefinition

Url = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=2_000,
        description="Where the call goes: https, and to no private address unless the operator allows it.",
        examples=["https://booking.example.com/tools/book"],
    ),
]
Timeout = Annotated[int, Meta(ge=100, le=15_000, description="How long one attempt may take, in milliseconds.", examples=[5_000])]
Secret = Annotated[
    str,
    Meta(
        max_length=200,
        pattern=r"^whsec_[A-Za-z0-9+/=]+" + END,
        description="What signs the calls (Standard Webhooks): whsec_ and the base64 of 24 to 64 bytes. Without one, one is made.",
    ),
]
Description = Annotated[
    str, Meta(max_length=1_000, pattern=r"^[^\x00]*" + END, description="For people and, in /v1/tools.json, for the model.")
]
Argument = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00]+" + END)]
Schema = Annotated[
    dict[str, Any],
    Meta(
        description="The JSON schema of the arguments, for the model.",
        examples=[{"type": "object", "properties": {"slot": {"type": "string"}}}],
    ),
]
Window = Annotated[int, Meta(ge=1, le=86_400, description="For how long the same thing is the same thing, in seconds.", examples=[600])]
Grace = Annotated[int, Meta(ge=0, le=604_800, description="How long the old secret signs too, in seconds.", examples=[3600])]
DAY, WINDOW_SECONDS = 86_400, 600


class BusinessKey(Body):
    """Which arguments together name one thing: the model often asks for it again under another id."""

    arguments: Annotated[list[Argument], Meta(min_length=1, max_length=8, description="Names of arguments.", examples=[["slot", "phone"]])]
    window_seconds: Window = WINDOW_SECONDS


class ToolBody(Body):
    """A tool; what is left out becomes the default again, but its secret stays."""

    url: Url
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    timeout_ms: Timeout = 5_000
    secret: Secret | None = None
    description: Description = ""
    repeatable: Annotated[
        bool, Meta(description="The endpoint honours Idempotency-Key, so that a call whose answer was lost may be sent again.")
    ] = False
    business_key: BusinessKey | None = None
    parameters: Schema | None = None


class RotateBody(Body):
    """How to rotate a secret."""

    grace_seconds: Grace = DAY


class Tool(Body):
    """A tool; its secret appears once."""

    name: str
    url: str
    method: str
    timeout_ms: int
    description: str
    repeatable: bool
    business_key: BusinessKey | None
    created_at: str
    updated_at: str
    parameters: dict[str, Any] | None = None
    secret: str | msgspec.UnsetType = msgspec.UNSET


class ToolRoutes(Controller):
    """`/v1/tools`."""

    path = "/v1/tools"
    tags = ("Tools",)

    @put(
        "/{name:str}",
        summary="Create or change a tool",
        description="The secret is shown when the tool is new or a secret was given, and never again.",
    )
    async def put(self, name: FromPath[str], data: JSONBody[ToolBody], caller: NamedDependency[Caller], state: State) -> Tool:
        """Define it."""
        wiring, wanted = wiring_of(state), definition(name, data)
        allowed = wiring.settings.tool_hosts
        async with wiring.database.tenant_scope(caller.tenant.id) as connection:
            made = await http_tools.put(connection, wiring.keyring, caller.tenant.id, wanted, allowed, caller.actor)
        wiring.tenants.forget(caller.tenant.slug)
        return with_secret(made)

    @get(summary="List tools")
    async def list(
        self, caller: NamedDependency[Caller], state: State, limit: FromQuery[Limit] = 50, cursor: FromQuery[Cursor] = None
    ) -> Page[Tool]:
        """By name."""
        after = position(cursor)
        if after is not None and not http_tools.NAME.fullmatch(after):
            raise Invalid.at("/cursor", NOT_OURS)
        async with wiring_of(state).database.tenant_scope(caller.tenant.id) as connection:
            rows = await http_tools.list_tools(connection, caller.tenant.id, after, limit + 1)
        shown_rows, following = page(rows, limit, key="name")
        return Page([shown(row) for row in shown_rows], following)

    @get("/{name:str}", summary="One tool")
    async def one(self, name: FromPath[str], caller: NamedDependency[Caller], state: State) -> Tool:
        """Without its secret."""
        async with wiring_of(state).database.tenant_scope(caller.tenant.id) as connection:
            return shown(await http_tools.tool_row(connection, caller.tenant.id, name))

    @delete("/{name:str}", summary="Remove a tool", description="Assistants that call it are told that there is none.")
    async def remove(self, name: FromPath[str], caller: NamedDependency[Caller], state: State) -> None:
        """Forget it and its secrets."""
        wiring = wiring_of(state)
        async with wiring.database.tenant_scope(caller.tenant.id) as connection:
            await http_tools.remove(connection, caller.tenant.id, name, caller.actor)
        wiring.tenants.forget(caller.tenant.slug)

    @post(
        "/{name:str}/rotate-secret",
        status_code=200,
        summary="Rotate the signing secret",
        description="Calls are signed with both secrets until the grace ends.",
    )
    async def rotate(self, name: FromPath[str], data: JSONBody[RotateBody], caller: NamedDependency[Caller], state: State) -> Tool:
        """Make a new secret."""
        wiring = wiring_of(state)
        async with wiring.database.tenant_scope(caller.tenant.id) as connection:
            made = await http_tools.rotate(connection, wiring.keyring, caller.tenant.id, name, data.grace_seconds, caller.actor)
        wiring.tenants.forget(caller.tenant.slug)
        return with_secret(made)


def definition(name: str, data: ToolBody) -> ToolDefinition:
    """A tool as its table has it.

    Raises:
        Invalid: an argument of the business key is named twice.
    """
    key = data.business_key
    if key is not None and len(set(key.arguments)) < len(key.arguments):
        raise Invalid.at("/business_key/arguments", "An argument is named twice.")
    return ToolDefinition(
        name=name,
        url=data.url,
        method=data.method,
        timeout_ms=data.timeout_ms,
        description=data.description,
        repeatable=data.repeatable,
        business_arguments=tuple(key.arguments) if key else (),
        business_seconds=key.window_seconds if key else WINDOW_SECONDS,
        secret=data.secret,
        parameters=data.parameters,
    )


def with_secret(made: PutEndpoint) -> Tool:
    """A tool at the only time its secret is shown."""
    return msgspec.structs.replace(shown(made.row), secret=made.secret or msgspec.UNSET)


def shown(row: dict[str, Any]) -> Tool:
    """A tool as the contract has it."""
    arguments = row["business_arguments"]
    return Tool(
        name=row["name"],
        url=row["url"],
        method=row["method"],
        timeout_ms=row["timeout_ms"],
        description=row["description"],
        repeatable=row["repeatable"],
        business_key=BusinessKey(list(arguments), row["business_seconds"]) if arguments else None,
        created_at=moment(row["created_at"]) or "",
        updated_at=moment(row["updated_at"]) or "",
        parameters=row["parameters"],
    )

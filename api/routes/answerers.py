"""Endpoints of the tenant's own that answer where Vapi asks."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Controller, delete, get, post, put
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta

from api.callers import Caller
from api.pages import NOT_OURS, Cursor, Limit, Page, page, position
from api.routes.shapes import Body, moment
from api.routes.tools import RotateBody, Secret, Url
from api.wiring import wiring_of
from runtime.refusals import Invalid, NotFound
from tenants import answerers
from tenants.answerers import AnswererDefinition
from tenants.endpoints import PutEndpoint

Timeout = Annotated[int, Meta(ge=100, le=15_000, description="How long all attempts together may take, in milliseconds.", examples=[3_000])]


class AnswererBody(Body):
    """An answerer; what is left out becomes the default again, but its secret stays."""

    url: Url
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    timeout_ms: Timeout = 3_000
    secret: Secret | None = None


class Answerer(Body):
    """An answerer; its secret appears once."""

    type: str
    url: str
    method: str
    timeout_ms: int
    created_at: str
    updated_at: str
    secret: str | msgspec.UnsetType = msgspec.UNSET


class AnswererRoutes(Controller):
    """`/v1/answerers`."""

    path = "/v1/answerers"
    tags = ("Answers",)

    @put(
        "/{type:str}",
        summary="Say which endpoint answers messages of a type",
        description=f"One of {', '.join(f'`{each}`' for each in answerers.TYPES)}. The secret is shown when the answerer is new or a "
        "secret was given, and never again.",
    )
    async def put(
        self,
        type: FromPath[str],  # noqa: A002  as the address calls it
        data: JSONBody[AnswererBody],
        caller: NamedDependency[Caller],
        state: State,
    ) -> Answerer:
        """Create or replace it."""
        wiring, allowed = wiring_of(state), wiring_of(state).settings.tool_hosts
        wanted = AnswererDefinition(type, data.url, data.method, data.timeout_ms, data.secret)
        async with wiring.database.tenant_scope(caller.tenant.id) as connection:
            made = await answerers.put(connection, wiring.keyring, caller.tenant.id, wanted, allowed, caller.actor)
        wiring.tenants.forget(caller.tenant.slug)
        return with_secret(made)

    @get(summary="List answerers")
    async def list(
        self, caller: NamedDependency[Caller], state: State, limit: FromQuery[Limit] = 50, cursor: FromQuery[Cursor] = None
    ) -> Page[Answerer]:
        """By type."""
        after = position(cursor)
        if after is not None and after not in answerers.TYPES:
            raise Invalid.at("/cursor", NOT_OURS)
        async with wiring_of(state).database.tenant_scope(caller.tenant.id) as connection:
            rows = await answerers.list_answerers(connection, caller.tenant.id, after, limit + 1)
        shown_rows, following = page(rows, limit, key="type")
        return Page([shown(row) for row in shown_rows], following)

    @get("/{type:str}", summary="One answerer")
    async def one(self, type: FromPath[str], caller: NamedDependency[Caller], state: State) -> Answerer:  # noqa: A002
        """Without its secret."""
        async with wiring_of(state).database.tenant_scope(caller.tenant.id) as connection:
            return shown(await answerers.answerer(connection, caller.tenant.id, known(type)))

    @delete("/{type:str}", summary="Remove an answerer", description="Messages of its type get the safe answer, or that of the directory.")
    async def remove(self, type: FromPath[str], caller: NamedDependency[Caller], state: State) -> None:  # noqa: A002
        """Forget it and its secrets."""
        wiring = wiring_of(state)
        async with wiring.database.tenant_scope(caller.tenant.id) as connection:
            await answerers.remove(connection, caller.tenant.id, known(type), caller.actor)
        wiring.tenants.forget(caller.tenant.slug)

    @post(
        "/{type:str}/rotate-secret",
        status_code=200,
        summary="Rotate an answerer's signing secret",
        description="Requests are signed with both secrets until the grace ends.",
    )
    async def rotate(
        self,
        type: FromPath[str],  # noqa: A002  as the address calls it
        data: JSONBody[RotateBody],
        caller: NamedDependency[Caller],
        state: State,
    ) -> Answerer:
        """Make a new secret."""
        wiring, tenant = wiring_of(state), caller.tenant
        async with wiring.database.tenant_scope(tenant.id) as connection:
            made = await answerers.rotate(connection, wiring.keyring, tenant.id, known(type), data.grace_seconds, caller.actor)
        wiring.tenants.forget(tenant.slug)
        return with_secret(made)


def known(kind: str) -> str:
    """The type; one that nobody answers is nowhere, whatever stands in it.

    Raises:
        NotFound: it is none.
    """
    if kind not in answerers.TYPES:
        raise NotFound("answerer")
    return kind


def with_secret(made: PutEndpoint) -> Answerer:
    """An answerer at the only time its secret is shown."""
    return msgspec.structs.replace(shown(made.row), secret=made.secret or msgspec.UNSET)


def shown(row: dict[str, Any]) -> Answerer:
    """An answerer as the contract has it."""
    return Answerer(
        type=row["type"],
        url=row["url"],
        method=row["method"],
        timeout_ms=row["timeout_ms"],
        created_at=moment(row["created_at"]) or "",
        updated_at=moment(row["updated_at"]) or "",
    )

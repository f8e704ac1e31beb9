"""Where callers may be put through to."""

from typing import Annotated, Any

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
from tenants import transfer_directory
from tenants.destinations import Destination, StoredDestination
from tenants.hours import Hours
from tenants.transfer_directory import Entry

Sentence = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^[^\x00]*\S[^\x00]*" + END)]
Description = Annotated[str, Meta(max_length=1_000, pattern=r"^[^\x00]*" + END, description="For people.")]


class TransferEntryBody(Body):
    """An entry; what is left out becomes the default again. Without `hours`, or with empty ones, the tenant's own opening hours hold."""

    destination: Annotated[Destination, Meta(examples=[{"type": "number", "number": "+12135550123"}])]
    description: Description = ""
    message: Annotated[Sentence, Meta(description="Spoken before the caller is put through.")] | None = None
    hours: Hours | None = None
    closed_message: Annotated[Sentence, Meta(description="Spoken while it is closed; when it opens again is added.")] | None = None
    is_default: Annotated[bool, Meta(description="Takes callers whose wish names no entry.")] = False


class TransferEntry(Body):
    """An entry."""

    name: str
    destination: Destination
    description: str
    message: str | None
    hours: Hours | None
    closed_message: str | None
    is_default: bool
    created_at: str
    updated_at: str


class TransferDirectoryRoutes(Controller):
    """`/v1/transfer-directory`."""

    path = "/v1/transfer-directory"
    tags = ("Answers",)

    @put("/{name:str}", summary="Say where callers may be put through to", description="A new default takes the place of the old one.")
    async def put(
        self, name: FromPath[str], data: JSONBody[TransferEntryBody], caller: NamedDependency[Caller], state: State
    ) -> TransferEntry:
        """Create or replace the entry."""
        wiring, tenant = wiring_of(state), caller.tenant.id
        wanted = Entry(name, data.destination, data.description, data.message, data.hours, data.closed_message, data.is_default)
        async with wiring.database.tenant_scope(tenant) as connection:
            row = await transfer_directory.put(connection, tenant, wanted, caller.actor)
        wiring.tenants.forget(caller.tenant.slug)
        return shown(row)

    @get(summary="List the transfer directory")
    async def list(
        self, caller: NamedDependency[Caller], state: State, limit: FromQuery[Limit] = 50, cursor: FromQuery[Cursor] = None
    ) -> Page[TransferEntry]:
        """By name."""
        after = position(cursor)
        if after is not None and not transfer_directory.NAME.fullmatch(after):
            raise Invalid.at("/cursor", NOT_OURS)
        async with wiring_of(state).database.tenant_scope(caller.tenant.id) as connection:
            rows = await transfer_directory.list_entries(connection, caller.tenant.id, after, limit + 1)
        shown_rows, following = page(rows, limit, key="name")
        return Page([shown(row) for row in shown_rows], following)

    @get("/{name:str}", summary="One entry of the transfer directory")
    async def one(self, name: FromPath[str], caller: NamedDependency[Caller], state: State) -> TransferEntry:
        """As it is now."""
        async with wiring_of(state).database.tenant_scope(caller.tenant.id) as connection:
            return shown(await transfer_directory.entry(connection, caller.tenant.id, name))

    @delete("/{name:str}", summary="Remove an entry of the transfer directory")
    async def remove(self, name: FromPath[str], caller: NamedDependency[Caller], state: State) -> None:
        """Forget it."""
        wiring = wiring_of(state)
        async with wiring.database.tenant_scope(caller.tenant.id) as connection:
            await transfer_directory.remove(connection, caller.tenant.id, name, caller.actor)
        wiring.tenants.forget(caller.tenant.slug)


def shown(row: dict[str, Any]) -> TransferEntry:
    """An entry as the contract has it."""
    return TransferEntry(
        name=row["name"],
        destination=msgspec.convert(row["destination"], StoredDestination),
        description=row["description"],
        message=row["message"],
        hours=None if row["hours"] is None else msgspec.convert(row["hours"], Hours),
        closed_message=row["closed_message"],
        is_default=row["is_default"],
        created_at=moment(row["created_at"]) or "",
        updated_at=moment(row["updated_at"]) or "",
    )

"""Whom a tenant does not text: who asked it, its senders or Twilio, and whom it put on the list itself."""

from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, delete, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta

from api.callers import Caller
from api.pages import NOT_OURS, Cursor, Limit, Page, page, position
from api.routes.shapes import Body, moment
from api.wiring import wiring_of
from messaging import opt_outs, recipients
from messaging.opt_outs import NOBODY, Place
from runtime.refusals import Invalid, NotFound


class NewOptOut(Body):
    """A person not to be texted: by no sender, or not by the one that is named."""

    to: Annotated[str, Meta(max_length=40, description="E.164, or a US number as people write it.", examples=["+12135550123"])]
    sender_id: UUID | None = None


class OptOut(Body):
    """An entry; `sender_id` is null where it holds for every sender. `source`: `inbound`, `twilio`, `call` or `api`."""

    to: str
    sender_id: UUID | None
    source: str
    created_at: str | None


class OptOutRoutes(Controller):
    """`/v1/opt-outs`."""

    path = "/v1/opt-outs"
    tags = ("Messages",)

    @post(
        summary="Text a person no more",
        description="For every sender, or for the one of `sender_id`. Texts that wait fail before they leave. No START lifts it, since the "
        "tenant said it and not the person; what the person had asked before becomes the tenant's own entry.",
    )
    async def add(self, data: JSONBody[NewOptOut], caller: NamedDependency[Caller], state: State) -> OptOut:
        """Put them on the list; twice is once."""
        try:
            recipient = recipients.parse(data.to, "US").e164
        except recipients.BadNumber as error:
            raise Invalid.at("/to", str(error)) from error
        async with wiring_of(state).database.tenant_scope(caller.tenant.id) as connection:
            return shown(await opt_outs.put(connection, caller.tenant.id, recipient, data.sender_id))

    @get(summary="List who is not texted")
    async def list(
        self,
        caller: NamedDependency[Caller],
        state: State,
        to: FromQuery[str | None] = None,
        sender_id: FromQuery[UUID | None] = None,
        limit: FromQuery[Limit] = 50,
        cursor: FromQuery[Cursor] = None,
    ) -> Page[OptOut]:
        """By number; with `sender_id` what holds for that sender alone."""
        after = place(cursor)
        if to is not None and "\x00" in to:
            return Page([])
        async with wiring_of(state).database.tenant_scope(caller.tenant.id) as connection:
            rows = await opt_outs.list_opt_outs(
                connection, caller.tenant.id, recipient=to, sender_id=sender_id, after=after, limit=limit + 1
            )
        for row in rows:
            row["place"] = f"{row['sender_id'] or NOBODY}{row['recipient']}"
        found, following = page(rows, limit, key="place")
        return Page([shown(row) for row in found], following)

    @delete(
        "/{phone_number:str}",
        summary="Lift an opt-out",
        description="The one that holds for every sender, or with `sender_id` the one of that sender, whoever asked for it: you answer for "
        "having this person's consent again. Twilio's own block stays until they say START.",
    )
    async def remove(
        self, phone_number: FromPath[str], caller: NamedDependency[Caller], state: State, sender_id: FromQuery[UUID | None] = None
    ) -> None:
        """Take them off the list."""
        if "\x00" in phone_number:
            raise NotFound("opt-out")
        async with wiring_of(state).database.tenant_scope(caller.tenant.id) as connection:
            await opt_outs.remove(connection, caller.tenant.id, phone_number, sender_id, caller.actor)


def place(cursor: str | None) -> Place | None:
    """Where the page before ended.

    Raises:
        Invalid: not a cursor of this list.
    """
    found, sender_digits = position(cursor), len(str(NOBODY))
    if found is None:
        return None
    try:
        sender, number = UUID(found[:sender_digits]), found[sender_digits:]
    except ValueError as error:
        raise Invalid.at("/cursor", NOT_OURS) from error
    if not number or "\x00" in number:
        raise Invalid.at("/cursor", NOT_OURS)
    return number, sender


def shown(row: dict[str, Any]) -> OptOut:
    """An entry as the contract has it."""
    return OptOut(row["recipient"], row["sender_id"], row["source"], moment(row["created_at"]))

"""Calls of a tenant, read back; and what is personal about one, forgotten."""

from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote

from litestar import Controller, delete, get
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter

from api.callers import Caller
from api.pages import NOT_OURS, Cursor, Limit, Page, page, position
from api.routes.shapes import Body, decimal_or_none, dollars, instant, moment
from api.routes.usage import From, To
from api.routes.webhooks import Webhook, shown_webhook
from api.wiring import wiring_of
from billing.money import Money
from messaging import outbox
from runtime.refusals import Invalid, NotFound
from webhooks import call_list, records
from webhooks.activity import activity_of
from webhooks.call_records import content_of

DIRECTIONS = {"inboundPhoneCall": "inbound", "outboundPhoneCall": "outbound"}
AT_ONCE = 200  # webhooks and texts that are shown with their call; `links` lead to the rest


class Call(Body):
    """One phone call; what is not known is null, never 0. `estimated` marks seconds that were derived from the messages.

    `reported_by`: `report` (its own report came), `vapi` (none came, and Vapi was asked), `nobody` (Vapi was asked in vain), or null yet.
    `type` is Vapi's word; `created_at`: when it was first heard of.
    """

    call_id: str
    assistant_id: str | None
    state: str
    started_at: str | None
    ended_at: str | None
    seconds: str | None
    estimated: bool
    cost: Money | None
    ended_reason: str | None
    reported_by: str | None
    type: str | None
    direction: str | None
    phone_number_id: str | None
    created_at: str | None


class CallActivity(Body):
    """Messages of a type that comes many times: by their own clock, when the first and the last one was."""

    type: str
    first_at: str
    last_at: str


class CallLinks(Body):
    """Where all of it is listed."""

    webhooks: str
    messages: str


class CallDetail(Call):
    """A call with everything that belongs to it: the newest 200 webhooks and texts, and what the tenant keeps of what is personal.

    `customer` is a number, or three stars and its last digits. `content_kept_until`: when transcript and summary leave. `unreadable` names
    what was sealed with a key that is out of service.
    """

    customer: str | None
    transcript: str | None
    summary: str | None
    content_kept_until: str | None
    forgotten_at: str | None
    unreadable: list[str]
    webhooks: list[Webhook]
    messages: list[dict[str, Any]]
    activity: list[CallActivity]
    warnings: list[str]
    links: CallLinks


class CallRoutes(Controller):
    """`/v1/calls`."""

    path = "/v1/calls"
    tags = ("Calls",)

    @get(summary="List calls")
    async def list(
        self,
        caller: NamedDependency[Caller],
        state: State,
        call_state: Annotated[str | None, QueryParameter(name="state", description="such as in-progress or ended")] = None,
        assistant_id: Annotated[str | None, QueryParameter(description="Vapi's id of the assistant")] = None,
        start: From = None,
        to: To = None,
        limit: FromQuery[Limit] = 50,
        cursor: FromQuery[Cursor] = None,
    ) -> Page[Call]:
        """The newest first, by when they were first heard of, as are `from` and `to`; nothing personal."""
        wanted = call_list.Wanted(
            call_state,
            assistant_id,
            None if start is None else instant("/from", start),
            None if to is None else instant("/to", to),
        )
        async with wiring_of(state).database.tenant_scope(caller.tenant.id) as connection:
            rows = await call_list.list_calls(connection, caller.tenant.id, wanted, call_position(cursor), limit + 1)
        for row in rows:
            row["position"] = f"{row['created_at'].isoformat()} {row['call_id']}"
        found, following = page(rows, limit, "position")
        return Page([Call(**call_fields(row)) for row in found], following)

    @get("/{call_id:str}", summary="One call")
    async def one(self, call_id: FromPath[str], caller: NamedDependency[Caller], state: State) -> CallDetail:
        """With its webhooks and texts."""
        tenant, wiring = caller.tenant.id, wiring_of(state)
        known_text(call_id)
        async with wiring.database.tenant_scope(tenant) as connection:
            row = await call_list.call(connection, tenant, call_id, caller.tenant.privacy)
            content = await content_of(connection, wiring.keyring, tenant, row)
            heard = await records.list_webhooks(connection, tenant, None, call_id, None, None, AT_ONCE)
            texts = await outbox.list_messages(connection, tenant, call_id=call_id, limit=AT_ONCE)
            often = [shown_activity(each) for each in await activity_of(connection, tenant, call_id)]
        named, shown = quote(call_id, safe=""), [shown_webhook(each) for each in heard]
        return CallDetail(
            **call_fields(row),
            customer=content["customer"],
            transcript=content["transcript"],
            summary=content["summary"],
            content_kept_until=moment(content["kept_until"]),
            forgotten_at=moment(row["forgotten_at"]),
            unreadable=content["unreadable"],
            webhooks=shown,
            messages=texts,
            activity=often,
            warnings=sorted({each.warning for each in shown if each.warning}),
            links=CallLinks(f"/v1/webhooks?call_id={named}", f"/v1/messages?call_id={named}"),
        )

    @delete(
        "/{call_id:str}/content",
        summary="Forget what is personal about a call",
        description="Its customer, transcript, summary and kept bodies, and whom its tools reached. They do not come back, whoever tells "
        "them again; the number of a tool call that is still to be done leaves within the hour after it. Figures stay, "
        "and texts that were sent.",
    )
    async def forget(self, call_id: FromPath[str], caller: NamedDependency[Caller], state: State) -> None:
        """At once and for good."""
        known_text(call_id)
        async with wiring_of(state).database.tenant_scope(caller.tenant.id) as connection:
            await call_list.forget(connection, caller.tenant.id, call_id, caller.actor)


def known_text(call_id: str) -> None:
    """No id that we know holds a NUL.

    Raises:
        NotFound: this one does.
    """
    if "\x00" in call_id:
        raise NotFound("call")


def call_position(cursor: str | None) -> tuple[datetime, str] | None:
    """Where the page before ended.

    Raises:
        Invalid: not a cursor of ours.
    """
    found = position(cursor)
    if found is None:
        return None
    created, _, call_id = found.partition(" ")
    try:
        moment_of_it = datetime.fromisoformat(created)
    except ValueError as error:
        raise Invalid.at("/cursor", NOT_OURS) from error
    if "\x00" in call_id:
        raise Invalid.at("/cursor", NOT_OURS)
    return instant("/cursor", moment_of_it), call_id


def shown_activity(row: dict[str, Any]) -> CallActivity:
    """Activity as the contract has it."""
    return CallActivity(row["type"], moment(row["first_at"]) or "", moment(row["last_at"]) or "")


def call_fields(row: dict[str, Any]) -> dict[str, Any]:
    """A call as the contract has it."""
    estimated = row["seconds"] is None and row["estimated_seconds"] is not None
    return {
        "call_id": row["call_id"],
        "assistant_id": row["assistant_id"],
        "state": row["state"],
        "started_at": moment(row["started_at"]),
        "ended_at": moment(row["ended_at"]),
        "seconds": decimal_or_none(row["estimated_seconds"] if estimated else row["seconds"]),
        "estimated": estimated,
        "cost": dollars(row["cost_usd"]),
        "ended_reason": row["ended_reason"],
        "reported_by": row["reported_by"],
        "type": row["call_type"],
        "direction": DIRECTIONS.get(row["call_type"] or ""),
        "phone_number_id": row["phone_number_id"],
        "created_at": moment(row["created_at"]),
    }

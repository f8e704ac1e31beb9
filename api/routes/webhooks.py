"""Webhooks and calls of a tenant, read back."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import Controller, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Meta

from api.callers import Caller
from api.idempotency import IdempotencyKey, parse
from api.pages import NOT_OURS, Cursor, Limit, Page, id_position, page, position
from api.routes.shapes import Body, decimal_or_none, dollars, instant, moment
from api.wiring import wiring_of
from billing.money import Money
from messaging import outbox
from runtime.refusals import Invalid, NotFound
from webhooks import records
from webhooks.activity import activity_of
from webhooks.kinds import warning_of


class Webhook(Body):
    """One delivery of Vapi with the answers it got."""

    id: UUID
    type: str
    call_id: str | None
    assistant_id: str | None
    state: str
    received_at: str | None
    duplicates: int
    results: list[dict[str, Any]]
    message_ids: list[UUID]
    error: str | None
    reason: str | None
    replay_of: UUID | None
    warning: str | None


class Replay(Body):
    """What is wished for: nothing for reports, updates and dead webhooks, `"new"` effects for tool calls that were done."""

    effects: Annotated[Literal["new"] | None, Meta(examples=["new"])] = None


class Call(Body):
    """One phone call; what is not known is null, never 0. `estimated` marks seconds that were derived from the messages.

    `reported_by`: `report` (its own report came), `vapi` (none came, and Vapi was asked), `nobody` (Vapi was asked in vain), or null yet.
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


class CallActivity(Body):
    """Messages of a type that comes many times: by their own clock, when the first and the last one was."""

    type: str
    first_at: str
    last_at: str


class CallDetail(Call):
    """A call with everything that belongs to it."""

    webhooks: list[Webhook]
    messages: list[dict[str, Any]]
    activity: list[CallActivity]
    warnings: list[str]


class WebhookRoutes(Controller):
    """`/v1/webhooks`."""

    path = "/v1/webhooks"
    tags = ("Webhooks",)

    @get(summary="List webhooks")
    async def list(
        self,
        caller: NamedDependency[Caller],
        state: State,
        type: FromQuery[str | None] = None,  # noqa: A002  the contract's parameter
        call_id: FromQuery[str | None] = None,
        webhook_state: Annotated[str | None, QueryParameter(name="state", description="done, failed, in_flight or dead")] = None,
        limit: FromQuery[Limit] = 50,
        cursor: FromQuery[Cursor] = None,
    ) -> Page[Webhook]:
        """The newest first."""
        before = id_position(cursor)
        async with wiring_of(state).database.tenant_scope(caller.tenant.id) as connection:
            rows = await records.list_webhooks(connection, caller.tenant.id, type, call_id, webhook_state, before, limit + 1)
        found, following = page(rows, limit)
        return Page([shown_webhook(row) for row in found], following)

    @get("/{webhook_id:uuid}", summary="One webhook")
    async def one(self, webhook_id: FromPath[UUID], caller: NamedDependency[Caller], state: State) -> Webhook:
        """With the answers it got."""
        async with wiring_of(state).database.tenant_scope(caller.tenant.id) as connection:
            return shown_webhook(await records.webhook(connection, caller.tenant.id, webhook_id))

    @post(
        "/{webhook_id:uuid}/replay",
        status_code=200,
        summary="Handle a webhook again",
        description="Reports and updates are handled again under their own keys (no new usage), dead webhooks are run. Tool calls "
        'that were done are done anew only with `{"effects": "new"}`: billed anew, linked by `replay_of`, audited. 409 while in flight.',
        opt={"once": False},  # the wish's key makes the effects' own keys
    )
    async def replay(
        self,
        webhook_id: FromPath[UUID],
        data: JSONBody[Replay],
        caller: NamedDependency[Caller],
        state: State,
        idempotency_key: IdempotencyKey = None,
    ) -> Webhook:
        """Answers with what came of it: the webhook itself, or the new one."""
        wiring = wiring_of(state)
        wish = None if idempotency_key is None else parse(idempotency_key)
        result = await wiring.replays.replay(caller.tenant, webhook_id, data.effects, caller.actor, wish)
        async with wiring.database.tenant_scope(caller.tenant.id) as connection:
            return shown_webhook(await records.webhook(connection, caller.tenant.id, result))


class CallRoutes(Controller):
    """`/v1/calls`."""

    path = "/v1/calls"
    tags = ("Calls",)

    @get(summary="List calls")
    async def list(
        self, caller: NamedDependency[Caller], state: State, limit: FromQuery[Limit] = 50, cursor: FromQuery[Cursor] = None
    ) -> Page[Call]:
        """The newest first."""
        async with wiring_of(state).database.tenant_scope(caller.tenant.id) as connection:
            rows = await records.list_calls(connection, caller.tenant.id, call_position(cursor), limit + 1)
        for row in rows:
            row["position"] = f"{row['created_at'].isoformat()} {row['call_id']}"
        found, following = page(rows, limit, "position")
        return Page([Call(**call_fields(row)) for row in found], following)

    @get("/{call_id:str}", summary="One call")
    async def one(self, call_id: FromPath[str], caller: NamedDependency[Caller], state: State) -> CallDetail:
        """With its webhooks and texts."""
        tenant = caller.tenant.id
        if "\x00" in call_id:
            raise NotFound("call")
        async with wiring_of(state).database.tenant_scope(tenant) as connection:
            row = await records.call(connection, tenant, call_id)
            heard = await records.list_webhooks(connection, tenant, None, call_id, None, None, 200)
            texts = await outbox.list_messages(connection, tenant, call_id=call_id, limit=200)
            often = [shown_activity(each) for each in await activity_of(connection, tenant, call_id)]
        shown = [shown_webhook(each) for each in heard]
        warnings = sorted({each.warning for each in shown if each.warning})
        return CallDetail(**call_fields(row), webhooks=shown, messages=texts, activity=often, warnings=warnings)


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


def shown_webhook(row: dict[str, Any]) -> Webhook:
    """A webhook as the contract has it."""
    return Webhook(**{**row, "received_at": moment(row["received_at"]), "warning": warning_of(row["type"])})


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
    }

"""Webhooks and calls of a tenant, read back."""

from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import Controller, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Meta

from api.callers import Caller
from api.idempotency import IdempotencyKey, parse
from api.pages import Cursor, Limit, Page, id_position, page
from api.routes.shapes import Body, moment
from api.wiring import wiring_of
from webhooks import records
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


def shown_webhook(row: dict[str, Any]) -> Webhook:
    """A webhook as the contract has it."""
    return Webhook(**{**row, "received_at": moment(row["received_at"]), "warning": warning_of(row["type"])})

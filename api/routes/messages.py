"""Messages of a tenant: queued, listed, cancelled."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Controller, Response, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, HeaderParameter, JSONBody
from msgspec import Meta

from api.callers import Caller
from api.idempotency import request_key
from api.pages import Cursor, Limit, Page, id_position, page
from api.routes.shapes import Body
from api.wiring import Wiring, wiring_of
from messaging import outbox
from messaging.acceptance import AcceptedText, BadText, accept_text
from runtime import clock
from runtime.ids import uuid7
from runtime.refusals import Conflict, Forbidden, Invalid, Unavailable, Unprocessable
from webhooks.claims import Effect

OPERATION = "POST /v1/messages"
OPTED_OUT = {"error": "opted_out"}
Status = Literal["scheduled", "queued", "sending", "unknown", "sent", "delivered", "undelivered", "failed", "canceled", "held"]
IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key", description="The same key gets the same answer for at least 72 hours; the effect happens once."
    ),
]


class NewMessage(Body):
    """A text to one person."""

    to: Annotated[str, Meta(max_length=40, description="E.164, or a US number as people write it.", examples=["+12135550123"])]
    body: Annotated[str, Meta(description="1 to 1,600 characters.", examples=["See you Tuesday at 3 PM. Reply STOP to opt out."])]
    send_at: datetime | None = None
    class_: Literal["otp", "transactional", "marketing"] = msgspec.field(default="transactional", name="class")
    sender_id: UUID | None = None


class Queued(Body):
    """What was accepted; `expected_at` is when it should leave."""

    id: UUID
    status: str
    segments: int
    expected_at: str


class MessageRoutes(Controller):
    """`/v1/messages`."""

    path = "/v1/messages"
    tags = ("Messages",)

    @post(status_code=202, summary="Queue a text", description="Stored before it is answered; it leaves at the registration's pace.")
    async def create(
        self, data: JSONBody[NewMessage], caller: NamedDependency[Caller], state: State, idempotency_key: IdempotencyKey = None
    ) -> Response[Queued]:
        """Accept a text, once for each Idempotency-Key."""
        wiring = wiring_of(state)
        if caller.tenant.status != "active":
            raise Forbidden("This tenant is suspended; nothing is accepted until the operator resumes it.")
        key, fingerprint = request_key(OPERATION, idempotency_key, data)
        try:
            text = accept_text(caller.tenant, data.to, data.body, message_class=data.class_, send_at=data.send_at, sender_id=data.sender_id)
        except BadText as error:
            if not error.final:
                raise Conflict(str(error)) from error
            raise Invalid.at(error.pointer, str(error)) from error
        return await self._claim(wiring, caller, key, fingerprint, text)

    async def _claim(self, wiring: Wiring, caller: Caller, key: bytes, fingerprint: bytes, text: AcceptedText) -> Response[Queued]:
        queued = Queued(text.id, "scheduled" if text.due_at else "queued", text.segments, clock.rfc3339(text.expected_at))
        effect = Effect(
            webhook_id=uuid7(),
            place=0,
            source="api",
            type=OPERATION,
            key=key.hex(),
            fingerprint=fingerprint.hex(),
            answer=msgspec.json.encode(queued).decode(),
            suppressed_answer=msgspec.json.encode(OPTED_OUT).decode(),
            name=OPERATION,
            message=text.as_effect(),
        )
        (claimed,) = await wiring.claims.accept(caller.tenant.id, [effect])
        if claimed.outcome == "conflict":
            raise Unprocessable("This Idempotency-Key was used before with another body.")
        if claimed.answer is None:
            raise Unavailable
        answer = msgspec.json.decode(claimed.answer)
        if answer == OPTED_OUT:
            raise Conflict("This person asked not to be texted, so nothing was sent.")
        if claimed.outcome == "new":
            wiring.wake.publish()
        replayed = {"Idempotent-Replayed": "true"} if claimed.outcome == "replay" else None
        return Response(msgspec.convert(answer, Queued), status_code=202, headers=replayed)

    @get(summary="List texts")
    async def list(
        self,
        caller: NamedDependency[Caller],
        state: State,
        status: FromQuery[Status | None] = None,
        to: FromQuery[str | None] = None,
        call_id: FromQuery[str | None] = None,
        limit: FromQuery[Limit] = 50,
        cursor: FromQuery[Cursor] = None,
    ) -> Page[dict[str, Any]]:
        """The newest first."""
        before = id_position(cursor)
        async with wiring_of(state).database.tenant_scope(caller.tenant.id) as connection:
            rows = await outbox.list_messages(
                connection, caller.tenant.id, status=status, to=to, call_id=call_id, limit=limit + 1, before=before
            )
        found, following = page(rows, limit)
        return Page(list(found), following)

    @get("/{message_id:uuid}", summary="One text with its history")
    async def one(self, message_id: FromPath[UUID], caller: NamedDependency[Caller], state: State) -> dict[str, Any]:
        """What happened to it."""
        async with wiring_of(state).database.tenant_scope(caller.tenant.id) as connection:
            return await outbox.get_message(connection, caller.tenant.id, message_id)

    @post("/{message_id:uuid}/cancel", status_code=200, summary="Cancel a text", description="While it waits; 409 once it is on its way.")
    async def cancel(self, message_id: FromPath[UUID], caller: NamedDependency[Caller], state: State) -> dict[str, Any]:
        """Take it back."""
        async with wiring_of(state).database.tenant_scope(caller.tenant.id) as connection:
            await outbox.cancel_message(connection, caller.tenant.id, message_id)
            return await outbox.get_message(connection, caller.tenant.id, message_id)

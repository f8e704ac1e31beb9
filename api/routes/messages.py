"""Messages of a tenant: queued, listed, cancelled."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Controller, Response, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta

from api.callers import Caller
from api.idempotency import IdempotencyKey, request_key
from api.once import OPT_KEY
from api.pages import Cursor, Limit, Page, id_position, page
from api.routes.shapes import Body
from api.wiring import Wiring, wiring_of
from messaging import outbox
from messaging.acceptance import AcceptedText, BadText, QueueFull, accept_text
from runtime import clock
from runtime.ids import uuid7
from runtime.refusals import Conflict, Forbidden, Invalid, Refusal, TooMany, Unavailable, Unprocessable
from tenants.snapshot import Snapshot
from webhooks.claims import Claimed, Effect
from webhooks.modes import mode_of

OPERATION = "POST /v1/messages"
OPTED_OUT = {"error": "opted_out"}
Status = Literal["scheduled", "queued", "sending", "unknown", "sent", "delivered", "undelivered", "failed", "canceled", "held"]


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

    @post(
        status_code=202,
        summary="Queue a text",
        description="Stored before it is answered; it leaves at the registration's pace.",
        opt={OPT_KEY: False},  # its key is claimed in the one round trip that stores the text
    )
    async def create(
        self, data: JSONBody[NewMessage], caller: NamedDependency[Caller], state: State, idempotency_key: IdempotencyKey = None
    ) -> Response[Queued]:
        """Accept a text, once for each Idempotency-Key."""
        wiring = wiring_of(state)
        key, fingerprint = request_key(OPERATION, idempotency_key, data)
        return answer_to(await accept_once(wiring, caller.tenant, OPERATION, key, fingerprint, data))

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


async def accept_once(wiring: Wiring, tenant: Snapshot, operation: str, key: bytes, fingerprint: bytes, wanted: NewMessage) -> Claimed:
    """Store a text, once for each key, and wake a worker.

    Raises:
        Refusal: it cannot be sent now, and was not accepted before.
    """
    try:
        effect = effect_of(operation, key, fingerprint, accepted(tenant, wanted))
    except Refusal:
        # what was accepted stays so, though it would be refused by now: its time has come, its tenant is suspended
        (claimed,) = await wiring.claims.accept(tenant.id, [effect_of(operation, key, fingerprint, None)], mode_of(tenant))
        if claimed.outcome == "absent":
            raise
        return claimed
    (claimed,) = await wiring.claims.accept(tenant.id, [effect], mode_of(tenant))
    if claimed.outcome not in ("replay", "conflict") and claimed.message_id is not None and effect.message is not None:
        tenant.note_accepted(effect.message)
        wiring.wake.publish()
    return claimed


def accepted(tenant: Snapshot, wanted: NewMessage) -> AcceptedText:
    """The text as it will be stored.

    Raises:
        Refusal: this tenant may not send it now, or nobody could.
    """
    if tenant.status != "active":
        raise Forbidden("This tenant is suspended; nothing is accepted until the operator resumes it.")
    try:
        return accept_text(tenant, wanted.to, wanted.body, message_class=wanted.class_, send_at=wanted.send_at, sender_id=wanted.sender_id)
    except QueueFull as error:
        raise TooMany(error.detail, error.retry_after) from error
    except BadText as error:
        raise (Invalid.at(error.pointer, str(error)) if error.final else Conflict(str(error))) from error


def effect_of(operation: str, key: bytes, fingerprint: bytes, text: AcceptedText | None) -> Effect:
    """A text as an effect to claim; without one only a stored answer is looked for."""
    queued = Queued(text.id, status_of(text), text.segments, clock.rfc3339(text.expected_at)) if text else None
    return Effect(
        webhook_id=uuid7(),
        place=0,
        source="api",
        type=operation,
        key=key.hex(),
        fingerprint=fingerprint.hex(),
        answer=msgspec.json.encode(queued).decode(),
        store=text is not None,
        suppressed_answer=msgspec.json.encode(OPTED_OUT).decode(),
        name=operation,
        message=text.as_effect() if text else None,
    )


def status_of(text: AcceptedText) -> str:
    """What the text is waiting for: its time, the end of a hold, or its turn."""
    if text.due_at is not None:
        return "scheduled"
    return "held" if text.held else "queued"


def answer_to(claimed: Claimed) -> Response[Queued]:
    """What the caller gets.

    Raises:
        Unprocessable: the key was used for something else. Conflict: this person asked not to be texted.
    """
    if claimed.outcome == "conflict":
        raise Unprocessable("This Idempotency-Key was used before with another body.")
    if claimed.answer is None:
        raise Unavailable
    answer = msgspec.json.decode(claimed.answer)
    if answer == OPTED_OUT:
        raise Conflict("This person asked not to be texted, so nothing was sent.")
    replayed = {"Idempotent-Replayed": "true"} if claimed.outcome == "replay" else None
    return Response(msgspec.convert(answer, Queued), status_code=202, headers=replayed)

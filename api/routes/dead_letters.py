"""Texts that ended without arriving: listed, and sent again."""

from typing import Any
from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from api.callers import Caller
from api.once import OPT_KEY
from api.pages import Cursor, Limit, Page, id_position, page
from api.routes.messages import NewMessage, Queued, accept_once, answer_to
from api.wiring import wiring_of
from messaging import dead_letters
from webhooks import keys

OPERATION = "POST /v1/messages/{message_id}/resend"


class DeadLetterRoutes(Controller):
    """`/v1/dead-letters` and the way back."""

    path = "/v1"
    tags = ("Messages",)

    @get("/dead-letters", summary="List texts that did not arrive")
    async def list(
        self,
        caller: NamedDependency[Caller],
        state: State,
        error_class: FromQuery[str | None] = None,
        limit: FromQuery[Limit] = 50,
        cursor: FromQuery[Cursor] = None,
    ) -> Page[dict[str, Any]]:
        """The newest first, each with its reason and what can be done about it."""
        before = id_position(cursor)
        async with wiring_of(state).database.tenant_scope(caller.tenant.id) as connection:
            rows = await dead_letters.list_dead(connection, caller.tenant.id, error_class=error_class, limit=limit + 1, before=before)
        found, following = page(rows, limit)
        return Page(list(found), following)

    @post(
        "/messages/{message_id:uuid}/resend",
        status_code=202,
        summary="Send a text again",
        description="A new text with the same words, once for each text that ended: a second call gives the first one's answer.",
        opt={OPT_KEY: False},  # the text that ended is its key
    )
    async def resend(self, message_id: FromPath[UUID], caller: NamedDependency[Caller], state: State) -> Response[Queued]:
        """Accept the same words anew, under today's rules."""
        wiring, tenant = wiring_of(state), caller.tenant
        async with wiring.database.tenant_scope(tenant.id) as connection:
            ended = await dead_letters.to_send_again(connection, tenant.id, message_id)
        wanted = NewMessage(to=ended["recipient"], body=ended["body"], class_=ended["class"], sender_id=ended["sender_id"])
        key = keys.api_key(OPERATION, str(message_id))
        return answer_to(await accept_once(wiring, tenant, OPERATION, key, keys.digest(str(message_id)), wanted))

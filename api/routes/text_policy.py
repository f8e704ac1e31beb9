"""What the texts of a tenant's calls may be, and those that were refused."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Controller, get, put
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromQuery, JSONBody

from api.callers import Caller
from api.pages import Cursor, Limit, Page, id_position, page
from api.routes.shapes import Body, moment
from api.wiring import wiring_of
from messaging import text_refusals
from tenants import text_policy
from tenants.text_policy import TextPolicy


class ShownPolicy(TextPolicy, frozen=True):
    """The policy, and how many texts it refused in the last 30 days, by reason."""

    refused: Annotated[dict[str, int], msgspec.Meta(examples=[{"destination": 2, "call_limit": 1}])] = msgspec.field(default_factory=dict)


class TextRefusal(Body):
    """A text that was not accepted: destination, premium, link, call_limit or recipient_limit. Neither number nor text is kept."""

    id: UUID
    at: str | None
    reason: str
    call_id: str | None
    tool: str


class TextPolicyRoutes(Controller):
    """`/v1/text-policy`."""

    path = "/v1/text-policy"
    tags = ("Messages",)

    @get(summary="What the texts of calls may be, and how many were refused")
    async def read(self, caller: NamedDependency[Caller], state: State) -> ShownPolicy:
        """The usual policy while nobody has said any."""
        async with wiring_of(state).database.tenant_scope(caller.tenant.id) as connection:
            policy = await text_policy.read(connection, caller.tenant.id)
            return shown(policy, await text_refusals.counts(connection, caller.tenant.id))

    @put(
        summary="Say what the texts of calls may be",
        description="For texts that a model asks for (tool `send_sms`), not for POST /v1/messages. `destinations`: `caller_or_country` "
        "(the caller, or a number of the tenant's country; the US and its territories count as one, Canada is another), `caller`, "
        "`countries`, `anyone`; premium-rate numbers never. A call has at most `texts_per_call`, a recipient at most "
        "`texts_per_recipient_day` in the tenant's day. With `link_hosts` every link must lead to one of these hosts or under it. "
        "What is left out is as usual.",
    )
    async def change(self, data: JSONBody[TextPolicy], caller: NamedDependency[Caller], state: State) -> TextPolicy:
        """All of it at once, for what is asked for from now on; answers with it as it is kept."""
        wiring, tenant = wiring_of(state), caller.tenant
        async with wiring.database.tenant_scope(tenant.id) as connection:
            kept = await text_policy.change(connection, tenant.id, caller.actor, data)
        wiring.tenants.forget(tenant.slug)
        return kept


class TextRefusalRoutes(Controller):
    """`/v1/text-refusals`."""

    path = "/v1/text-refusals"
    tags = ("Messages",)

    @get(summary="List the texts that the policy refused")
    async def list(
        self,
        caller: NamedDependency[Caller],
        state: State,
        call_id: FromQuery[str | None] = None,
        limit: FromQuery[Limit] = 50,
        cursor: FromQuery[Cursor] = None,
    ) -> Page[TextRefusal]:
        """The newest first; those of the last 30 days are kept."""
        before = id_position(cursor)
        async with wiring_of(state).database.tenant_scope(caller.tenant.id) as connection:
            rows = await text_refusals.newest(connection, caller.tenant.id, call_id, before, limit + 1)
        found, following = page(rows, limit)
        return Page([shown_refusal(row) for row in found], following)


def shown(policy: TextPolicy, refused: dict[str, int]) -> ShownPolicy:
    """The policy with its counts."""
    return ShownPolicy(**msgspec.structs.asdict(policy), refused=refused)


def shown_refusal(row: Any) -> TextRefusal:
    """A refusal as the contract has it."""
    return TextRefusal(row["id"], moment(row["at"]), row["reason"], row["call_id"], row["tool"])

"""The bodies of webhooks that were kept."""

from typing import Any
from uuid import UUID

import msgspec
from litestar import Controller, get
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath

from api.callers import Caller
from api.wiring import wiring_of
from runtime.refusals import NotFound
from webhooks.bodies import body_of


class BodyRoutes(Controller):
    """`/v1/webhooks/{webhook_id}/body`."""

    path = "/v1/webhooks/{webhook_id:uuid}/body"
    tags = ("Webhooks",)

    @get(summary="What a webhook said, without its secrets")
    async def read(self, webhook_id: FromPath[UUID], caller: NamedDependency[Caller], state: State) -> dict[str, Any]:
        """Kept of failures and unknown types, or of all, as `/v1/retention` says; 404 where it was not kept or its days are over."""
        async with wiring_of(state).database.tenant_scope(caller.tenant.id) as connection:
            found = await body_of(connection, caller.tenant.id, webhook_id)
        if found is None:
            raise NotFound("kept body")
        shown: dict[str, Any] = msgspec.json.decode(found)
        return shown

"""How long a tenant's keys and kept bodies live."""

from typing import Annotated

import msgspec
from litestar import Controller, get, put
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import JSONBody

from api.callers import Caller
from api.routes.shapes import Body
from api.wiring import wiring_of
from tenants import retention


class Retention(Body):
    """Keys live in hours (72 to 8784), bodies in days (7, 30 or 90) and no longer than keys (168, 720 or 2160 hours at least).

    Bodies are kept of failures and unknown types, or of all webhooks.
    """

    keys_hours: Annotated[int, msgspec.Meta(examples=[720])]
    bodies_days: Annotated[int, msgspec.Meta(examples=[30])]
    capture: Annotated[str, msgspec.Meta(examples=["failures"])]


class RetentionRoutes(Controller):
    """`/v1/retention`."""

    path = "/v1/retention"
    tags = ("Webhooks",)

    @get(summary="How long keys and bodies are kept")
    async def read(self, caller: NamedDependency[Caller], state: State) -> Retention:
        """As it is now."""
        async with wiring_of(state).database.unscoped() as connection:  # unscoped: a tenant's retention stands in the schema control
            return Retention(**await retention.read(connection, caller.tenant.id))

    @put(summary="Change how long keys and bodies are kept")
    async def change(self, data: JSONBody[Retention], caller: NamedDependency[Caller], state: State) -> Retention:
        """Keys already there follow within the hour; bodies already kept keep the class they were kept in."""
        wiring, tenant = wiring_of(state), caller.tenant
        async with wiring.database.unscoped() as connection:  # unscoped: a tenant's retention stands in the schema control
            await retention.change(connection, tenant.id, caller.actor, **msgspec.structs.asdict(data))
        wiring.tenants.forget(tenant.slug)
        return data

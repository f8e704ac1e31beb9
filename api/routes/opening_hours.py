"""When a tenant is open, in its own wall time."""

from litestar import Controller, get, put
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import JSONBody

from api.callers import Caller
from api.wiring import wiring_of
from tenants import opening_hours
from tenants.hours import Hours


class OpeningHoursRoutes(Controller):
    """`/v1/opening-hours`."""

    path = "/v1/opening-hours"
    tags = ("Tools",)

    @get(summary="When the tenant is open")
    async def read(self, caller: NamedDependency[Caller], state: State) -> Hours:
        """Empty while nobody has said it."""
        async with wiring_of(state).database.tenant_scope(caller.tenant.id) as connection:
            return await opening_hours.read(connection, caller.tenant.id)

    @put(
        summary="Say when the tenant is open",
        description="Spans of wall time by day of the week, and by date where a day is otherwise; a day without spans is closed. "
        "What closes at or before it opens closes on the day after.",
    )
    async def change(self, data: JSONBody[Hours], caller: NamedDependency[Caller], state: State) -> Hours:
        """All of them at once."""
        wiring, tenant = wiring_of(state), caller.tenant
        async with wiring.database.tenant_scope(tenant.id) as connection:
            await opening_hours.change(connection, tenant.id, caller.actor, data)
        wiring.tenants.forget(tenant.slug)
        return data

"""When a tenant's texts may leave, beyond what the law says."""

from litestar import Controller, get, put
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import JSONBody

from api.callers import Caller
from api.wiring import wiring_of
from tenants import quiet_hours
from tenants.quiet_hours import QuietHours


class QuietHoursRoutes(Controller):
    """`/v1/quiet-hours`."""

    path = "/v1/quiet-hours"
    tags = ("Messages",)

    @get(summary="When texts may leave, beyond the law's hours")
    async def read(self, caller: NamedDependency[Caller], state: State) -> QuietHours:
        """Empty hours while nobody has said any: the law's alone hold."""
        async with wiring_of(state).database.tenant_scope(caller.tenant.id) as connection:
            return await quiet_hours.read(connection, caller.tenant.id)

    @put(
        summary="Say when texts may leave",
        description="Spans of the recipient's wall time by day of the week, and by date, for texts of `classes`; a day without spans has "
        "none. They hold beside the US rules for marketing, wherever the recipient is. What falls outside leaves in the first minute "
        "that is allowed. Codes (class `otp`) are never held. Empty hours take them back.",
    )
    async def change(self, data: JSONBody[QuietHours], caller: NamedDependency[Caller], state: State) -> QuietHours:
        """All of them at once; texts that wait already are judged by them before they leave."""
        wiring, tenant = wiring_of(state), caller.tenant
        async with wiring.database.tenant_scope(tenant.id) as connection:
            await quiet_hours.change(connection, tenant.id, caller.actor, data)
        wiring.tenants.forget(tenant.slug)
        return data

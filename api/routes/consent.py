"""Whom a person's STOP stops."""

from litestar import Controller, get, put
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import JSONBody

from api.callers import Caller
from api.wiring import wiring_of
from messaging import consent
from messaging.consent import Consent


class ConsentRoutes(Controller):
    """`/v1/consent`."""

    path = "/v1/consent"
    tags = ("Messages",)

    @get(summary="Whom a STOP stops")
    async def read(self, caller: NamedDependency[Caller], state: State) -> Consent:
        """As it is now; `tenant` while nobody has said otherwise."""
        async with wiring_of(state).database.tenant_scope(caller.tenant.id) as connection:
            return await consent.read(connection, caller.tenant.id)

    @put(
        summary="Say whom a STOP stops",
        description="`tenant`: a STOP to any sender stops all texts of the tenant, and a START takes that back. `sender`: both concern the "
        "number, or the pool of the Messaging Service, that they were sent to. From `sender` to `tenant`, all that was asked of one "
        "sender counts for the tenant from then on; the way back undoes nothing. An empty body means `tenant`.",
    )
    async def change(self, data: JSONBody[Consent], caller: NamedDependency[Caller], state: State) -> Consent:
        """It holds for the next STOP."""
        async with wiring_of(state).database.tenant_scope(caller.tenant.id) as connection:
            await consent.change(connection, caller.tenant.id, caller.actor, data)
        return data

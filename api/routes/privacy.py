"""What a tenant keeps of the people on the phone."""

from typing import Annotated

import msgspec
from litestar import Controller, get, put
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import JSONBody

from api.callers import Caller
from api.routes.shapes import Body
from api.wiring import wiring_of
from tenants import privacy


class PrivacySetting(Body):
    """Of each call: the customer's number `encrypted`, `masked` (its last four digits) or `none`; the transcript; the summary."""

    customer: Annotated[privacy.Customer, msgspec.Meta(examples=["masked"])]
    transcripts: Annotated[bool, msgspec.Meta(examples=[False])]
    summaries: Annotated[bool, msgspec.Meta(examples=[False])]


class PrivacyChange(PrivacySetting):
    """With `forget_kept`, what was kept so far and the setting does not keep any more is forgotten within the hour."""

    forget_kept: Annotated[bool, msgspec.Meta(examples=[False])] = False


class PrivacyRoutes(Controller):
    """`/v1/privacy`."""

    path = "/v1/privacy"
    tags = ("Calls",)

    @get(summary="What is kept of the people on the phone")
    async def read(self, caller: NamedDependency[Caller], state: State) -> PrivacySetting:
        """As it is now."""
        async with wiring_of(state).database.unscoped() as connection:  # unscoped: a tenant's privacy stands in the schema control
            return PrivacySetting(**msgspec.structs.asdict(await privacy.read(connection, caller.tenant.id)))

    @put(
        summary="Change what is kept of the people on the phone",
        description="For calls whose messages come from now on; what was kept stays, unless `forget_kept` asks the clean-up to forget what "
        "this setting would not have kept: bodies kept before leave whole. A tool call's own number stays with its key, and leaves by "
        "`forget_kept` with `none`. Transcripts and summaries leave in any case after the tenant's `bodies_days`.",
    )
    async def change(self, data: JSONBody[PrivacyChange], caller: NamedDependency[Caller], state: State) -> PrivacySetting:
        """Every process follows within two seconds."""
        wiring, tenant = wiring_of(state), caller.tenant
        wanted = privacy.Privacy(data.customer, data.transcripts, data.summaries)
        async with wiring.database.unscoped() as connection:  # unscoped: a tenant's privacy stands in the schema control
            await privacy.change(connection, tenant.id, caller.actor, wanted, forget_kept=data.forget_kept)
        wiring.tenants.forget(tenant.slug)
        return PrivacySetting(data.customer, data.transcripts, data.summaries)

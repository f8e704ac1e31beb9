"""The tools as ready JSON for a Vapi assistant."""

from typing import Annotated, Any

from litestar import get
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromQuery
from msgspec import Meta

from api.callers import Caller
from api.routes.assistants import webhook_url
from api.wiring import wiring_of
from tenants import http_tools
from webhooks.tool_descriptions import described

CallerOnly = Annotated[bool, Meta(description="send_sms texts the caller alone: the model is not asked for a number.")]


@get(
    "/v1/tools.json",
    tags=["Tools"],
    summary="The tools as ready JSON for a Vapi assistant",
    description="As `model.tools` of a Vapi assistant takes them: our tools, and those of the tenant's own that have a description.",
)
async def published_tools(
    caller: NamedDependency[Caller], state: State, caller_only: FromQuery[CallerOnly] = False
) -> list[dict[str, Any]]:
    """Each calls the tenant's webhook."""
    wiring, tenant = wiring_of(state), caller.tenant
    async with wiring.database.tenant_scope(tenant.id) as connection:
        own = await http_tools.list_tools(connection, tenant.id, None, http_tools.MOST_TOOLS)
    return described(tenant, webhook_url(wiring, tenant.slug), own, caller_only=caller_only)

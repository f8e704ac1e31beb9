"""The tools as ready JSON for a Vapi assistant."""

from typing import Annotated, Any

from litestar import get
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter

from api.callers import Caller
from api.routes.assistants import webhook_url
from api.routes.shapes import END
from api.wiring import wiring_of
from tenants import http_tools
from webhooks.tool_descriptions import described

CallerOnly = Annotated[bool, QueryParameter(description="send_sms texts the caller alone: the model is not asked for a number.")]
CredentialId = Annotated[
    str | None,
    QueryParameter(
        max_length=64,
        pattern=r"^[A-Za-z0-9_-]+" + END,
        description="The id at Vapi of the credential with which the tools call us; a tool does not inherit the assistant's.",
    ),
]


@get(
    "/v1/tools.json",
    tags=["Tools"],
    summary="The tools as ready JSON for a Vapi assistant",
    description="As `model.tools` of a Vapi assistant takes them: our tools, and those of the tenant's own that have a description.",
)
async def published_tools(
    caller: NamedDependency[Caller],
    state: State,
    caller_only: FromQuery[CallerOnly] = False,
    credential_id: FromQuery[CredentialId] = None,
) -> list[dict[str, Any]]:
    """Each calls the tenant's webhook."""
    wiring, tenant = wiring_of(state), caller.tenant
    async with wiring.database.tenant_scope(tenant.id) as connection:
        own = await http_tools.list_tools(connection, tenant.id, None, http_tools.MOST_TOOLS)
    server = None if credential_id is None else {"credentialId": credential_id}
    return described(tenant, webhook_url(wiring, tenant.slug), own, server=server, caller_only=caller_only)

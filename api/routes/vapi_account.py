"""The tenant's own key at Vapi."""

from typing import Annotated, Any

from litestar import Controller, delete, get, put
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import Meta

from api.callers import Caller
from api.routes.shapes import END, Body, moment
from api.wiring import wiring_of
from tenants import vapi_accounts
from webhooks import late_reports

ApiKey = Annotated[
    str,
    Meta(
        min_length=16,  # its last characters are shown
        max_length=200,
        pattern=r"^[\x21-\x7e]+" + END,
        description="A private key of the tenant's organisation at Vapi.",
        examples=["00000000-0000-4000-8000-000000000000"],
    ),
]


class VapiAccountBody(Body):
    """The key; it never comes back."""

    api_key: ApiKey


class VapiAccount(Body):
    """The last characters of the key, and since when it is the one."""

    hint: str
    updated_at: str | None


class VapiAccountRoutes(Controller):
    """`/v1/vapi`."""

    path = "/v1/vapi"
    tags = ("Assistants",)

    @put(
        summary="Set the tenant's Vapi key",
        description="Calls whose report never came are asked about with it. Those that were asked about in vain are asked about again.",
    )
    async def put_key(self, data: JSONBody[VapiAccountBody], caller: NamedDependency[Caller], state: State) -> VapiAccount:
        """Set or renew it."""
        wiring, tenant = wiring_of(state), caller.tenant.id
        async with wiring.database.tenant_scope(tenant) as connection:
            row = await vapi_accounts.put_account(connection, wiring.keyring, tenant, data.api_key, caller.actor)
            await late_reports.ask_again(connection, tenant)
        return shown(row)

    @get(summary="Whether a Vapi key is set")
    async def one(self, caller: NamedDependency[Caller], state: State) -> VapiAccount:
        """Its last characters."""
        async with wiring_of(state).database.tenant_scope(caller.tenant.id) as connection:
            return shown(await vapi_accounts.account_row(connection, caller.tenant.id))

    @delete(summary="Forget the tenant's Vapi key")
    async def remove(self, caller: NamedDependency[Caller], state: State) -> None:
        """It is used within two seconds no more."""
        async with wiring_of(state).database.tenant_scope(caller.tenant.id) as connection:
            await vapi_accounts.remove(connection, caller.tenant.id, caller.actor)


def shown(row: dict[str, Any]) -> VapiAccount:
    """As the contract has it."""
    return VapiAccount(hint=row["hint"], updated_at=moment(row["updated_at"]))

"""The credential that every assistant of a tenant may present, beside those of single assistants."""

import msgspec
from litestar import Controller, delete, get, post, put
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import JSONBody

from api.callers import Caller
from api.routes.assistants import DAY, Grace, webhook_url
from api.routes.auth_shapes import Auth, AuthRequest, shown_auth
from api.routes.shapes import Body, moment
from api.wiring import Wiring, wiring_of
from tenants import credentials
from tenants.credentials import Credential, Made
from webhooks.refusals import LastRefusal


class PutBody(Body):
    """The credential; the one before it stays valid for the grace."""

    auth: AuthRequest
    grace_seconds: Grace = DAY


class RotateBody(Body):
    """How to rotate its secret."""

    grace_seconds: Grace = DAY


class WebhookCredential(Body):
    """The credential; `last_refused` is the last delivery of the tenant whose credential did not hold, whichever one it presented."""

    webhook_url: str
    auth: Auth | None
    created_at: str | None
    last_refused: LastRefusal | None = None


class WebhookCredentialRoutes(Controller):
    """`/v1/webhook-credential`."""

    path = "/v1/webhook-credential"
    tags = ("Assistants",)

    @get(summary="The tenant's webhook credential", description="Without its secret; `auth` is null where the tenant has none.")
    async def one(self, caller: NamedDependency[Caller], state: State) -> WebhookCredential:
        """What is set, and when a delivery was refused last."""
        wiring = wiring_of(state)
        async with wiring.database.tenant_scope(caller.tenant.id) as connection:
            found = await credentials.current(connection, caller.tenant.id, None)
        return msgspec.structs.replace(shown(wiring, caller, found), last_refused=await wiring.refused.last_of(caller.tenant.id))

    @put(
        summary="Set the tenant's webhook credential",
        description="The options are those of Vapi's credential. The secret is shown when it is new; without one in the body the tenant "
        "keeps the one it has, as long as it fits. What was valid before stays so for the grace.",
    )
    async def put(self, data: JSONBody[PutBody], caller: NamedDependency[Caller], state: State) -> WebhookCredential:
        """Set or change it."""
        wiring, auth = wiring_of(state), data.auth
        async with wiring.database.tenant_scope(caller.tenant.id) as connection:
            made = await credentials.put(
                connection, wiring.keyring, caller.tenant.id, auth.plan(), auth.given, data.grace_seconds, caller.actor
            )
        wiring.tenants.forget(caller.tenant.slug)
        return shown(wiring, caller, made)

    @post(
        "/rotate",
        status_code=200,
        summary="Rotate the secret",
        description="The new secret works within two seconds everywhere; the old one ends after the grace.",
    )
    async def rotate(self, data: JSONBody[RotateBody], caller: NamedDependency[Caller], state: State) -> WebhookCredential:
        """Make a new secret under the same options."""
        wiring = wiring_of(state)
        async with wiring.database.tenant_scope(caller.tenant.id) as connection:
            made = await credentials.rotate(connection, wiring.keyring, caller.tenant.id, data.grace_seconds, caller.actor)
        wiring.tenants.forget(caller.tenant.slug)
        return shown(wiring, caller, made)

    @delete(summary="Forget the tenant's webhook credential", description="It ends at once; those of single assistants stay.")
    async def remove(self, caller: NamedDependency[Caller], state: State) -> None:
        """End it, and those before it."""
        wiring = wiring_of(state)
        async with wiring.database.tenant_scope(caller.tenant.id) as connection:
            await credentials.remove(connection, caller.tenant.id, caller.actor)
        wiring.tenants.forget(caller.tenant.slug)


def shown(wiring: Wiring, caller: Caller, found: Credential | Made | None) -> WebhookCredential:
    """As the contract has it."""
    url = webhook_url(wiring, caller.tenant.slug)
    if found is None:
        return WebhookCredential(url, None, None)
    secret = found.secret if isinstance(found, Made) else None
    return WebhookCredential(url, shown_auth(found.plan, secret), moment(found.created_at))

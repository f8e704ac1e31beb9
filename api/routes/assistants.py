"""Assistants of a tenant: registered with a secret that is shown once."""

from functools import partial
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Controller, Request, Response, delete, get, patch, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta

from api import configuring
from api.callers import Caller
from api.configuring import VapiState
from api.once import OPT_ELSEWHERE
from api.own_keys import OwnKey
from api.pages import Cursor, Limit, Page, id_position, page
from api.routes.auth_shapes import Auth, AuthRequest, shown_auth
from api.routes.shapes import END, Body, moment
from api.wiring import Wiring, wiring_of
from runtime.refusals import Invalid
from tenants import assistants, vapi_setups
from tenants.vapi_setups import New

Name = Annotated[str, Meta(min_length=1, max_length=200, description="What people call it.", examples=["Front desk"])]
VapiId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=256,
        pattern=r"^[^\x00\s]+" + END,
        description="The assistant's id at Vapi.",
        examples=["ad97b706-b7c9-4d91-a135-2ad743730af5"],
    ),
]
Grace = Annotated[int, Meta(ge=0, le=604_800, description="How long the old secret stays valid, in seconds.", examples=[3600])]
Configure = Annotated[bool, Meta(description="Point the assistant here at Vapi too, with the tenant's own key (PUT /v1/vapi).")]
DAY = 86_400


class RegisterRequest(Body):
    """An assistant to register."""

    vapi_assistant_id: VapiId
    name: Name
    auth: AuthRequest = AuthRequest()
    configure_vapi: Configure = False
    install_tools: Annotated[bool, Meta(description="With `configure_vapi`: join our tools to the assistant.")] = False


class RenameRequest(Body):
    """What can change about an assistant."""

    name: Name


class RotateRequest(Body):
    """How to rotate a secret; without `auth` its options stay."""

    grace_seconds: Grace = DAY
    configure_vapi: Configure = False
    auth: AuthRequest | None = None


class Assistant(Body):
    """An assistant."""

    id: UUID
    vapi_assistant_id: str
    name: str
    webhook_url: str
    auth: Auth
    created_at: str
    vapi: VapiState | msgspec.UnsetType = msgspec.UNSET


class AssistantRoutes(Controller):
    """`/v1/assistants`."""

    path = "/v1/assistants"
    tags = ("Assistants",)

    @post(
        summary="Register an assistant",
        description="Answers with the webhook URL and the secret to put into Vapi; the secret is shown here and on rotation only. "
        "`configure_vapi` does that at Vapi too: both or neither.",
        opt={OPT_ELSEWHERE: configuring.configures_vapi},
    )
    async def register(
        self, data: JSONBody[RegisterRequest], caller: NamedDependency[Caller], state: State, request: Request[object, object, State]
    ) -> Response[Assistant]:
        """Register it and make its secret."""
        wiring = wiring_of(state)
        if data.configure_vapi:
            key = await OwnKey.of(wiring, request, caller)
            if (kept := await key.answered()) is not None:
                return kept
            asks = await configuring.acting(wiring, caller, webhook_url(wiring, caller.tenant.slug))
            wanted = New(data.vapi_assistant_id, data.name, configuring.given_for_vapi(data.auth))
            return await configuring.register(wiring, key, asks, wanted, data.install_tools, partial(shown, wiring, caller))
        if data.install_tools:
            raise Invalid.at("/install_tools", "Tools are joined at Vapi; set configure_vapi too.")
        async with wiring.database.tenant_scope(caller.tenant.id) as connection:
            made = await assistants.register(
                connection,
                wiring.keyring,
                caller.tenant.id,
                data.vapi_assistant_id,
                data.name,
                caller.actor,
                data.auth.plan(),
                data.auth.given,
            )
        wiring.tenants.forget(caller.tenant.slug)
        return Response(shown(wiring, caller, made.row, made.secret))

    @get(summary="List assistants")
    async def list(
        self, caller: NamedDependency[Caller], state: State, limit: FromQuery[Limit] = 50, cursor: FromQuery[Cursor] = None
    ) -> Page[Assistant]:
        """The newest first."""
        wiring, before = wiring_of(state), id_position(cursor)
        async with wiring.database.tenant_scope(caller.tenant.id) as connection:
            rows = await assistants.list_assistants(connection, caller.tenant.id, before, limit + 1)
        shown_rows, following = page(rows, limit)
        return Page([shown(wiring, caller, row) for row in shown_rows], following)

    @get("/{assistant_id:uuid}", summary="One assistant")
    async def one(self, assistant_id: FromPath[UUID], caller: NamedDependency[Caller], state: State) -> Assistant:
        """Without its secret."""
        wiring = wiring_of(state)
        async with wiring.database.tenant_scope(caller.tenant.id) as connection:
            return shown(wiring, caller, await assistants.assistant_row(connection, caller.tenant.id, assistant_id))

    @patch("/{assistant_id:uuid}", summary="Rename an assistant")
    async def rename(
        self, assistant_id: FromPath[UUID], data: JSONBody[RenameRequest], caller: NamedDependency[Caller], state: State
    ) -> Assistant:
        """Change what people call it."""
        wiring = wiring_of(state)
        async with wiring.database.tenant_scope(caller.tenant.id) as connection:
            return shown(wiring, caller, await assistants.rename(connection, caller.tenant.id, assistant_id, data.name, caller.actor))

    @delete(
        "/{assistant_id:uuid}",
        summary="Remove an assistant",
        description="Its secret ends at once; its records stay. `restore_vapi` first puts back at Vapi what stood there before.",
        opt={OPT_ELSEWHERE: configuring.restores_vapi},
    )
    async def remove(
        self,
        assistant_id: FromPath[UUID],
        caller: NamedDependency[Caller],
        state: State,
        request: Request[object, object, State],
        restore_vapi: FromQuery[bool] = False,
    ) -> Response[None]:
        """Forget it and its secrets."""
        wiring = wiring_of(state)
        if restore_vapi != await configuring.restores_vapi(request):
            raise Invalid("Send one restore_vapi.")
        if restore_vapi:
            key = await OwnKey.of(wiring, request, caller)
            if (kept := await key.answered()) is not None:
                return kept
            asks = await configuring.acting(wiring, caller, webhook_url(wiring, caller.tenant.slug), "")
            await configuring.remove(wiring, key, asks, assistant_id)
            return Response(None)
        async with wiring.database.tenant_scope(caller.tenant.id) as connection:
            await vapi_setups.refuse_if_taken(connection, caller.tenant.id, assistant_id)
            await assistants.remove(connection, caller.tenant.id, assistant_id, caller.actor)
        wiring.tenants.forget(caller.tenant.slug)
        return Response(None)

    @post(
        "/{assistant_id:uuid}/rotate-secret",
        status_code=200,
        summary="Rotate the webhook secret",
        description="The new secret works within two seconds everywhere; the old one ends after the grace. "
        "`configure_vapi` gives it to Vapi too.",
        opt={OPT_ELSEWHERE: configuring.configures_vapi},
    )
    async def rotate(
        self,
        assistant_id: FromPath[UUID],
        data: JSONBody[RotateRequest],
        caller: NamedDependency[Caller],
        state: State,
        request: Request[object, object, State],
    ) -> Response[Assistant]:
        """Make a new secret."""
        wiring, auth = wiring_of(state), data.auth
        if data.configure_vapi:
            key = await OwnKey.of(wiring, request, caller)
            if (kept := await key.answered()) is not None:
                return kept
            asks = await configuring.acting(wiring, caller, webhook_url(wiring, caller.tenant.slug))
            given = configuring.given_for_vapi(auth) if auth else None
            return await configuring.rotate(wiring, key, asks, assistant_id, data.grace_seconds, given, partial(shown, wiring, caller))
        async with wiring.database.tenant_scope(caller.tenant.id) as connection:
            await vapi_setups.refuse_if_taken(connection, caller.tenant.id, assistant_id)
            made = await assistants.rotate_secret(
                connection,
                wiring.keyring,
                caller.tenant.id,
                assistant_id,
                data.grace_seconds,
                caller.actor,
                auth.plan() if auth else None,
                auth.given if auth else None,
            )
        wiring.tenants.forget(caller.tenant.slug)
        return Response(shown(wiring, caller, made.row, made.secret))


def webhook_url(wiring: Wiring, slug: str) -> str:
    """Where Vapi posts for a tenant."""
    return f"{wiring.settings.public_base_url.rstrip('/')}/vapi-webhook/{slug}"


def shown(wiring: Wiring, caller: Caller, row: dict[str, Any], secret: str | None = None) -> Assistant:
    """An assistant as the contract has it."""
    return Assistant(
        id=row["id"],
        vapi_assistant_id=row["vapi_assistant_id"],
        name=row["name"],
        webhook_url=webhook_url(wiring, caller.tenant.slug),
        auth=shown_auth(row["plan"], secret),
        created_at=moment(row["created_at"]) or "",
    )

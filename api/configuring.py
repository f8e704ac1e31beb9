"""What the routes of assistants share where Vapi is asked: with which key, for which requests, and how its refusals are told."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import msgspec
from litestar import Response
from litestar.status_codes import HTTP_200_OK, HTTP_201_CREATED, HTTP_204_NO_CONTENT
from sqlalchemy.ext.asyncio import AsyncConnection

from api.callers import ADMIN, Caller
from api.once import Incoming
from api.own_keys import OwnKey, answer
from api.routes.auth_shapes import AuthRequest
from api.routes.shapes import Body
from api.wiring import Wiring
from runtime.crypto import SealBroken
from runtime.refusals import Conflict, Invalid
from tenants import assistants, http_tools, vapi_accounts
from tenants.vapi_setups import New
from webhooks.tool_descriptions import described
from webhooks.vapi_configuring import Acting, Done
from webhooks.vapi_problems import CONFIGURE, NO_KEY, SIGNS, SetupFailed
from webhooks.vapi_wish import Json

SEALED_AWAY = "The tenant's key at Vapi is sealed with a key that has been taken out of service. Set it anew with PUT /v1/vapi."
RESTORE = "restore_vapi"
NO = {"false", "0", "no", "off"}


class VapiState(Body):
    """What was changed at Vapi, and whether calls use it: a draft has to be published there first."""

    changed: list[str]
    live: bool


Show = Callable[[dict[str, Any], str | None], msgspec.Struct]  # an assistant's row and secret, as the contract has them


async def configures_vapi(request: Incoming) -> bool:
    """Whether a request's body wishes an assistant to be configured at Vapi."""
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return bool(msgspec.json.decode(await request.body(), type=dict[str, Any]).get("configure_vapi") is True)
    return False


async def restores_vapi(request: Incoming) -> bool:
    """Whether a request's query wishes an assistant to be put back at Vapi, by any of its values."""
    return any(value.lower() not in NO for value in request.query_params.getall(RESTORE, []))


async def acting(wiring: Wiring, caller: Caller, url: str, pointer: str = CONFIGURE) -> Acting:
    """Who asks, and with which key: the tenant's own; the operator's only for the operator, since it reaches everybody's assistants.

    Raises:
        Invalid: there is no key that may serve. Conflict: the tenant's cannot be opened.
    """
    try:
        async with wiring.database.tenant_scope(caller.tenant.id) as connection:
            own = await vapi_accounts.own_key(connection, wiring.keyring, caller.tenant.id)
    except SealBroken as error:
        raise Conflict(SEALED_AWAY) from error
    operators = wiring.settings.vapi_api_key if caller.actor == ADMIN else ""
    if not (own or operators):
        raise Invalid.at(pointer, NO_KEY)
    return Acting(caller.tenant, caller.actor, own or operators, url)


def given_for_vapi(auth: AuthRequest) -> str | None:
    """The user's own secret, where it is one that can be set at Vapi from here.

    Raises:
        Invalid: it comes in another way than as a bearer token in Authorization.
    """
    if auth.plan() != assistants.BEARER:
        raise Invalid.at(CONFIGURE, SIGNS)
    return auth.given


async def tools_for(wiring: Wiring, asks: Acting, wished: bool) -> list[Json] | None:
    """Our tools and the tenant's own as Vapi takes them, where they are wished for."""
    if not wished:
        return None
    tenant = asks.tenant
    async with wiring.database.tenant_scope(tenant.id) as connection:
        own = await http_tools.list_tools(connection, tenant.id, None, http_tools.MOST_TOOLS)
    return described(tenant, asks.url, own)


async def register(wiring: Wiring, key: OwnKey, asks: Acting, new: New, install_tools: bool, show: Show) -> Response[Any]:
    """Register an assistant and point it here.

    Raises:
        Refusal: see Configuring.register.
    """
    body = b""

    async def keep(connection: AsyncConnection, done: Done) -> None:
        nonlocal body
        body = encoded(show, done)
        await key.keep(connection, HTTP_201_CREATED, body)

    try:
        await wiring.configuring.register(asks, new, await tools_for(wiring, asks, install_tools), keep)
    except SetupFailed as failed:
        raise failed.told() from failed
    return answer(body, HTTP_201_CREATED)


async def rotate(
    wiring: Wiring, key: OwnKey, asks: Acting, assistant: UUID, grace_seconds: int, given: str | None, show: Show
) -> Response[Any]:
    """A new secret, here and at Vapi.

    Raises:
        Refusal: see Configuring.rotate.
    """
    body = b""

    async def keep(connection: AsyncConnection, done: Done) -> None:
        nonlocal body
        body = encoded(show, done)
        await key.keep(connection, HTTP_200_OK, body)

    try:
        await wiring.configuring.rotate(asks, assistant, grace_seconds, given, keep)
    except SetupFailed as failed:
        raise placed(failed) from failed
    return answer(body, HTTP_200_OK)


async def remove(wiring: Wiring, key: OwnKey, asks: Acting, assistant: UUID) -> None:
    """Put an assistant back at Vapi, then forget it here.

    Raises:
        Refusal: see Configuring.restore; then nothing is forgotten.
    """

    async def forget(connection: AsyncConnection, _restored: bool) -> None:
        await assistants.remove(connection, asks.tenant.id, assistant, asks.actor)
        await key.keep(connection, HTTP_204_NO_CONTENT, b"")

    try:
        await wiring.configuring.restore(asks, assistant, forget)
    except SetupFailed as failed:
        raise placed(failed) from failed


def encoded(show: Show, done: Done) -> bytes:
    """An assistant with what was done at Vapi."""
    shown = show(done.row, done.secret)
    return msgspec.json.encode(msgspec.structs.replace(shown, vapi=VapiState(list(done.changed), done.live)))


def placed(failed: SetupFailed) -> Exception:
    """What to answer where the request names no assistant of Vapi's: the assistant is the whole request."""
    told = failed.told()
    told.errors = tuple(("", why) for _, why in told.errors)
    return told

"""Assistants at Vapi: what is wrong there, mending it, and putting back what stood there before."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Controller, Request, Response, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from litestar.status_codes import HTTP_200_OK
from msgspec import Meta
from sqlalchemy.ext.asyncio import AsyncConnection

from api.callers import Caller
from api.configuring import acting, placed, tools_for
from api.once import OPT_KEY
from api.own_keys import OwnKey, answer
from api.routes.assistants import webhook_url
from api.routes.shapes import Body
from api.wiring import wiring_of
from runtime.refusals import Invalid
from webhooks.vapi_configuring import Done
from webhooks.vapi_findings import Finding
from webhooks.vapi_problems import SetupFailed


class CheckRequest(Body):
    """Whether to mend what is found, and whether to join our tools too."""

    mend: Annotated[bool, Meta(description="Set at Vapi what is ours to set.", examples=[True])] = False
    install_tools: Annotated[bool, Meta(description="With `mend`: join our tools to the assistant.")] = False


class CheckAnswer(Body):
    """What was found, or what is still to be done by hand once it was mended."""

    ok: bool
    findings: list[Finding]
    changed: list[str]


class RestoreRequest(Body):
    """Nothing yet."""


class RestoreAnswer(Body):
    """Whether it stands as before; false where it points elsewhere by now and was left alone."""

    restored: bool


class AssistantSetupRoutes(Controller):
    """`/v1/assistants/{assistant_id}/…` at Vapi."""

    path = "/v1/assistants"
    tags = ("Assistants",)
    opt = {OPT_KEY: False}  # noqa: RUF012  they ask Vapi, which no transaction may wait for

    @post(
        "/{assistant_id:uuid}/check",
        status_code=HTTP_200_OK,
        summary="Check an assistant at Vapi",
        description="Reads the assistant from Vapi and says what is wrong there; values of headers are never shown. "
        "`mend` sets what is ours to set and answers with what is left.",
    )
    async def check(
        self,
        assistant_id: FromPath[UUID],
        data: JSONBody[CheckRequest],
        caller: NamedDependency[Caller],
        state: State,
        request: Request[object, object, State],
    ) -> Response[CheckAnswer]:
        """What is wrong today."""
        wiring = wiring_of(state)
        if data.install_tools and not data.mend:
            raise Invalid.at("/install_tools", "Only `mend` changes anything at Vapi.")
        key = await OwnKey.of(wiring, request, caller) if data.mend else OwnKey(wiring, None)
        if (kept := await key.answered()) is not None:
            return kept
        asks = await acting(wiring, caller, webhook_url(wiring, caller.tenant.slug), "")
        changed: tuple[str, ...] = ()

        async def nothing_more(_connection: AsyncConnection, _done: Done) -> None:
            """The answer is known only after one more look at Vapi."""

        try:
            if data.mend:
                done = await wiring.configuring.mend(asks, assistant_id, await tools_for(wiring, asks, data.install_tools), nothing_more)
                changed = done.changed
            found = await wiring.configuring.check(asks, assistant_id)
        except SetupFailed as failed:
            raise placed(failed) from failed
        body = msgspec.json.encode(CheckAnswer(not any(each.severity == "error" for each in found), found, list(changed)))
        async with wiring.database.tenant_scope(caller.tenant.id) as connection:
            await key.keep(connection, HTTP_200_OK, body)
        return answer(body, HTTP_200_OK)

    @post(
        "/{assistant_id:uuid}/restore",
        status_code=HTTP_200_OK,
        summary="Put an assistant back at Vapi",
        description="As it was before it was configured from here. The assistant stays registered. 409 where it was never configured.",
    )
    async def restore(
        self,
        assistant_id: FromPath[UUID],
        data: JSONBody[RestoreRequest],  # noqa: ARG002  so that another field is refused
        caller: NamedDependency[Caller],
        state: State,
        request: Request[object, object, State],
    ) -> Response[RestoreAnswer]:
        """Undo it."""
        wiring = wiring_of(state)
        key = await OwnKey.of(wiring, request, caller)
        if (kept := await key.answered()) is not None:
            return kept
        asks = await acting(wiring, caller, webhook_url(wiring, caller.tenant.slug), "")
        body: Any = b""

        async def keep(connection: AsyncConnection, restored: bool) -> None:
            nonlocal body
            body = msgspec.json.encode(RestoreAnswer(restored))
            await key.keep(connection, HTTP_200_OK, body)

        try:
            await wiring.configuring.restore(asks, assistant_id, keep)
        except SetupFailed as failed:
            raise placed(failed) from failed
        return answer(body, HTTP_200_OK)

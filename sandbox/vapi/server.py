"""Sandbox Vapi as a web application: assistants, calls and the control URL."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Self

import msgspec
from aiohttp import hdrs, web

from sandbox import serving
from sandbox.clock import iso, now
from sandbox.control import answer, body_of
from sandbox.vapi.player import Delivery, Player

_LONGEST_NAME = 40
_READ_ONLY = frozenset({"id", "orgId", "createdAt", "updatedAt", "isServerUrlSecretSet", "latestVersion"})
_ORGANISATIONS = uuid.UUID("6f0f7c4e-6a0e-4a55-9e0c-0f4f4d1c9a51")

Resource = dict[str, Any]


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """How `GET /call/{id}` goes wrong, for one call or (empty `call_id`) for every one: after `seconds`, with this status if any."""

    call_id: str = ""
    status: Annotated[int, msgspec.Meta(ge=200, le=599)] | None = None
    body: str = '{"message": "as told", "statusCode": 0}'
    headers: dict[str, str] = {}
    seconds: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0


class VapiSandbox:
    """All state of one stand-in: assistants by organisation (each API key is one), calls, and a player of webhooks."""

    def __init__(self) -> None:
        self.url = ""
        self.assistants: dict[tuple[str, str], Resource] = {}
        self.calls: dict[tuple[str, str], Resource] = {}  # by organisation ("" is any) and id
        self.asked: list[str] = []
        self.faults: dict[str, Fault] = {}
        self.player = Player()

    @classmethod
    @asynccontextmanager
    async def running(cls, port: int = 0) -> AsyncIterator[Self]:
        """Serves a new stand-in in this process until the block ends."""
        sandbox = cls()
        async with serving.running(sandbox.application(), port) as sandbox.url:
            yield sandbox

    def application(self) -> web.Application:
        """The web application."""
        app = web.Application(middlewares=[_as_vapi], client_max_size=16 << 20)
        app.add_routes(
            [
                web.post("/assistant", self._create_assistant),
                web.get("/assistant/{id}", self._get_assistant),
                web.patch("/assistant/{id}", self._change_assistant),
                web.get("/call/{id}", self._get_call),
                web.put("/control/calls/{id}", self._put_call),
                web.get("/control/asked", self._get_asked),
                web.put("/control/faults", self._put_fault),
                web.delete("/control/faults", self._clear_faults),
                web.post("/control/deliver", self._deliver),
            ]
        )
        app.cleanup_ctx.append(self.player.opened)
        return app

    # -- the API -------------------------------------------------------------------------------------------------------

    async def _create_assistant(self, request: web.Request) -> web.Response:
        organisation, wanted = _organisation(request), await _assistant_of(request)
        moment, number = iso(now()), str(uuid.uuid4())
        assistant = {"id": number, "orgId": organisation, "createdAt": moment, "updatedAt": moment, **wanted}
        self.assistants[organisation, number] = assistant
        return answer(assistant, 201)

    async def _get_assistant(self, request: web.Request) -> web.Response:
        return answer(self._assistant(request))

    async def _change_assistant(self, request: web.Request) -> web.Response:
        """Partial at the top level only: each field sent replaces the old one whole."""
        assistant = self._assistant(request)
        assistant |= await _assistant_of(request)
        assistant["updatedAt"] = iso(now())
        return answer(assistant)

    def _assistant(self, request: web.Request) -> Resource:
        number = request.match_info["id"]
        assistant = self.assistants.get((_organisation(request), number))
        if assistant is None:
            raise Refusal(404, f"There is no assistant {number}.")
        return assistant

    async def _get_call(self, request: web.Request) -> web.Response:
        organisation, number = _organisation(request), request.match_info["id"]
        self.asked.append(number)
        fault = self.faults.get(number) or self.faults.get("")
        if fault is not None:
            await asyncio.sleep(fault.seconds)
            if fault.status is not None:
                return web.Response(status=fault.status, text=fault.body, headers=fault.headers, content_type="application/json")
        call = self.calls.get((organisation, number)) or self.calls.get(("", number))
        if call is None:
            raise Refusal(404, f"There is no call {number}.")
        return answer(call)

    # -- the control URL -----------------------------------------------------------------------------------------------

    async def _put_call(self, request: web.Request) -> web.Response:
        """What `GET /call/{id}` shall answer, to whichever key asks; with `?key=` to that one only."""
        number, key = request.match_info["id"], request.query.get("key")
        call = {**await body_of(request, Resource), "id": number}
        self.calls[organisation_of(key) if key else "", number] = call
        return answer(call)

    async def _get_asked(self, _: web.Request) -> web.Response:
        """`{"asked": […]}`: the calls that somebody with a key asked about, in order."""
        return answer({"asked": self.asked})

    async def _put_fault(self, request: web.Request) -> web.Response:
        """From now on `GET /call/{id}` goes wrong like this."""
        fault = await body_of(request, Fault)
        self.faults[fault.call_id] = fault
        return answer(fault)

    async def _clear_faults(self, _: web.Request) -> web.Response:
        """All goes well again."""
        self.faults.clear()
        return web.Response(status=204)

    async def _deliver(self, request: web.Request) -> web.Response:
        """Delivers a webhook and answers `{"attempts": […]}` when the last attempt is over."""
        return answer({"attempts": await self.player.play(await body_of(request, Delivery))})


class Refusal(Exception):
    """Vapi says no: HTTP status and a sentence, or several."""

    def __init__(self, status: int, message: str | list[str]) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def _organisation(request: web.Request) -> str:
    """The organisation of the key: any key is right, and each has one of its own.

    Raises:
        Refusal: 401, no Bearer key.
    """
    scheme, _, key = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise Refusal(401, "The request needs a private key as Bearer token.")
    return organisation_of(key.strip())


def organisation_of(key: str) -> str:
    """Whose key it is."""
    return str(uuid.uuid5(_ORGANISATIONS, key))


async def _assistant_of(request: web.Request) -> Resource:
    """The assistant's fields that a caller may set.

    Raises:
        Refusal: 400, no JSON object, a read-only field or a name over 40 characters.
    """
    try:
        wanted = msgspec.json.decode(await request.read(), type=Resource)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refusal(400, str(error)) from error
    problems = [f"property {name} should not exist" for name in sorted(_READ_ONLY & wanted.keys())]
    name = wanted.get("name")
    if name is not None and not (isinstance(name, str) and len(name) <= _LONGEST_NAME):
        problems.append(f"name must be a string of at most {_LONGEST_NAME} characters")
    if problems:
        raise Refusal(400, problems)
    return wanted


@web.middleware
async def _as_vapi(request: web.Request, handler: Any) -> web.StreamResponse:
    """Refusals answer as `{"message", "error", "statusCode"}`."""
    try:
        response: web.StreamResponse = await handler(request)
    except Refusal as refusal:
        names = {400: "Bad Request", 401: "Unauthorized", 404: "Not Found"}
        return answer({"message": refusal.message, "error": names[refusal.status], "statusCode": refusal.status}, refusal.status)
    return response

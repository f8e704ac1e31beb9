"""How sandbox Vapi goes wrong, by path: before it does what was asked, after it, or by not doing it while it says so."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated

import msgspec
from aiohttp import web

from sandbox.control import answer, body_of

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Count = Annotated[int, msgspec.Meta(ge=0)]


class PathFault(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What goes wrong on a path that begins so.

    method: of one method only. skip: so many requests pass first; times: so many go wrong, then all is well. seconds: it takes so long.
    done: it is done all the same, only the answer is lost. lies: a change answers 200, and nothing is changed.
    """

    path: str
    method: str = ""
    skip: Count = 0
    times: Count | None = None
    status: Annotated[int, msgspec.Meta(ge=200, le=599)] | None = None
    body: str = '{"message": "as told", "statusCode": 0}'
    headers: dict[str, str] = {}
    seconds: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0
    done: bool = False
    lies: bool = False

    def meets(self, request: web.Request) -> bool:
        """Whether this request goes wrong; counts it."""
        if not (request.path.startswith(self.path) and self.method in ("", request.method)):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
            return self.times >= 0
        return True


class PathFaults:
    """The faults in force, the newest first, and every request that was made of the API."""

    def __init__(self) -> None:
        self.all: list[PathFault] = []
        self.seen: list[str] = []  # "PATCH /assistant/…", in order

    def routes(self) -> list[web.RouteDef]:
        """`/control/path-faults`."""
        return [web.put("/control/path-faults", self._put), web.delete("/control/path-faults", self._clear)]

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Serve, or go wrong."""
        if request.path.startswith("/control"):
            return await handler(request)
        self.seen.append(f"{request.method} {request.path}")
        fault = next((each for each in self.all if each.meets(request)), None)
        if fault is None:
            return await handler(request)
        if fault.done:
            await handler(request)
        await asyncio.sleep(fault.seconds)
        if fault.lies:
            return web.Response(body=await request.read(), content_type="application/json", status=fault.status or 200)
        if fault.status is not None:
            return web.Response(status=fault.status, text=fault.body, headers=fault.headers, content_type="application/json")
        if fault.done:
            raise web.HTTPGatewayTimeout
        return await handler(request)

    async def _put(self, request: web.Request) -> web.Response:
        """From now on it goes wrong like this; a fault of the same place is replaced."""
        fault = await body_of(request, PathFault)
        self.add(fault)
        return answer(fault)

    def add(self, fault: PathFault) -> None:
        """The same, for a test in this process."""
        self.all = [fault, *(each for each in self.all if (each.path, each.method) != (fault.path, fault.method))]

    async def _clear(self, _: web.Request) -> web.Response:
        """All goes well again."""
        self.all.clear()
        return web.Response(status=204)

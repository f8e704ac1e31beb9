"""An endpoint of a tenant's own as a web application: any address is a tool, and `/control` tells what was done.

It deduplicates on `Idempotency-Key` as a good endpoint does. A first delivery and a repeated one get the same answer.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import msgspec
from aiohttp import web

from sandbox import serving
from sandbox.clock import monotonic
from sandbox.control import answer, body_of, count_from, refusal
from sandbox.tool.effects import Effect, Effects
from sandbox.tool.faults import AcceptThenDelay, Delay, Fault, Faults, ResetAfter, ResetBefore, Status

_DELIVERIES_KEPT = 100_000


class ToolSandbox:
    """All state of one stand-in."""

    def __init__(self) -> None:
        self.url = ""
        self.effects = Effects()
        self.faults = Faults()
        self.deliveries: deque[dict[str, Any]] = deque(maxlen=_DELIVERIES_KEPT)

    @classmethod
    @asynccontextmanager
    async def running(cls, port: int = 0) -> AsyncIterator[Self]:
        """Serves a new stand-in in this process until the block ends."""
        sandbox = cls()
        async with serving.running(sandbox.application(), port) as sandbox.url:
            yield sandbox

    def application(self) -> web.Application:
        """The web application."""
        app = web.Application(client_max_size=16 << 20)
        app.add_routes(
            [
                web.get("/control/effects", self._list_effects),
                web.delete("/control/effects", self._forget),
                web.get("/control/deliveries", self._list_deliveries),
                web.get("/control/faults", self._list_faults),
                web.post("/control/faults", self._arm),
                web.delete("/control/faults", self._disarm),
                web.delete("/control/faults/{id}", self._disarm),
                web.route("*", "/{path:.*}", self._deliver),
            ]
        )
        return app

    # -- the endpoint --------------------------------------------------------------------------------------------------

    async def _deliver(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.deliveries.append(
            {
                "arrived_at": monotonic(),
                "key": _key(request),
                "path": request.path,
                "query": dict(request.query),
                "method": request.method,
                "headers": headers,
                "text": body.decode(errors="replace"),
            }
        )
        return await self._answer(request, body, self.faults.strike(request.path))

    async def _answer(self, request: web.Request, body: bytes, fault: Fault | None) -> web.Response:
        if isinstance(fault, ResetBefore):
            serving.reset(request)
            return web.Response()
        if isinstance(fault, Status) and not fault.accept:
            return _told(fault)
        if isinstance(fault, Delay):
            await asyncio.sleep(fault.seconds)
        effect = self.effects.do(_key(request), request.path, request.method, _decoded(body) if body else dict(request.query))
        if isinstance(fault, ResetAfter):
            serving.reset(request)
        if isinstance(fault, AcceptThenDelay):
            await asyncio.sleep(fault.seconds)
        return _told(fault) if isinstance(fault, Status) else answer({"result": f"Done, number {effect.number}."})

    # -- the control URL -----------------------------------------------------------------------------------------------

    async def _list_effects(self, request: web.Request) -> web.Response:
        """`{"count", "effects"}`, oldest first; `?path=`, `?key=` filter, `?limit=` gives the newest so many."""
        path, key = request.query.get("path"), request.query.get("key")
        chosen: list[Effect] = [one for one in self.effects.done if path in (None, one.path) and key in (None, one.key)]
        return answer({"count": len(chosen), "effects": [one.record() for one in _newest(chosen, request)]})

    async def _list_deliveries(self, request: web.Request) -> web.Response:
        """`{"count", "deliveries"}` of all requests with headers and text, those that did nothing too, with the same filters."""
        path, key = request.query.get("path"), request.query.get("key")
        chosen = [one for one in self.deliveries if path in (None, one["path"]) and key in (None, one["key"])]
        return answer({"count": len(chosen), "deliveries": _newest(chosen, request)})

    async def _forget(self, _: web.Request) -> web.Response:
        """Forgets effects, their keys and deliveries; faults stay."""
        self.effects.forget()
        self.deliveries.clear()
        return web.Response(status=204)

    async def _list_faults(self, _: web.Request) -> web.Response:
        """`{"faults"}`, each with its id and its hits."""
        return answer({"faults": self.faults.listed()})

    async def _arm(self, request: web.Request) -> web.Response:
        """Arms one fault: `{"action", "path"?, "times"?, …}`; answers 201 `{"id"}`."""
        fault: Any = await body_of(request, Fault)  # type: ignore[arg-type]  # mypy takes a union for no type
        return answer({"id": self.faults.arm(fault)}, 201)

    async def _disarm(self, request: web.Request) -> web.Response:
        """Removes one fault, or all."""
        number = request.match_info.get("id")
        if number is not None and not (number.isascii() and number.isdigit() and self.faults.disarm(int(number))):
            raise refusal(f"there is no fault {number}")
        if number is None:
            self.faults.disarm()
        return web.Response(status=204)


def _key(request: web.Request) -> str | None:
    """The key without the quotes of a structured string (RFC 9651)."""
    given = request.headers.get("Idempotency-Key", "").strip()
    return given.removeprefix('"').removesuffix('"') or None


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body.decode(errors="replace")


def _told(fault: Status) -> web.Response:
    return web.Response(status=fault.status, text=fault.text, content_type=fault.content_type, headers=fault.headers)


def _newest(chosen: list[Any], request: web.Request) -> list[Any]:
    limit = count_from(request, "limit")
    return chosen if limit is None else chosen[max(0, len(chosen) - limit) :]

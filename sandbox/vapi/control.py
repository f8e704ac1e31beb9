"""The control URLs that play: one delivery, a whole call, and the books."""

from typing import Any

import msgspec
from aiohttp import web

from sandbox.control import answer, body_of, refusal
from sandbox.vapi.books import CallBook, total
from sandbox.vapi.player import Delivery, Player
from sandbox.vapi.playing import CallPlayer, Play


class PlayingControl:
    """The handlers; each answers JSON, and 400 with `{"error"}` to what it does not understand."""

    def __init__(self, player: Player, calls: CallPlayer) -> None:
        self._player = player
        self._calls = calls

    def routes(self) -> list[web.RouteDef]:
        """`/control/deliver`, `/control/play-call`, `/control/books`."""
        return [
            web.post("/control/deliver", self._deliver),
            web.post("/control/play-call", self._play),
            web.get("/control/books", self._books),
            web.delete("/control/books", self._forget),
        ]

    async def _deliver(self, request: web.Request) -> web.Response:
        """Delivers a webhook and answers `{"attempts": […]}` when the last attempt is over."""
        return answer({"attempts": await self._player.play(await body_of(request, Delivery))})

    async def _play(self, request: web.Request) -> web.StreamResponse:
        """Plays a call to its end: `{"call": {…}, "deliveries": […]}`.

        With `stream` one line of JSON for each delivery as it happens, `{"delivery": {…}}`, and `{"call": {…}}` as the last one.
        """
        wanted = await body_of(request, Play)
        deliveries: list[dict[str, Any]] = []

        async def keep(delivery: dict[str, Any]) -> None:
            deliveries.append(delivery)

        try:
            if wanted.stream:
                return await self._stream(request, wanted)
            book = await self._calls.play(wanted, keep)
        except ValueError as error:
            raise refusal(str(error)) from error
        return answer({"call": book, "deliveries": deliveries})

    async def _stream(self, request: web.Request, wanted: Play) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})

        async def tell(line: dict[str, Any]) -> None:
            if not response.prepared:
                await response.prepare(request)
            await response.write(msgspec.json.encode(line) + b"\n")

        async def tell_delivery(delivery: dict[str, Any]) -> None:
            await tell({"delivery": delivery})

        try:
            book: CallBook = await self._calls.play(wanted, tell_delivery)
            await tell({"call": book})
            await response.write_eof()
        except ConnectionResetError:  # nobody listens any more: the call ends here, its book stays
            return response
        return response

    async def _books(self, request: web.Request) -> web.Response:
        """`{"calls": […], "total": {…}}`; with `?call_id=` of one call."""
        books = self._calls.books.of(request.query.get("call_id"))
        return answer({"calls": books, "total": total(books)})

    async def _forget(self, _: web.Request) -> web.Response:
        """Throws all books away; the calls stay."""
        self._calls.books.forget()
        return web.Response(status=204)

"""A stand-in for Sentry's ingestion that keeps what it gets, decoded. `python -m sandbox.sentry --port N`.

A DSN for it is `http://<any key>@127.0.0.1:<port>/<project>`. It takes every kind of envelope item, check-ins and transactions included.
"""

import uuid
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Self

import msgspec
from aiohttp import web

from sandbox import serving
from sandbox.clock import monotonic
from sandbox.control import answer, count_from

_ITEMS_KEPT = 20_000
_LARGEST_ENVELOPE = 200 << 20


class SentrySandbox:
    """All state of one stand-in: the newest 20,000 items, oldest first."""

    def __init__(self) -> None:
        self.url = ""
        self.items: deque[dict[str, Any]] = deque(maxlen=_ITEMS_KEPT)

    @classmethod
    @asynccontextmanager
    async def running(cls, port: int = 0) -> AsyncIterator[Self]:
        """Serves a new stand-in in this process until the block ends."""
        sandbox = cls()
        async with serving.running(sandbox.application(), port) as sandbox.url:
            yield sandbox

    def dsn(self, project: int = 1) -> str:
        """What `SENTRY_DSN` is set to."""
        scheme, _, host = self.url.partition("://")
        return f"{scheme}://sandbox@{host}/{project}"

    def application(self) -> web.Application:
        """The web application. aiohttp unpacks gzip and deflate bodies by itself."""
        app = web.Application(client_max_size=_LARGEST_ENVELOPE)
        app.add_routes(
            [
                web.post("/api/{project}/envelope/", self._envelope),
                web.get("/control/items", self._list),
                web.delete("/control/items", self._clear),
            ]
        )
        return app

    async def _envelope(self, request: web.Request) -> web.Response:
        arrived = monotonic()
        try:
            header, items = parse(await request.read())
        except ValueError as error:
            return answer({"detail": f"invalid envelope: {error}"}, 400)
        project = request.match_info["project"]
        self.items.extend({"project": project, "arrived_at": arrived, "envelope": header, **item} for item in items)
        return answer({"id": header.get("event_id", uuid.uuid4().hex)})

    async def _list(self, request: web.Request) -> web.Response:
        """`{"count", "items"}`, oldest first; `?type=`, `?project=` filter, `?limit=` gives the newest so many."""
        kind, project, limit = request.query.get("type"), request.query.get("project"), count_from(request, "limit")
        chosen = [item for item in self.items if kind in (None, item["type"]) and project in (None, item["project"])]
        return answer({"count": len(chosen), "items": chosen if limit is None else chosen[max(0, len(chosen) - limit) :]})

    async def _clear(self, _: web.Request) -> web.Response:
        self.items.clear()
        return web.Response(status=204)


def parse(envelope: bytes) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The envelope's header and its items as `{"type", "header", "payload"}`; a payload that is no JSON comes as text.

    Raises:
        ValueError: not an envelope (develop.sentry.dev, "Envelopes"): a header that is no JSON object, or a payload cut short.
    """
    line, _, rest = envelope.partition(b"\n")
    return _header(line), list(_items(rest))


def _items(rest: bytes) -> Iterator[dict[str, Any]]:
    while rest.strip(b"\n"):
        line, _, rest = rest.lstrip(b"\n").partition(b"\n")
        header = _header(line)
        length = header.get("length")
        if length is None:
            payload, _, rest = rest.partition(b"\n")
        elif isinstance(length, int) and 0 <= length <= len(rest):
            payload, rest = rest[:length], rest[length:]
        else:
            raise ValueError(f"an item of {length} bytes where {len(rest)} are left")
        yield {"type": str(header.get("type")), "header": header, "payload": _payload(payload)}


def _header(line: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ValueError(f"a header that is no JSON object: {error}") from error


def _payload(payload: bytes) -> Any:
    try:
        return msgspec.json.decode(payload)
    except msgspec.DecodeError:
        return payload.decode(errors="replace")


if __name__ == "__main__":
    serving.main("sandbox.sentry", lambda: SentrySandbox().application())

"""Messages of Vapi that need an answer, and processes that know the hour."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from sandbox import serving
from tests.api.people import CALLER, Tenant

NUMBER = "+19075550142"


def asking(kind: str, call_id: str | None = "call-1", **more: Any) -> dict[str, Any]:
    """The body of a message that needs an answer."""
    call = {} if call_id is None else {"call": {"id": call_id, "type": "inboundPhoneCall"}}
    return {"message": {"type": kind, **call, "customer": {"number": CALLER}, "timestamp": 1_795_000_000_000, **more}}


def calling(number: str | None = NUMBER, call_id: str = "call-1", **more: Any) -> dict[str, Any]:
    """An assistant-request for a call to a number."""
    return asking("assistant-request", call_id, **({"phoneNumber": {"number": number}} if number else {}), **more)


async def told(tenant: Tenant, body: dict[str, Any]) -> dict[str, Any]:
    """What Vapi is told."""
    answer = await tenant.webhook(body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def has(tenant: Tenant, path: str, **body: Any) -> dict[str, Any]:
    """Put something in a tenant's configuration."""
    answer = await tenant.ask("PUT", path, body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


class Oracle:
    """An endpoint of a tenant's own that says what it is told to say, and remembers what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.says: Any = {}
        self.status = 200
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(await request.json())
        self.headers.append(dict(request.headers))
        if isinstance(self.says, bytes):
            return web.Response(body=self.says, status=self.status, content_type="application/json")
        return web.json_response(self.says, status=self.status)

    @classmethod
    @asynccontextmanager
    async def running(cls) -> "AsyncIterator[Oracle]":
        oracle = cls()
        app = web.Application(client_max_size=16 << 20)
        app.router.add_route("*", "/{path:.*}", oracle.answer)
        async with serving.running(app) as oracle.url:
            yield oracle

"""The outermost layer: every request gets an id, a scope of its own for logs and Sentry, and a place in the metrics.

It wraps the Litestar object, so that 404, 405 and faults inside the framework carry the id too. No trace of whoever calls
is continued: their ids are not ours.
"""

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import REQUEST_ID
from runtime import metrics, sentry
from runtime.randomness import random_bits
from runtime.sentry import TenantTags

UNRESOLVED = TenantTags()
REQUEST_ID_BITS = 128


class Edge:
    """ASGI in, ASGI out."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102  the ASGI signature
        if scope["type"] != ScopeType.HTTP:
            await self.app(scope, receive, send)
            return
        request_id = f"{random_bits(REQUEST_ID_BITS):032x}"
        scope.setdefault("state", {})[REQUEST_ID] = request_id
        header = (b"x-request-id", request_id.encode())

        async def tagged(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), header]
                metrics.requests_answered(f"{message['status'] // 100}xx").inc()
            await send(message)

        with sentry.isolated(UNRESOLVED, "unrouted"):
            sentry.bind_request(request_id)
            await self.app(scope, receive, tagged)

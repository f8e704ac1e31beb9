"""Where Vapi posts: `/vapi-webhook/{tenant_slug}`, in front of the framework.

This one address decides how many webhooks a core carries, and the framework's way to it costs as much as all of our own
(docs/decisions/0011). So it is plain ASGI, and its documentation is written by hand.
"""

import asyncio

from litestar import Litestar
from litestar.enums import ScopeType
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, Operation, Parameter, PathItem, Reference, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.types import HTTPScope, Receive, Scope, Send

from api.allowance import Allowance, Take
from api.problems import MEDIA_TYPE, REQUEST_ID, problem_of
from api.wiring import wiring_of
from runtime import clock, metrics, sentry
from runtime.places import Places
from runtime.refusals import NotFound, Refusal, TooLarge
from webhooks.answers import Answer
from webhooks.signatures import Delivery
from webhooks.tool_work import Longer

PREFIX = "/vapi-webhook/"
TEMPLATE = "/vapi-webhook/{tenant_slug}"
LARGEST_BODY = 5_000_000
MOST_UNVERIFIED = 64_000_000  # bytes of signed bodies that wait to be verified; over it they get 503
PATIENCE_SECONDS = 7.0  # where nobody else is asked; Vapi waits 7.5 s for an assistant request and hangs up on the caller
SHARE = 1  # deliveries of one tenant that are worked on at once while others' come too
JSON = b"application/json"


class MethodNotAllowed(Refusal):
    """Only POST: 405."""

    status = 405


class Disconnected(Exception):
    """Whoever asked went away before the body was whole; there is nobody to answer."""


class WebhookDoor:
    """ASGI in, ASGI out: webhooks are handled here, everything else goes on to the application."""

    def __init__(self, app: Litestar) -> None:
        self.app = app
        self.places = Places(SHARE)
        self.unverified = Allowance(MOST_UNVERIFIED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102  the ASGI signature
        if scope["type"] != ScopeType.HTTP or not scope["path"].startswith(PREFIX):
            await self.app(scope, receive, send)
            return
        began = clock.monotonic()
        sentry.transaction("POST " + TEMPLATE)
        status = 200
        try:
            async with asyncio.timeout(PATIENCE_SECONDS) as patience:
                answer = await self.answer(scope, receive, longer_than(patience))
        except Disconnected:
            return
        except Exception as error:  # noqa: BLE001  each gets its problem document; bugs are reported there
            problem = problem_of(error)
            status = problem.status
            body = problem.document(scope["state"].get(REQUEST_ID, ""))
            await respond(send, status, MEDIA_TYPE.encode(), body, dict(problem.headers))
        else:
            await respond(send, status, JSON, answer.body, {"Idempotent-Replayed": "true"} if answer.replayed else {})
        metrics.webhooks_answered(status).inc()
        metrics.WEBHOOK_SECONDS.observe(clock.monotonic() - began)

    async def answer(self, scope: HTTPScope, receive: Receive, longer: Longer) -> Answer:
        """Authenticate by the headers, read the body, authenticate by its signature where no header could, do what it asks for, once.

        Raises:
            Refusal: in the order 404, 405, 401 (a header's secret), 413, 401 (a signature), then whatever `Ingest.handle` refuses.
        """
        slug = scope["path"][len(PREFIX) :]
        if not slug or "/" in slug:
            raise NotFound("address")
        if scope["method"] != "POST":
            raise MethodNotAllowed("This address takes POST only.", headers={"Allow": "POST"})
        headers = dict(scope["headers"])
        wiring = wiring_of(self.app.state)
        tenant = await wiring.gate.by_headers(slug, headers)
        if tenant is not None:
            body = await body_of(headers, receive)
        else:
            with self.unverified.held() as take:
                body = await body_of(headers, receive, take)
                tenant = await wiring.gate.by_signature(slug, delivery_of(scope, wiring.settings.public_base_url, body))
        ingest = wiring.ingest
        place = await self.places.enter(tenant.id)

        def elsewhere(seconds: float) -> None:
            longer(seconds)
            place.leave()  # what waits for somebody else's server is in nobody's way here

        try:
            return await ingest.handle(tenant, body, elsewhere)
        finally:
            place.leave()


def longer_than(patience: asyncio.Timeout) -> Longer:
    """How a tool call that asks somebody else's server gets the time for it."""
    began = (patience.when() or 0.0) - PATIENCE_SECONDS

    def longer(seconds: float) -> None:
        patience.reschedule(began + max(PATIENCE_SECONDS, seconds))

    return longer


def delivery_of(scope: HTTPScope, public_base_url: str, body: bytes) -> Delivery:
    """What a signature may be over: Vapi knows us by our public address."""
    query = scope["query_string"]
    url = public_base_url.rstrip("/").encode() + scope["path"].encode() + (b"?" + query if query else b"")
    return Delivery(scope["method"].encode(), url, scope["headers"], body)


async def body_of(headers: dict[bytes, bytes], receive: Receive, take: Take | None = None) -> bytes:
    """The whole body, at most `LARGEST_BODY` bytes; `take` is told of each part, before the next one is asked for.

    Raises:
        TooLarge: more, by its own word or in fact. Disconnected: the sender went away. Unavailable: `take` has no more to give.
    """
    declared = headers.get(b"content-length", b"0")
    if declared.isdigit() and int(declared) > LARGEST_BODY:
        raise TooLarge(f"The body is over {LARGEST_BODY:,} bytes.")
    chunks, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        chunk: bytes = message.get("body", b"")  # type: ignore[assignment]  # an http.request message
        size += len(chunk)
        if size > LARGEST_BODY:
            raise TooLarge(f"The body is over {LARGEST_BODY:,} bytes.")
        if take is not None:
            take(len(chunk))
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def respond(send: Send, status: int, media_type: bytes, body: bytes, headers: dict[str, str]) -> None:
    """Send a whole answer."""
    raw = [(b"content-type", media_type), (b"content-length", str(len(body)).encode())]
    raw += [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body, "more_body": False})


DESCRIPTION = (
    'The body is Vapi\'s envelope `{"message": {…}}`. The credential is a secret of the assistant or of the tenant, as '
    "`Authorization: Bearer …`, in `X-Vapi-Secret` or in a header of the tenant's choice, or an HMAC over the body. Tool calls are "
    "answered with one result per call, in order; a repeated delivery gets the stored answer and the header `Idempotent-Replayed: true`. "
    "Informational types are answered `{}`."
)
EXAMPLE = {
    "message": {
        "type": "tool-calls",
        "call": {"id": "019ae386-b29f-7eb0-a4ff-e40335e0c44e"},
        "customer": {"number": "+12135550123"},
        "toolCallList": [
            {"id": "call_1", "type": "function", "function": {"name": "send_sms", "arguments": {"body": "See you at three."}}}
        ],
    }
}
ANSWER = {"results": [{"toolCallId": "call_1", "name": "send_sms", "result": "Queued, leaves in about 4 s."}]}
REFUSED = {
    "400": "Not JSON, or not an envelope.",
    "401": "Bad or missing credential, or unknown tenant.",
    "403": "Another tenant's assistant.",
    "413": "Over 5 MB.",
    "422": "A voice-request.",
    "503": "Nothing was stored; send it again.",
}


def documented() -> PathItem:
    """What the OpenAPI document says of this address."""
    anything = Schema(type=OpenAPIType.OBJECT)
    answers: dict[str, OpenAPIResponse | Reference] = {
        "200": OpenAPIResponse("The answer.", content={"application/json": OpenAPIMediaType(anything, example=ANSWER)})
    }
    answers |= {status: OpenAPIResponse(what, content={MEDIA_TYPE: OpenAPIMediaType(anything)}) for status, what in REFUSED.items()}
    return PathItem(
        post=Operation(
            tags=["Vapi"],
            operation_id="VapiWebhook",
            summary="A server message of Vapi",
            description=DESCRIPTION,
            parameters=[Parameter("tenant_slug", "path", required=True, schema=Schema(type=OpenAPIType.STRING))],
            request_body=RequestBody({"application/json": OpenAPIMediaType(anything, example=EXAMPLE)}, required=True),
            responses=answers,
            security=[{"webhookSecret": []}],
        )
    )

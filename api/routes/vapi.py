"""Where Vapi posts: `/vapi-webhook/{tenant_slug}`."""

from litestar import Request, Response, post
from litestar.datastructures import State
from litestar.params import FromPath

from api.wiring import wiring_of
from runtime import clock, metrics, sentry

LARGEST_BODY = 5_000_000
JSON = "application/json"


@post(
    "/vapi-webhook/{tenant_slug:str}",
    status_code=200,
    request_max_body_size=LARGEST_BODY,
    tags=["Vapi"],
    summary="A server message of Vapi",
    description=(
        "The body is Vapi's envelope `{\"message\": {…}}`. The credential is the assistant's secret, as `Authorization: Bearer …` or in "
        "`X-Vapi-Secret`. Tool calls are answered with one result per call, in order; a repeated delivery gets the stored answer and the "
        "header `Idempotent-Replayed: true`. Informational types are answered `{}`."
    ),
    security=[{"webhookSecret": []}],
)
async def vapi_webhook(request: Request[object, object, State], tenant_slug: FromPath[str]) -> Response[bytes]:
    """Authenticate by the headers, then read the body, then do what it asks for, once."""
    began = clock.monotonic()
    sentry.transaction("POST /vapi-webhook/{tenant_slug}")
    ingest = wiring_of(request.app.state).ingest
    tenant = await ingest.authenticate(tenant_slug, request.headers.get("authorization"), request.headers.get("x-vapi-secret"))
    answer = await ingest.handle(tenant, await request.body())
    metrics.WEBHOOK_SECONDS.observe(clock.monotonic() - began)
    return Response(answer.body, media_type=JSON, headers={"Idempotent-Replayed": "true"} if answer.replayed else None)

"""Every error as application/problem+json (RFC 9457), from one place; what is a bug is reported, what is a refusal is not."""

from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException

from api.edge import REQUEST_ID
from runtime import metrics, sentry
from runtime.database import passing_condition
from runtime.logs import log
from runtime.redis import RedisError
from runtime.refusals import Refusal, Unavailable

MEDIA_TYPE = "application/problem+json"
INVALID = "The request is not valid."
TITLES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Body too large",
    415: "Unsupported media type",
    422: "Unprocessable",
    500: "Internal error",
    503: "Unavailable",
}
DETAILS = {
    404: "There is nothing at this address.",
    405: "This address does not take this method.",
    413: "The body is over this address's limit.",
}


def problem(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, object]]:
    """The answer to whatever went wrong."""
    if isinstance(error, Refusal):
        return document(request, error.status, error.detail, error.headers, [{"pointer": at, "detail": why} for at, why in error.errors])
    if isinstance(error, HTTPException):
        return framework_problem(request, error)
    condition = passing_condition(error) or ("redis" if isinstance(error, RedisError) else None)
    if condition:
        metrics.STORAGE_TROUBLE.labels(condition).inc()
        log.warning("storage trouble", condition=condition)
        busy = Unavailable()
        return document(request, busy.status, busy.detail, busy.headers, [])
    sentry.report(error)
    log.error("unhandled error", error=type(error).__name__, exc_info=error)
    return document(request, 500, "A fault on our side. Quote the request id.", {}, [])


def framework_problem(request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, object]]:
    """What Litestar refuses; its own text holds the query string, with whatever stands in it, so it is not passed on."""
    places = error.extra if isinstance(error.extra, list) else []
    errors = [{"pointer": pointer(place), "detail": str(place.get("message", "Not valid."))} for place in places if isinstance(place, dict)]
    if error.status_code == 400 and not errors:  # noqa: PLR2004  a body that is no JSON at all
        errors = [{"pointer": "", "detail": "The body should be a JSON document."}]
    if error.status_code >= 500:  # noqa: PLR2004  server errors
        sentry.report(error)
    detail = INVALID if error.status_code == 400 else DETAILS.get(error.status_code, error.detail)  # noqa: PLR2004  the same
    headers = {name: value for name, value in (error.headers or {}).items() if name.lower() in ("allow", "www-authenticate")}
    return document(request, error.status_code, detail, headers, errors)


def pointer(place: dict[str, Any]) -> str:
    """'items[0].n' → '/items/0/n'; Litestar says 'data' for the whole body."""
    key = str(place.get("key", ""))
    return "" if key in ("", "data") else "/" + key.replace("[", ".").replace("]", "").replace(".", "/")


def document(
    request: Request[Any, Any, Any], status: int, detail: str, headers: dict[str, str], errors: list[dict[str, str]]
) -> Response[dict[str, object]]:
    """A problem document."""
    body: dict[str, object] = {
        "type": "about:blank",
        "title": TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "request_id": request.scope["state"].get(REQUEST_ID, ""),
    }
    if errors or status == 400:  # noqa: PLR2004  a bad body always says where
        body["errors"] = errors or [{"pointer": "", "detail": detail}]
    return Response(body, status_code=status, headers=headers, media_type=MEDIA_TYPE)

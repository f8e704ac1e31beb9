"""Every error as application/problem+json (RFC 9457), from one place; what is a bug is reported, what is a refusal is not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException

from runtime import metrics, sentry
from runtime.database import passing_condition
from runtime.logs import log
from runtime.redis import RedisError
from runtime.refusals import Refusal, Unavailable

MEDIA_TYPE = "application/problem+json"
REQUEST_ID = "request_id"
BAD_REQUEST, SERVER_ERROR = 400, 500
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
    429: "Too many requests",
    500: "Internal error",
    502: "Bad gateway",
    503: "Unavailable",
    504: "Gateway timeout",
}
DETAILS = {
    404: "There is nothing at this address.",
    405: "This address does not take this method.",
    413: "The body is over this address's limit.",
}


class Place(msgspec.Struct):
    """One place of a body that is wrong: a JSON pointer (RFC 6901) and a sentence."""

    pointer: str
    detail: str


@dataclass(frozen=True, slots=True)
class Problem:
    """What is answered to an error, before it is written down."""

    status: int
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)
    errors: tuple[Place, ...] = ()

    def document(self, request_id: str) -> bytes:
        """The body; one that refuses a request's body always says where."""
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": TITLES.get(self.status, "Error"),
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
        }
        if self.errors or self.status == BAD_REQUEST:
            body["errors"] = self.errors or (Place("", self.detail),)
        return msgspec.json.encode(body)


def problem_of(error: Exception) -> Problem:
    """What to answer to whatever went wrong; reports it where it is a bug."""
    if isinstance(error, Refusal):
        return Problem(error.status, error.detail, error.headers, tuple(Place(at, why) for at, why in error.errors))
    if isinstance(error, HTTPException):
        return framework_problem(error)
    condition = passing_condition(error) or ("redis" if isinstance(error, RedisError) else None)
    if condition:
        metrics.STORAGE_TROUBLE.labels(condition).inc()
        log.warning("storage trouble", condition=condition)
        busy = Unavailable()
        return Problem(busy.status, busy.detail, busy.headers)
    sentry.report(error)
    log.error("unhandled error", error=type(error).__name__, exc_info=error)
    return Problem(SERVER_ERROR, "A fault on our side. Quote the request id.")


def framework_problem(error: HTTPException) -> Problem:
    """What Litestar refuses; its own text holds the query string, with whatever stands in it, so it is not passed on."""
    places = [place for place in error.extra if isinstance(place, dict)] if isinstance(error.extra, list) else []
    errors = tuple(Place(pointer(place), said_of(place)) for place in places)
    if error.status_code == BAD_REQUEST and not errors:  # a body that is no JSON at all
        errors = (Place("", "The body should be a JSON document."),)
    if error.status_code >= SERVER_ERROR:
        sentry.report(error)
    detail = INVALID if error.status_code == BAD_REQUEST else DETAILS.get(error.status_code, error.detail)
    headers = {name: value for name, value in (error.headers or {}).items() if name.lower() in ("allow", "www-authenticate")}
    return Problem(error.status_code, detail, headers, errors)


def said_of(place: Mapping[str, Any]) -> str:
    """What is wrong at a place; of a body that is not there Litestar says only its own name for it."""
    message = str(place.get("message", "Not valid."))
    return "Send a JSON body." if message == "'data'" else message


def pointer(place: Mapping[str, Any]) -> str:
    """'items[0].n' → '/items/0/n'; Litestar says 'data' for the whole body."""
    key = str(place.get("key", ""))
    return "" if key in ("", "data") else "/" + key.replace("[", ".").replace("]", "").replace(".", "/")


def answer_problem(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar's exception handler."""
    found = problem_of(error)
    body = found.document(request.scope["state"].get(REQUEST_ID, ""))
    return Response(body, status_code=found.status, headers=dict(found.headers), media_type=MEDIA_TYPE)

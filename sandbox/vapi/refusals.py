"""How Vapi says no, and whose key it is that asks."""

import uuid
from typing import Any

import msgspec
from aiohttp import hdrs, web

from sandbox.control import answer

_ORGANISATIONS = uuid.UUID("6f0f7c4e-6a0e-4a55-9e0c-0f4f4d1c9a51")
_NAMES = {400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 409: "Conflict", 429: "Too Many Requests"}

Resource = dict[str, Any]


class Refusal(Exception):
    """Vapi says no: HTTP status and a sentence, or several."""

    def __init__(self, status: int, message: str | list[str]) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def organisation_asking(request: web.Request) -> str:
    """The organisation of the key: any key is right, and each has one of its own.

    Raises:
        Refusal: 401, no Bearer key.
    """
    scheme, _, key = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise Refusal(401, "The request needs a private key as Bearer token.")
    return organisation_of(key.strip())


def organisation_of(key: str) -> str:
    """Whose key it is."""
    return str(uuid.uuid5(_ORGANISATIONS, key))


async def object_in(request: web.Request) -> Resource:
    """The body as a JSON object.

    Raises:
        Refusal: 400, it is none.
    """
    try:
        return msgspec.json.decode(await request.read(), type=Resource)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refusal(400, str(error)) from error


@web.middleware
async def as_vapi(request: web.Request, handler: Any) -> web.StreamResponse:
    """Refusals answer as `{"message", "error", "statusCode"}`."""
    try:
        response: web.StreamResponse = await handler(request)
    except Refusal as refusal:
        name = _NAMES.get(refusal.status, "Error")
        return answer({"message": refusal.message, "error": name, "statusCode": refusal.status}, refusal.status)
    return response

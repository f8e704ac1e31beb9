"""What the control URLs of all stand-ins share: JSON in, JSON out, and a clear 400."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from aiohttp import web

T = TypeVar("T")

_encoder = msgspec.json.Encoder()


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A JSON response."""
    return web.Response(body=_encoder.encode(body), status=status, content_type="application/json", headers=headers)


def refusal(problem: str) -> web.HTTPBadRequest:
    """The 400 of a control URL, to be raised: `{"error": problem}`."""
    return web.HTTPBadRequest(text=json.dumps({"error": problem}), content_type="application/json")


async def body_of(request: web.Request, kind: type[T]) -> T:
    """The request's JSON body as `kind`.

    Raises:
        web.HTTPBadRequest: another content type (so that no web page can post here unasked), no JSON, or not of this shape.
    """
    if request.content_type != "application/json":
        raise refusal(f"send JSON with Content-Type: application/json, not {request.content_type}")
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise refusal(str(error)) from error


def number_from(request: web.Request, name: str) -> str | None:
    """A phone number from the query string; an unescaped `+` arrives as a space and is put back."""
    value = request.query.get(name)
    return "+" + value[1:] if value and value.startswith(" ") else value


def count_from(request: web.Request, name: str) -> int | None:
    """A count from the query string, or None.

    Raises:
        web.HTTPBadRequest: not a whole number, or negative.
    """
    value = request.query.get(name)
    if value is None:
        return None
    if not value.isascii() or not value.isdigit():
        raise refusal(f"{name} must be a whole number, not {value!r}")
    return int(value)

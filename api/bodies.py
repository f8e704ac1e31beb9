"""What a body of our own API has to be before it is decoded: JSON by its own word, shallow, and text that a column can hold."""

import re

from litestar import Request, Response
from litestar.datastructures import State

from runtime.refusals import Invalid, Refusal

MOST_BRACKETS = 500  # bounds the depth too: the decoder gives up at about 900
STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|$)', re.DOTALL)
NUL_IN_QUERY = b"%00"
NUL_IN_JSON = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # an escaped one; a bare one is no JSON


class UnsupportedMediaType(Refusal):
    """The body is not JSON by its own word: 415."""

    status = 415


async def fit_for_us(request: Request[object, object, State]) -> Response[object] | None:
    """Refuse what the framework would stumble over.

    Raises:
        UnsupportedMediaType: a body of another type.
        Invalid: not UTF-8, nested too deeply, or with a NUL in a text or in the query.
    """
    body = await request.body()
    if body and request.content_type[0] not in ("application/json", ""):
        raise UnsupportedMediaType("Send JSON, with Content-Type: application/json.")
    if NUL_IN_QUERY in request.scope["query_string"] or NUL_IN_JSON.search(body):
        raise Invalid("A text holds the character NUL, which cannot be stored.")
    if not is_text(body):
        raise Invalid("The body should be a JSON document in UTF-8.")
    if brackets(body) > MOST_BRACKETS and brackets(STRINGS.sub(b"", body)) > MOST_BRACKETS:
        raise Invalid(f"The body holds more than {MOST_BRACKETS} objects and lists.")
    return None


def is_text(body: bytes) -> bool:
    """Whether the bytes are UTF-8."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def brackets(body: bytes) -> int:
    """How many objects and lists begin."""
    return body.count(b"[") + body.count(b"{")

"""A captured delivery from a file: JSON in three shapes, or the request as it went over the wire."""

import base64
import binascii
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from webhooks.signatures import TIMESTAMP, Delivery, seconds_of

SHAPES = (
    "It should be JSON with headers and body (or body_text, body_base64) and perhaps received_at, url, method; or an object of headers "
    "alone; or the raw HTTP request."
)


class Unreadable(Exception):
    """The file is no captured delivery; the text says what it should be."""


@dataclass(frozen=True, slots=True)
class Captured:
    """What was captured: names of headers in lower case; no `body` means that it was not; `rebuilt` one was parsed meanwhile."""

    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)
    rebuilt: bool = False
    received_at: float | None = None
    url: str | None = None
    method: str = "POST"

    def values(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for key, value in self.headers if key == name]

    def delivery(self, public_url: str, body: bytes | None = None) -> Delivery:
        """As the door would have seen it."""
        pairs = [(name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in self.headers]
        return Delivery(self.method.encode(), public_url.encode(), pairs, (self.body or b"") if body is None else body)


def read_capture(content: bytes) -> Captured:
    """The delivery in a file.

    Raises:
        Unreadable: it holds none.
    """
    stripped = content.removeprefix(b"\xef\xbb\xbf").lstrip()
    if stripped[:1] != b"{":
        return from_wire(content.removeprefix(b"\xef\xbb\xbf"))
    try:
        document = json.loads(stripped)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"The file is no JSON. {SHAPES}") from error
    if "headers" in document:
        return from_parts(document)
    if document and all(isinstance(value, str) for value in document.values()):
        return Captured(pairs_of(document))
    raise Unreadable(f"The file names no headers. {SHAPES}")


def from_parts(document: dict[str, Any]) -> Captured:
    """From `{headers, body | body_text | body_base64, received_at?, url?, method?}`."""
    body, rebuilt = body_in(document)
    url, method = document.get("url"), document.get("method", "POST")
    return Captured(
        pairs_of(document["headers"]),
        body,
        rebuilt,
        moment_of(document.get("received_at")),
        url if isinstance(url, str) else None,
        method if isinstance(method, str) else "POST",
    )


def body_in(document: dict[str, Any]) -> tuple[bytes | None, bool]:
    """The body, and whether it had to be written anew from what it was parsed to."""
    for name in ("body_text", "body"):
        if isinstance(document.get(name), str):
            return document[name].encode(errors="surrogatepass"), False
    if isinstance(document.get("body_base64"), str):
        try:
            return base64.b64decode(document["body_base64"], validate=True), False
        except (binascii.Error, ValueError) as error:
            raise Unreadable("body_base64 is no base64.") from error
    if document.get("body") is not None:
        return compact(document["body"]), True
    return None, False


def compact(value: Any) -> bytes:
    """JSON as Vapi writes it: compact, UTF-8 not escaped."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogatepass")


def pairs_of(headers: Any) -> tuple[tuple[str, str], ...]:
    """Headers from an object, or from a list of pairs or of `{name, value}`."""
    found: list[tuple[str, str]] = []
    if isinstance(headers, dict):
        for name, value in headers.items():
            found += [(str(name), str(each)) for each in (value if isinstance(value, list) else [value])]
    elif isinstance(headers, list):
        for each in headers:
            if isinstance(each, dict) and {"name", "value"} <= each.keys():
                found.append((str(each["name"]), str(each["value"])))
            elif isinstance(each, list) and len(each) == 2:  # noqa: PLR2004  a pair
                found.append((str(each[0]), str(each[1])))
            else:
                raise Unreadable(f"A header has no name and value. {SHAPES}")
    else:
        raise Unreadable(f"headers is neither an object nor a list. {SHAPES}")
    return tuple((name.lower().strip(), value.strip()) for name, value in found)


def moment_of(value: Any) -> float | None:
    """Unix seconds from RFC 3339, or from a number of seconds or milliseconds."""
    if value is None:
        return None
    text = str(value).strip()
    if TIMESTAMP.fullmatch(text.encode(errors="replace")):
        return seconds_of(text.encode())
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as error:
        raise Unreadable("received_at is no time.") from error
    if parsed.tzinfo is None:
        raise Unreadable("received_at needs its offset from UTC, such as 2026-03-01T00:00:00Z.")
    return parsed.timestamp()


def from_wire(content: bytes) -> Captured:
    """From a request line, headers, an empty line and the body."""
    head, found, body = content.partition(b"\r\n\r\n")
    if not found:
        head, found, body = content.partition(b"\n\n")
    first, *lines = head.decode("latin-1").replace("\r\n", "\n").strip("\n").split("\n")
    words = first.split(" ")
    if len(words) < 2 or not words[0].isalpha() or not all(":" in line for line in lines if line):  # noqa: PLR2004  method and address
        raise Unreadable(f"The file is neither JSON nor a request. {SHAPES}")
    headers = tuple((name.lower().strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines if line))
    return Captured(headers, body if found else None, url=words[1], method=words[0].upper())

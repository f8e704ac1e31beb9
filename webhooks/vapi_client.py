"""Asking Vapi: one shared pool, real timeouts, bounded answers, no state of one tenant on the client.

Whatever goes wrong is an outcome, not an exception: an exception could carry the key, which stands in a header of its request.
Paths and answers: docs.vapi.ai, API reference.
"""

import asyncio
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Literal, Self
from urllib.parse import quote

import httpx
import msgspec

MOST_BYTES = 16 << 20  # of one answer: a long call's messages take a few hundred kB
MOST_REASONS = 64 << 10  # of an answer that says why something was not taken
LONGEST_WAIT = 3600.0  # seconds that a Retry-After is believed
NO_PATHS = ("", ".", "..")  # a path made of these would lead elsewhere


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of asking.

    found: `body` is Vapi's JSON, unread · absent: this key has no such thing · refused: the key is wrong · nonsense: no answer to the
    question · later: Vapi is away or busy; `wait` is how many seconds it wants to be left alone, if it said so · and of a change,
    invalid: Vapi does not take it, `body` may say why · conflict: it contradicts what is there. `reason` is for the log, `status` is 0
    where no answer came.
    """

    word: Literal["found", "absent", "refused", "nonsense", "later", "invalid", "conflict"]
    body: bytes = field(default=b"", repr=False)
    wait: float = 0.0
    reason: str = ""
    status: int = 0

    @property
    def doubtful(self) -> bool:
        """Whether a change may have been made all the same."""
        return self.word == "nonsense" or (self.word == "later" and self.status != HTTPStatus.TOO_MANY_REQUESTS)


class VapiClient:
    """One per process, for every tenant: the key comes with each question. Open it (`async with`) in the loop that uses it.

    `total` seconds bound a question from connecting to the last byte, `connect` the wait for a connection, `connections` how many
    there may be at once.
    """

    def __init__(self, base_url: str, *, total: float = 10.0, connect: float = 3.0, connections: int = 16) -> None:
        self._base_url = base_url.rstrip("/")
        self._total = total
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(total, connect=connect),
            limits=httpx.Limits(max_connections=connections),
            cookies=CookieJar(
                DefaultCookiePolicy(allowed_domains=[])
            ),  # a cookie of one tenant's answer must not travel with another's question
            follow_redirects=False,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def call(self, call_id: str, key: str) -> Asked:
        """What Vapi says of a call; the id is opaque text, from a body that a tenant posted."""
        return await self.ask("GET", ("call", call_id), key)

    async def ask(self, method: str, path: tuple[str, ...], key: str, body: Any = None, query: dict[str, str] | None = None) -> Asked:
        """Ask for, or change, what stands at a path; each piece of it is opaque text."""
        if not {*NO_PATHS}.isdisjoint(path):
            return Asked("absent")
        if not (key and key.isascii() and key.isprintable()):
            return Asked("refused")
        headers = {"Authorization": f"Bearer {key}", "Accept": "application/json", "Accept-Encoding": "identity"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        content = None if body is None else msgspec.json.encode(body)
        url = "/".join((self._base_url, *(quote(piece, safe="") for piece in path)))
        try:
            async with (
                asyncio.timeout(self._total),
                self._client.stream(method, url, headers=headers, content=content, params=query) as response,
            ):
                return await (answered(response) if method == "GET" else answered_change(response))
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:  # TimeoutError is an OSError
            return Asked("later", reason=type(error).__name__)


async def answered_change(response: httpx.Response) -> Asked:
    """What an answer to a change means: as of a question, and it may also be made, or not be taken."""
    status = response.status_code
    match status:
        case HTTPStatus.CREATED:
            return replace(await read(response), status=status)
        case HTTPStatus.NO_CONTENT:
            return Asked("found", status=status)
        case HTTPStatus.CONFLICT:
            return Asked("conflict", status=status)
        case HTTPStatus.BAD_REQUEST | HTTPStatus.UNPROCESSABLE_ENTITY:
            return replace(await read(response, MOST_REASONS), word="invalid", status=status)
    return await answered(response)


async def answered(response: httpx.Response) -> Asked:
    """What an answer means by its status; its body is read only where it is needed."""
    number = response.status_code
    match number:
        case HTTPStatus.OK:
            return replace(await read(response), status=number)
        case HTTPStatus.NOT_FOUND:
            return Asked("absent", status=number)
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return Asked("refused", status=number)
        case HTTPStatus.REQUEST_TIMEOUT | HTTPStatus.TOO_MANY_REQUESTS:
            pass
        case status if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return Asked("nonsense", reason=f"status {status}", status=number)
    return Asked("later", wait=wait(response.headers.get("Retry-After", "")), reason=f"status {number}", status=number)


async def read(response: httpx.Response, most: int = MOST_BYTES) -> Asked:
    """The body, if it is not compressed (we did not ask for that, and its true size would show too late) and not too long."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        return Asked("nonsense", reason="compressed")
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > most:
            return Asked("nonsense", reason="too long")
    return Asked("found", bytes(body))


def wait(header: str) -> float:
    """Seconds in a Retry-After header (RFC 9110, section 10.2.3); a date or nonsense is no wish."""
    return min(float(header), LONGEST_WAIT) if header.isascii() and header.isdigit() and len(header) < 10 else 0.0  # noqa: PLR2004  digits

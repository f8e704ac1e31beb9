"""Asking Vapi what it knows of a call: one shared pool, real timeouts, bounded answers, no state of one tenant on the client.

Whatever goes wrong is an outcome, not an exception: an exception could carry the key, which stands in a header of its request.
Path and answer: docs.vapi.ai, API reference, `GET /call/{id}`.
"""

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Literal, Self
from urllib.parse import quote

import httpx

MOST_BYTES = 16 << 20  # of one answer: a long call's messages take a few hundred kB
LONGEST_WAIT = 3600.0  # seconds that a Retry-After is believed
NO_PATHS = ("", ".", "..")  # a path made of these would lead elsewhere


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of asking.

    found: `body` is Vapi's JSON, unread · absent: this key has no such call · refused: the key is wrong · nonsense: no answer to the
    question · later: Vapi is away or busy; `wait` is how many seconds it wants to be left alone, if it said so. `reason` is for the log.
    """

    word: Literal["found", "absent", "refused", "nonsense", "later"]
    body: bytes = b""
    wait: float = 0.0
    reason: str = ""


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
        if call_id in NO_PATHS:
            return Asked("absent")
        if not (key and key.isascii() and key.isprintable()):
            return Asked("refused")
        headers = {"Authorization": f"Bearer {key}", "Accept": "application/json", "Accept-Encoding": "identity"}
        try:
            async with (
                asyncio.timeout(self._total),
                self._client.stream("GET", f"{self._base_url}/call/{quote(call_id, safe='')}", headers=headers) as response,
            ):
                return await answered(response)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:  # TimeoutError is an OSError
            return Asked("later", reason=type(error).__name__)


async def answered(response: httpx.Response) -> Asked:
    """What an answer means by its status; its body is read only where it is needed."""
    match response.status_code:
        case HTTPStatus.OK:
            return await read(response)
        case HTTPStatus.NOT_FOUND:
            return Asked("absent")
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return Asked("refused")
        case HTTPStatus.REQUEST_TIMEOUT | HTTPStatus.TOO_MANY_REQUESTS:
            pass
        case status if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return Asked("nonsense", reason=f"status {status}")
    return Asked("later", wait=wait(response.headers.get("Retry-After", "")), reason=f"status {response.status_code}")


async def read(response: httpx.Response) -> Asked:
    """The body, if it is not compressed (we did not ask for that, and its true size would show too late) and not too long."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        return Asked("nonsense", reason="compressed")
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > MOST_BYTES:
            return Asked("nonsense", reason="too long")
    return Asked("found", bytes(body))


def wait(header: str) -> float:
    """Seconds in a Retry-After header (RFC 9110, section 10.2.3); a date or nonsense is no wish."""
    return min(float(header), LONGEST_WAIT) if header.isascii() and header.isdigit() and len(header) < 10 else 0.0  # noqa: PLR2004  digits

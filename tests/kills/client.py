"""HTTP as an outsider speaks it: nothing is repeated that the caller does not repeat."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp


class Unreachable(Exception):
    """No answer came: refused, reset, cut in the middle, or too late."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `replayed` is the header Idempotent-Replayed."""

    status: int
    body: bytes
    replayed: bool

    @property
    def taken(self) -> bool:
        """Whether the other side vouches for it from now on."""
        return 200 <= self.status < 300

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Http:
    """One pool of connections for all that is asked; open and close it inside one event loop."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar())

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def call(
        self,
        method: str,
        url: str,
        body: Any = None,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        within: float = 30.0,
    ) -> Answer:
        """One request with a JSON body, or with bytes as they are.

        Raises:
            Unreachable: no whole answer within so many seconds.
        """
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {}), **(headers or {})}
        try:
            async with self._session.request(method, url, data=data, headers=sent, timeout=aiohttp.ClientTimeout(within)) as response:
                return Answer(response.status, await response.read(), response.headers.get("Idempotent-Replayed") == "true")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(f"{method} {url}: {error!r}") from error

    async def right(self, method: str, url: str, body: Any = None, *, key: str | None = None) -> Any:
        """The decoded answer of a call that has to work.

        Raises:
            Unreachable: no answer, or no 2xx.
        """
        answer = await self.call(method, url, body, key=key)
        if not answer.taken:
            raise Unreachable(f"{method} {url} answered {answer.status}: {answer.body[:300]!r}")
        return answer.json if answer.body else None

    async def items(self, url: str, key: str) -> AsyncIterator[dict[str, Any]]:
        """Every item of a list, page by page."""
        cursor: str | None = ""
        while cursor is not None:
            page = await self.right("GET", f"{url}{'&' if '?' in url else '?'}limit=100{cursor}", key=key)
            for item in page["items"]:
                yield item
            cursor = f"&cursor={quote(page['next_cursor'], safe='')}" if page["next_cursor"] else None

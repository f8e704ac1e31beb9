"""Trunkline's API as the simulation uses it: as the operator, and as a tenant."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import httpx

from trunkline.simulate.target import Target

PATIENCE_SECONDS = 30.0
MOST = 200


class ApiTrouble(Exception):
    """The API did not answer, or not well; the text names the path and the status, and no secret."""


class Api:
    """One caller of the API: a key, and where."""

    def __init__(self, client: httpx.AsyncClient, key: str) -> None:
        self._client = client
        self._headers = {"Authorization": f"Bearer {key}"}

    async def ask(self, method: str, path: str, expected: tuple[int, ...] = (200, 201), **options: Any) -> Any:
        """The body of a good answer; None of an empty one.

        Raises:
            ApiTrouble: no answer, or one with another status.
        """
        try:
            answer = await self._client.request(method, path, headers=self._headers, **options)
        except httpx.HTTPError as error:
            raise ApiTrouble(f"{method} {path} got no answer ({type(error).__name__})") from error
        if answer.status_code not in expected:
            raise ApiTrouble(f"{method} {path} was answered with {answer.status_code}: {answer.text[:300]}")
        return answer.json() if answer.content else None

    async def since(self, path: str, field: str, began: datetime) -> AsyncIterator[dict[str, Any]]:
        """The items of a list that has the newest first, as long as `field` is not before `began`.

        Raises:
            ApiTrouble: the list cannot be read.
        """
        cursor: str | None = None
        while True:
            page = await self.ask("GET", path, params={"limit": MOST, **({"cursor": cursor} if cursor else {})})
            for item in page["items"]:
                if datetime.fromisoformat(item[field]) < began:
                    return
                yield item
            cursor = page["next_cursor"]
            if cursor is None:
                return


def client_of(target: Target) -> httpx.AsyncClient:
    """A pool of connections to the installation."""
    return httpx.AsyncClient(base_url=target.base_url, timeout=PATIENCE_SECONDS, limits=httpx.Limits(max_connections=16))

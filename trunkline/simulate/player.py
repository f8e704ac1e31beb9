"""The sandbox Vapi as the simulation uses it: it plays a call and tells what it sent."""

import json
from collections.abc import Callable
from typing import Any

import httpx

from trunkline.simulate.seats import Seat

LONGEST_CALL_SECONDS = 600.0
# as recommended for every server at Vapi, and as we configure it: what cannot succeed is not repeated
BACKOFF = {"type": "exponential", "maxRetries": 3, "baseDelaySeconds": 1, "excludedStatusCodes": [400, 401, 403, 404, 413, 422]}

Delivery = dict[str, Any]
Book = dict[str, Any]


class BrokeOff(Exception):
    """The sandbox did not play the call to its end; the text says why."""


def order_for(seat: Seat, call_id: str, caller: str, **more: Any) -> dict[str, Any]:
    """What the sandbox is asked to play for a tenant."""
    return {
        "url": seat.webhook_url,
        "credential": {"mode": "bearer", "secret": seat.secret},
        "call_id": call_id,
        "assistant_id": seat.vapi_assistant_id,
        "customer_number": caller,
        "backoff": BACKOFF,
        **more,
    }


async def play(vapi: httpx.AsyncClient, order: dict[str, Any], seen: Callable[[Delivery], None]) -> Book:
    """Have a call played; `seen` is told of each delivery as it happens.

    Raises:
        BrokeOff: the sandbox refused it, or went away in the middle.
    """
    try:
        async with vapi.stream("POST", "/control/play-call", json={**order, "stream": True}) as response:
            if response.is_error:
                raise BrokeOff(f"the sandbox refuses it: {(await response.aread()).decode(errors='replace')[:300]}")
            async for line in response.aiter_lines():
                told = json.loads(line)
                if "call" in told:
                    book: Book = told["call"]
                    return book
                seen(told["delivery"])
    except httpx.HTTPError as error:
        raise BrokeOff(f"the sandbox went away ({type(error).__name__})") from error
    raise BrokeOff("the sandbox ended before the call did")


async def book_of(vapi: httpx.AsyncClient, call_id: str) -> Book | None:
    """What the sandbox has sent of a call by now; None where it does not tell."""
    try:
        books: list[Book] = (await vapi.get("/control/books", params={"call_id": call_id})).json()["calls"]
    except (httpx.HTTPError, ValueError, KeyError):
        return None
    return books[0] if books else None


def client_of(vapi_url: str) -> httpx.AsyncClient:
    """A pool of connections to the sandbox."""
    return httpx.AsyncClient(base_url=vapi_url, timeout=LONGEST_CALL_SECONDS, limits=httpx.Limits(max_connections=None))

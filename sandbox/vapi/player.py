"""Plays webhooks the way Vapi does: its headers, compact JSON, its retries."""

import asyncio
import io
import secrets
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import aiohttp
import msgspec

from sandbox.clock import monotonic
from sandbox.vapi import bodies
from sandbox.vapi.credentials import Credential, headers_of

_OK, _REDIRECTION = 200, 300
_DEFAULT_TIMEOUT = 20.0


class Backoff(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Vapi's `backoffPlan`; without one nothing is retried."""

    type: Literal["fixed", "exponential"] = "fixed"
    max_retries: Annotated[int, msgspec.Meta(ge=0, le=10)] = 0
    base_delay_seconds: Annotated[float, msgspec.Meta(ge=0, le=10)] = 1
    excluded_status_codes: list[int] = []

    def pause(self, retry: int) -> float:
        """Seconds before the retry with this number, from 0."""
        return self.base_delay_seconds * (2**retry if self.type == "exponential" else 1)


class ToolCalls(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="tool-calls"):
    """A `tool-calls` of real size."""

    call_id: str
    tool_call_id: str
    tool_name: str
    arguments: dict[str, Any]
    assistant_id: str | None = None
    customer_number: str = "+12135550123"

    def body(self) -> dict[str, Any]:
        """The webhook's body."""
        return bodies.real_size_tool_call(
            self.call_id, self.assistant_id, self.tool_call_id, self.tool_name, self.arguments, self.customer_number
        )


class StatusUpdate(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="status-update"):
    """A `status-update`."""

    call_id: str
    assistant_id: str | None = None
    status: str = "in-progress"
    customer_number: str | None = None

    def body(self) -> dict[str, Any]:
        """The webhook's body."""
        return bodies.status_update(self.call_id, self.assistant_id, self.status, self.customer_number)


class EndOfCallReport(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="end-of-call-report"):
    """An `end-of-call-report`."""

    call_id: str
    assistant_id: str | None = None
    seconds: Annotated[float, msgspec.Meta(ge=0)] = bodies.CALL_SECONDS
    cost: Annotated[float, msgspec.Meta(ge=0)] = bodies.CALL_COST
    customer_number: str | None = None

    def body(self) -> dict[str, Any]:
        """The webhook's body."""
        return bodies.end_of_call_report(
            self.call_id, self.assistant_id, seconds=self.seconds, cost=self.cost, customer_number=self.customer_number
        )


class Delivery(msgspec.Struct, forbid_unknown_fields=True):
    """What to deliver, where, and how: either a `body` as it is or a `fixture`; `times` copies, one after another or all at once."""

    url: Annotated[str, msgspec.Meta(pattern="^https?://")]
    body: Any = None
    fixture: ToolCalls | StatusUpdate | EndOfCallReport | None = None
    credential: Credential = msgspec.field(default_factory=Credential)
    headers: dict[str, str] = {}
    times: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    at_once: bool = False
    backoff: Backoff | None = None
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=300)] = _DEFAULT_TIMEOUT

    def __post_init__(self) -> None:
        """Either a body or a fixture.

        Raises:
            ValueError: neither, or both.
        """
        if (self.body is None) == (self.fixture is None):
            raise ValueError("give either a body or a fixture")


class Player:
    """Delivers webhooks. Must be opened inside a running loop, and closed."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def opened(self, _: Any) -> AsyncIterator[None]:
        """Holds the pool of connections open; a cleanup context of aiohttp."""
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=2)
        async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as self._session:
            yield

    async def play(self, delivery: Delivery) -> list[dict[str, Any]]:
        """Delivers all copies; gives every attempt, in the order of copies and tries.

        An attempt is `{"copy", "attempt", "status", "headers", "body", "bytes", "milliseconds", "error"}`: `status` null and an error
        when there was no answer, header names in lower case, the body as text, `bytes` the size of what was posted.
        """
        body = delivery.fixture.body() if delivery.fixture else delivery.body
        copies = [self._deliver(delivery, body, copy) for copy in range(1, delivery.times + 1)]
        played = await asyncio.gather(*copies) if delivery.at_once else [await one for one in copies]
        return [attempt for attempts in played for attempt in attempts]

    async def _deliver(self, delivery: Delivery, body: Any, copy: int) -> list[dict[str, Any]]:
        """One copy with its retries."""
        plan = delivery.backoff or Backoff()
        attempts: list[dict[str, Any]] = []
        for number in range(1 + plan.max_retries):
            if number:
                await asyncio.sleep(plan.pause(number - 1))
            attempt = await self._post(delivery, bodies.freshened(body))
            attempts.append({"copy": copy, "attempt": number + 1, **attempt})
            if answered(attempt) or attempt["status"] in plan.excluded_status_codes:
                break
        return attempts

    async def _post(self, delivery: Delivery, body: Any) -> dict[str, Any]:
        if self._session is None:
            raise RuntimeError("the player is not open")
        data = msgspec.json.encode(body)
        attempt: dict[str, Any] = {"status": None, "headers": {}, "body": None, "bytes": len(data), "error": None}
        began = monotonic()
        try:
            async with self._session.post(
                delivery.url,
                data=io.BytesIO(data),  # as aiohttp wants large ones
                headers=_headers(delivery, body, data),
                timeout=aiohttp.ClientTimeout(total=delivery.timeout_seconds),
                allow_redirects=False,
            ) as response:
                attempt["body"] = await response.text(errors="replace")
                attempt["status"] = response.status
                attempt["headers"] = {name.lower(): value for name, value in response.headers.items()}
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            attempt["error"] = repr(error)
        attempt["milliseconds"] = round((monotonic() - began) * 1000, 3)
        return attempt


def answered(attempt: dict[str, Any]) -> bool:
    """Whether an attempt got a 2xx, which is what ends its retries."""
    status = attempt["status"]
    return status is not None and _OK <= status < _REDIRECTION


def _headers(delivery: Delivery, body: Any, data: bytes) -> dict[str, str]:
    """As in a real delivery; the trace headers are Vapi's own and mean nothing to a receiver."""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    headers = {
        "accept": "application/json, text/plain, */*",
        "accept-encoding": "gzip, deflate",
        "baggage": f"sentry-environment=production,sentry-trace_id={trace}",
        "content-type": "application/json",
        "sentry-trace": f"{trace}-{span}",
        "user-agent": "axios/1.8.3",
    }
    headers |= headers_of(delivery.credential, "POST", delivery.url, data)
    if call_id := _call_id(body):
        headers |= {"x-call-id": call_id, "cookie": f"callId={call_id}"}
    return headers | {name.lower(): value for name, value in delivery.headers.items()}


def _call_id(body: Any) -> str | None:
    message = body.get("message") if isinstance(body, dict) else None
    call = message.get("call") if isinstance(message, dict) else None
    call_id = call.get("id") if isinstance(call, dict) else None
    return call_id if isinstance(call_id, str) and call_id.isascii() and call_id.isprintable() else None

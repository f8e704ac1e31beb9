"""Calling a tool of the tenant's own over HTTP: signed, within a deadline, repeated only where that is safe.

No transaction may be open meanwhile. What is not known to have been done or not done is called doubtful, never guessed.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Self
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver

from runtime import clock, metrics, sentry
from runtime.addresses import AllowedHosts, checked_url
from runtime.crypto import Keyring, SealBroken
from runtime.logs import log
from runtime.shares import Shares
from runtime.version import VERSION
from tenants.snapshot import ToolView
from webhooks.breaker import Breaker
from webhooks.guarded_connections import AddressRefused, Guard, guarded_session, looking_for
from webhooks.tool_answer import Reply, ToolOutcome, doubtful, misled, not_reached
from webhooks.tool_attempts import LEAST_SECONDS, Attempt, healthy, judged, may_follow, pause_after, retry_after_of, settled
from webhooks.tool_request import ToolRequest, body_of, headers_of, query_of

MOST_REDIRECTS = 3
KEPT_REDIRECTS = (307, 308)  # method and body stay (RFC 9110, 15.4); any other one is no answer to a call
LARGEST_ANSWER = 65_536  # bytes that are read
CONNECT_SECONDS = 3.0
TENANT_CALLS, TENANT_CALLS_PER_HOST = 64, 16  # at once; by tenant, since many tenants' tools share an automation service's host
CHARSETS = frozenset({"utf-8", "utf8", "us-ascii", "iso-8859-1", "latin-1", "latin1", "windows-1252"})


@dataclass(slots=True)
class Exchange:
    """One attempt while it runs: `written` says that the request may have been received."""

    tool: ToolView
    call: ToolRequest
    body: bytes
    headers: dict[str, str] = field(repr=False)
    in_doubt: bool
    written: bool = False

    def mark_written(self) -> None:
        """The head is about to leave."""
        self.written = True


class ToolHttp:
    """One per process, for every tenant. Open it (`async with`) in the loop that uses it.

    `resolver`, `breaker` and `jitter` (lower and upper bound in seconds → a number between) are there to be replaced by tests.
    """

    def __init__(
        self,
        keyring: Keyring,
        allowed: AllowedHosts,
        *,
        resolver: AbstractResolver | None = None,
        breaker: Breaker | None = None,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._keyring, self._allowed, self._jitter = keyring, allowed, jitter
        self._resolver, self._breaker = resolver, breaker or Breaker()
        self._by_tenant, self._by_host = Shares(TENANT_CALLS), Shares(TENANT_CALLS_PER_HOST)
        self._guard: Guard | None = None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._guard = Guard(self._allowed, self._resolver)
        self._session = guarded_session(self._guard)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None and self._guard is not None:
            await self._session.close()
            await self._guard.close()
        self._session = self._guard = None

    async def run(self, tool: ToolView, call: ToolRequest, deadline: float) -> ToolOutcome:
        """Call a tool, again where it is safe, and say how it ended before `deadline` (clock.monotonic() seconds).

        Never raises for what the endpoint or the network does. A run that is cancelled may have been acted on.
        """
        outcome = await self._unless_broken(tool, call, deadline)
        metrics.TOOL_CALLS.labels(outcome.kind).inc()
        log.info("tool called", tool=tool.name, outcome=outcome.kind, status=outcome.status, attempts=outcome.attempts)
        return outcome

    async def _unless_broken(self, tool: ToolView, call: ToolRequest, deadline: float) -> ToolOutcome:
        if call.repeated and not tool.repeatable:
            return doubtful()
        entry = self._breaker.enter((call.tenant, tool.name, tool.url))
        if entry is None:
            return settled(not_reached(tool.name), 0, in_doubt=call.repeated)
        health = None
        try:
            outcome = await self._attempts(tool, call, deadline)
            health = healthy(outcome)
        finally:
            if self._breaker.leave(entry, healthy=health):
                metrics.TOOL_BREAKERS_OPENED.inc()
        return outcome

    async def _attempts(self, tool: ToolView, call: ToolRequest, deadline: float) -> ToolOutcome:
        outcome, in_doubt = settled(not_reached(tool.name), 0, in_doubt=call.repeated), call.repeated
        try:
            secrets = self._secrets(tool, call)
        except SealBroken as error:
            sentry.report(error)  # a master key is gone: rotating the tool's secret is how that is mended
            return outcome
        body = body_of(tool, call)
        for number in count(1):
            left = deadline - clock.monotonic()
            if left < LEAST_SECONDS:
                return outcome
            exchange = Exchange(tool, call, body, headers_of(call, body, secrets, VERSION), in_doubt)
            attempt = await self._attempt(exchange, min(left, tool.timeout_ms / 1000))
            in_doubt = in_doubt or attempt.outcome.kind == "doubtful"
            outcome = settled(attempt.outcome, number, in_doubt=in_doubt)
            pause = pause_after(attempt, number, self._jitter)
            if not may_follow(attempt, number, in_doubt=in_doubt, repeatable=tool.repeatable):
                return outcome
            if clock.monotonic() + pause + LEAST_SECONDS > deadline:
                return outcome
            await asyncio.sleep(pause)
        raise AssertionError("count() ends never")

    def _secrets(self, tool: ToolView, call: ToolRequest) -> list[str]:
        """The secrets that sign, the newest first."""
        sealed = [each for each in (tool.secret_sealed, tool.previous_secret_sealed) if each is not None]
        return [self._keyring.open(each, call.tenant, tool.sealed_for) for each in sealed]

    async def _attempt(self, exchange: Exchange, seconds: float) -> Attempt:
        """One attempt, redirects included, of at most so many seconds."""
        tenant, host = exchange.call.tenant, urlsplit(exchange.tool.url).netloc
        looking_for.set(tenant)
        try:
            async with asyncio.timeout(seconds), self._by_host.of((tenant, host)), self._by_tenant.of(tenant):
                return await self._follow(exchange)
        except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError; ValueError: an URL that may not be called
            if exchange.written:
                return Attempt(doubtful(), again=True)
            final = isinstance(error, ValueError) or isinstance(getattr(error, "os_error", error), AddressRefused)
            return Attempt(not_reached(exchange.tool.name), again=not final)

    async def _follow(self, exchange: Exchange) -> Attempt:
        """The request, and after 307 and 308 the same one again where the same origin says.

        Raises:
            ValueError: the URL may not be called. aiohttp.ClientError, OSError: no answer.
        """
        url, query, status = exchange.tool.url, query_of(exchange.tool, exchange.call), 0
        for _ in range(MOST_REDIRECTS + 1):
            checked_url(url, self._allowed)
            async with self._request(exchange, url, query) as answer:
                if answer.status not in KEPT_REDIRECTS:
                    return await self._judged(exchange, answer)
                status, exchange.written = answer.status, False  # a redirect says that nothing was done here
                onward = urljoin(url, answer.headers.get("Location", ""))
            if origin(onward) != origin(url):  # the signature is for one endpoint
                break
            url, query = onward, {}
        return Attempt(misled(exchange.tool.name, status))

    def _request(self, exchange: Exchange, url: str, query: dict[str, str]) -> "aiohttp.client._RequestContextManager":
        if self._session is None:
            raise RuntimeError("ToolHttp is not open: use it with `async with`")
        return self._session.request(
            exchange.tool.method,
            url,
            params=query or None,
            data=exchange.body or None,
            headers=exchange.headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),  # the attempt's own time bounds the rest
            trace_request_ctx=exchange.mark_written,
        )

    async def _judged(self, exchange: Exchange, answer: aiohttp.ClientResponse) -> Attempt:
        reply = Reply(answer.status, answer.content_type, await text_of(answer))
        wait = retry_after_of(answer.headers, clock.now())
        return judged(reply, wait, exchange.tool.name, exchange.call.tool_call_id, in_doubt=exchange.in_doubt)


async def text_of(answer: aiohttp.ClientResponse) -> str:
    """The first 64 kB of an answer as text; nothing of one that came compressed unasked."""
    if answer.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        return ""
    read = bytearray()
    async for chunk in answer.content.iter_any():
        read += chunk
        if len(read) >= LARGEST_ANSWER:
            break
    charset = (answer.charset or "").lower()
    return bytes(read[:LARGEST_ANSWER]).decode(charset if charset in CHARSETS else "utf-8", errors="replace")


def origin(url: str) -> tuple[str, str, int | None] | None:
    """Scheme, host and port; None for what is no URL."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None

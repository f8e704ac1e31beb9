"""Our HTTP client under the `twilio` package: one shared pool, real timeouts, no retries, no state of a request on the instance.

The package's own async client has no timeout, can mix up the answers of concurrent requests and repeats creates. This one also
knows whether a failed request had begun to leave: only what had not was surely not sent.
"""

import logging
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Self

import aiohttp
from twilio.http import AsyncHttpClient
from twilio.http.response import Response
from yarl import URL

TWILIO = "https://api.twilio.com"

_log = logging.getLogger(__name__)


class RequestFailed(Exception):
    """No answer came. `written`: the request had begun to leave, so Twilio may have acted on it. `kind` names the fault."""

    def __init__(self, kind: str, *, written: bool) -> None:
        super().__init__(f"{kind}, {'after' if written else 'before'} the request was written")
        self.kind = kind
        self.written = written


@dataclass(slots=True)
class _Progress:
    """What is known of one request while it runs; it travels with the request, not on the client."""

    written: bool = False


class TwilioHttp(AsyncHttpClient):
    """One per process, for every tenant: credentials come with each request. Open it (`async with`) in the loop that uses it.

    `base_url` takes the place of https://api.twilio.com. `total` seconds bound a request, `connect` the wait for a connection,
    `connections` how many there may be at once.
    """

    def __init__(self, base_url: str = TWILIO, *, total: float = 10.0, connect: float = 3.0, connections: int = 100) -> None:
        super().__init__(_log, is_async=True, timeout=total)
        self._base_url = base_url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=total, connect=connect)
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections),
            cookie_jar=aiohttp.DummyCookieJar(),  # a cookie of one tenant's answer must not travel with another's request
            timeout=self._timeout,
            trace_configs=[_watch_writing()],
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def request(  # type: ignore[override]  # as the package's own async client does
        self,
        method: str,
        uri: str,
        params: dict[str, object] | None = None,
        data: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  the package's signature; ours are set once
        allow_redirects: bool = False,
    ) -> Response:
        """One request, answered or RequestFailed; redirects are answers. A cancelled one may have been acted on."""
        if self._session is None:
            raise RuntimeError("TwilioHttp is not open: use it with `async with`")
        sent_headers = dict(headers or {})
        if auth is not None:
            sent_headers["Authorization"] = aiohttp.encode_basic_auth(*auth)
        # aiohttp's own form takes ten times as long: it makes a multipart writer first and quotes in Python
        form = None if data is None else URL.build(query=data).raw_query_string.encode()  # type: ignore[arg-type]  # of strings
        options: dict[str, Any] = {"params": params, "data": form, "headers": sent_headers, "allow_redirects": allow_redirects}
        if timeout is not None:
            options["timeout"] = aiohttp.ClientTimeout(total=timeout, connect=self._timeout.connect)
        progress = _Progress()
        try:
            async with self._session.request(method.upper(), self._address(uri), trace_request_ctx=progress, **options) as answer:
                return Response(answer.status, await answer.text(errors="replace"), answer.headers)
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            raise RequestFailed(type(error).__name__, written=progress.written) from error

    def _address(self, uri: str) -> str:
        """The same path at our base address; credentials go nowhere else."""
        if not uri.startswith(f"{TWILIO}/"):
            raise ValueError("This client speaks to api.twilio.com only")
        return self._base_url + uri.removeprefix(TWILIO)


def _watch_writing() -> aiohttp.TraceConfig:
    """Marks a request as soon as its head is about to leave: connected, secured, and from then on possibly received."""
    trace = aiohttp.TraceConfig()

    async def mark(_: aiohttp.ClientSession, context: SimpleNamespace, __: aiohttp.TraceRequestHeadersSentParams) -> None:
        context.trace_request_ctx.written = True

    trace.on_request_headers_sent.append(mark)
    return trace

"""Connections to where a tenant's URL leads: each address is judged at the moment it is connected to.

Names are judged after their resolution, and the very socket once more before it connects, so neither a name that resolves
differently the second time (DNS rebinding) nor an address that stands in the URL itself, which never sees a resolver, gets past.
"""

import asyncio
import socket
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from runtime.addresses import AllowedHosts, literal
from runtime.shares import Shares

RESOLVER_THREADS = 32  # of their own: a tenant's name server that does not answer must not hold those that others work with
TENANT_LOOK_UPS = 4
Found = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]
looking_for: ContextVar[Hashable] = ContextVar("looking_for", default=None)  # the tenant whose tool is called
CONNECTIONS = 1024  # per host there is no limit here: tenants share hosts, so each has a limit of its own (tool_http.py)


class AddressRefused(OSError):
    """The host leads to an address that a tenant may not reach."""


class SystemResolver(AbstractResolver):
    """The system's resolver, in threads of its own."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(RESOLVER_THREADS, "resolve")
        self._by_tenant = Shares(TENANT_LOOK_UPS)
        self._looking: set[asyncio.Task[list[Found]]] = set()

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """The addresses of a name.

        Raises:
            OSError: there are none.
        """
        task = asyncio.create_task(self._look_up(host, port, family))
        self._looking.add(task)
        task.add_done_callback(self._looked_up)
        found = await asyncio.shield(task)  # whoever waited may go away; the thread, and the place, are busy until it answers
        return [result(host, str(address[0]), port, each) for each, _, _, _, address in found]

    async def _look_up(self, host: str, port: int, family: socket.AddressFamily) -> list[Found]:
        """In a thread, of which one tenant holds few: a name server of its that does not answer stops nobody else's tools."""
        async with self._by_tenant.of(looking_for.get()):
            loop = asyncio.get_running_loop()
            found: list[Found] = await loop.run_in_executor(self._threads, look_up, host, port, family)
            return found

    def _looked_up(self, task: "asyncio.Task[list[Found]]") -> None:
        self._looking.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits has it

    async def close(self) -> None:
        """Start no further look-up."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def look_up(host: str, port: int, family: socket.AddressFamily) -> list[Found]:
    """The addresses of a name, as the system tells them."""
    return list(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM))


def result(host: str, address: str, port: int, family: socket.AddressFamily) -> ResolveResult:
    """One resolved address."""
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)


class Guard(AbstractResolver):
    """A resolver that refuses a name with an address nobody may reach, and makes the sockets that connect."""

    def __init__(self, allowed: AllowedHosts, resolver: AbstractResolver | None = None) -> None:
        self._allowed = allowed
        self._resolver = resolver or SystemResolver()
        self._by_name: set[str] = set()  # where the names lead that the operator allows: few, since it lists them

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """The addresses of a name, all of which may be reached.

        Raises:
            AddressRefused: one of them may not. OSError: there are none.
        """
        found = await self._resolver.resolve(host, port, family)
        addresses = {each["host"] for each in found}
        if self._allowed.has_name(host):
            self._by_name |= addresses
        elif not all(self._may_reach(address) for address in addresses):
            raise AddressRefused("a name of a tenant's URL leads to an address that is not public")
        return found

    async def close(self) -> None:
        """Give the resolver's threads back."""
        await self._resolver.close()

    def socket_for(self, info: tuple[Any, ...]) -> socket.socket:
        """A socket for one resolved address, right before it connects there.

        Raises:
            AddressRefused: it may not be reached.
        """
        family, kind, protocol, _, address = info
        if address[0] not in self._by_name and not self._may_reach(address[0]):
            raise AddressRefused("a tenant's URL leads to an address that is not public")
        return socket.socket(family, kind, protocol)

    def _may_reach(self, address: str) -> bool:
        found = literal(address)
        return found is not None and self._allowed.admits(found)


def guarded_session(guard: Guard) -> aiohttp.ClientSession:
    """A session whose every connection is new, so that what was judged is what is used and no stale one makes a call doubtful.

    Without cookies and proxies, and the answer's bytes come as they are: a compressed one is not unpacked to any size.
    """
    connector = aiohttp.TCPConnector(
        resolver=guard,
        socket_factory=guard.socket_for,
        use_dns_cache=False,
        force_close=True,
        limit=CONNECTIONS,
    )
    session = aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, auto_decompress=False, trace_configs=[watch_writing()]
    )
    session._retry_connection = False  # noqa: SLF001  else aiohttp sends GET, PUT and DELETE again by itself when a connection breaks
    return session


def watch_writing() -> aiohttp.TraceConfig:
    """Calls what travels with a request as soon as its head is about to leave: from then on it may have been received."""
    trace = aiohttp.TraceConfig()

    async def mark(_: aiohttp.ClientSession, context: Any, __: aiohttp.TraceRequestHeadersSentParams) -> None:
        context.trace_request_ctx()

    trace.on_request_headers_sent.append(mark)
    return trace

"""No tenant's URL leads inside: not by a name, by an address in any spelling, by a redirect, or by a name that changes its mind."""

import gzip
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from runtime.addresses import AllowedHosts
from sandbox.tool import ToolSandbox
from sandbox.tool.faults import Status
from tests.webhooks.toolbox import KEYRING, LOCAL, Endpoint, call, self_signed, serving_tool, soon, tool
from webhooks.guarded_connections import AddressRefused, Guard, guarded_session, result
from webhooks.tool_http import ToolHttp

NOBODY = AllowedHosts()
PUBLIC = "198.41.0.4"  # a root name server: public, and never reached here


class Names(AbstractResolver):
    """A name server of the test's own: one answer after another, then the last one for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers, self.asked = list(answers), 0

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        assert family in socket.AddressFamily
        found = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [result(host, each, port, socket.AF_INET6 if ":" in each else socket.AF_INET) for each in found]

    async def close(self) -> None:
        """Nothing is held."""


@asynccontextmanager
async def guarded(allowed: AllowedHosts, names: Names | None = None) -> AsyncIterator[tuple[aiohttp.ClientSession, Guard]]:
    guard = Guard(allowed, names)
    async with guarded_session(guard) as session:
        yield session, guard
    await guard.close()


async def refused(session: aiohttp.ClientSession, url: str) -> bool:
    """Whether it was our refusal, and no other failure."""
    try:
        async with session.get(url, timeout=aiohttp.ClientTimeout(total=2), trace_request_ctx=lambda: None):
            return False
    except aiohttp.InvalidURL:
        return True
    except aiohttp.ClientConnectorError as error:
        return isinstance(error.os_error, AddressRefused)


@pytest.fixture
async def inside() -> AsyncIterator[ToolSandbox]:
    """Something on this machine that no tenant may reach."""
    async with ToolSandbox.running() as sandbox:
        yield sandbox


SPELLINGS = ["127.0.0.1", "127.1", "0x7f.1", "0x7f000001", "2130706433", "017700000001", "0177.0.0.1", "0", "localhost", "LOCALHOST"]


@pytest.mark.parametrize("host", [*SPELLINGS, "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::]", "169.254.169.254"])
async def test_this_machine_is_not_reached_in_any_spelling(inside: ToolSandbox, host: str) -> None:
    port = urlsplit(inside.url).port
    async with guarded(NOBODY) as (session, _):
        assert await refused(session, f"http://{host}:{port}/book")
    async with ToolHttp(KEYRING, NOBODY) as http:
        outcome = await http.run(tool(f"http://{host}:{port}/book"), call(), soon())
    assert (outcome.kind, outcome.attempts) == ("not_reached", 1)
    assert list(inside.deliveries) == []


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00:ec2::254", "::ffff:127.0.0.1", "64:ff9b::a9fe:a9fe"]
)
async def test_a_name_that_leads_inside_is_refused(address: str) -> None:
    for answer in ([address], [PUBLIC, address]):
        async with guarded(NOBODY, Names(answer)) as (session, _):
            assert await refused(session, "http://booking.example.com/")


async def test_a_name_that_changes_its_mind_is_judged_each_time(inside: ToolSandbox) -> None:
    """DNS rebinding: public when it is looked at, this machine when it is called."""
    names = Names([PUBLIC], ["127.0.0.1"])
    port = urlsplit(inside.url).port
    allowed = AllowedHosts.parse("192.0.2.0/24")
    async with guarded(allowed, names) as (session, guard):
        assert [each["host"] for each in await guard.resolve("booking.example.com")] == [PUBLIC]
        assert await refused(session, f"http://booking.example.com:{port}/book")
    assert names.asked == 2
    assert list(inside.deliveries) == []


async def test_what_was_judged_is_what_is_connected_to(inside: ToolSandbox) -> None:
    """One look-up per connection, and the socket itself is judged once more."""
    names = Names(["127.0.0.1"], [PUBLIC])
    port = urlsplit(inside.url).port
    async with ToolHttp(KEYRING, AllowedHosts.parse("booking.example.com"), resolver=names) as http:
        outcome = await http.run(tool(f"http://booking.example.com:{port}/book"), call(), soon())
    assert (outcome.kind, names.asked) == ("done", 1)
    with pytest.raises(AddressRefused):
        Guard(NOBODY).socket_for((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port)))


@pytest.mark.parametrize("allowance", ["127.0.0.1", "127.0.0.0/8"])
async def test_the_operator_may_allow_an_address(inside: ToolSandbox, allowance: str) -> None:
    async with ToolHttp(KEYRING, AllowedHosts.parse(allowance)) as http:
        assert (await http.run(tool(inside.url), call(), soon())).kind == "done"
        assert (await http.run(tool(inside.url.replace("127.0.0.1", "[::1]")), call(), soon())).kind == "not_reached"


async def test_an_allowed_name_does_not_open_its_network(inside: ToolSandbox) -> None:
    names = Names(["127.0.0.1"])
    port = urlsplit(inside.url).port
    async with guarded(AllowedHosts.parse("tools.internal"), names) as (session, _):
        assert not await refused(session, f"http://tools.internal:{port}/")
        assert await refused(session, f"http://booking.example.com:{port}/")
        assert await refused(session, f"http://127.0.0.2:{port}/")


async def test_plain_http_goes_only_where_the_operator_allows(inside: ToolSandbox) -> None:
    names = Names(["127.0.0.1"])
    async with ToolHttp(KEYRING, AllowedHosts.parse("127.0.0.1"), resolver=names) as http:
        outcome = await http.run(tool(f"http://booking.example.com:{urlsplit(inside.url).port}/"), call(), soon())
    assert (outcome.kind, names.asked) == ("not_reached", 0)


async def test_a_certificate_that_nobody_vouches_for_gets_no_call(tmp_path: Path) -> None:
    asked = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_post("/book", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self_signed(tmp_path, "tools.internal")).start()
        url = f"https://tools.internal:{runner.addresses[0][1]}/book"
        async with ToolHttp(KEYRING, AllowedHosts.parse("tools.internal"), resolver=Names(["127.0.0.1"])) as http:
            outcome = await http.run(tool(url, repeatable=False), call(), soon(0.5))
    finally:
        await runner.cleanup()
    assert (outcome.kind, asked) == ("not_reached", [])


async def test_an_answer_comes_as_it_was_sent() -> None:
    """What is unpacked on the way may be a thousand times what was sent."""
    packed = gzip.compress(b"a" * 100_000)

    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    async with serving_tool(handler) as url, guarded(LOCAL) as (session, _), session.get(url, trace_request_ctx=lambda: None) as answer:
        assert await answer.read() == packed


# -- redirects ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [307, 308])
async def test_a_redirect_within_the_endpoint_keeps_method_body_and_key(inside: ToolSandbox, status: int) -> None:
    async with ToolHttp(KEYRING, LOCAL) as http:
        endpoint = Endpoint(inside, http)
        endpoint.arm(Status(status=status, headers={"Location": "/booked?x=1"}, times=1))
        outcome = await endpoint.run(method="PUT")
    first, second = endpoint.deliveries
    assert (outcome.kind, outcome.attempts) == ("done", 1)
    assert (second["path"], second["query"], second["method"]) == ("/booked", {"x": "1"}, "PUT")
    assert (first["text"], first["key"]) == (second["text"], second["key"])


async def test_it_follows_three_times_at_most(inside: ToolSandbox) -> None:
    async with ToolHttp(KEYRING, LOCAL) as http:
        endpoint = Endpoint(inside, http)
        endpoint.arm(Status(status=307, headers={"Location": "/book"}))
        outcome = await endpoint.run()
    assert (outcome.kind, outcome.status, len(endpoint.deliveries), endpoint.effects) == ("not_reached", 307, 4, 0)
    assert outcome.text == "The book table tool is not set up correctly, so nothing was done."


@pytest.mark.parametrize(
    "target",
    [
        "http://localhost:{port}/book",  # allowed, and another host all the same
        "http://127.0.0.1:1/book",
        "https://127.0.0.1:{port}/book",
        "//localhost:{port}/book",
        "http://169.254.169.254/latest/meta-data/",
        "http://user@127.0.0.1:{port}/book",
        "file:///etc/passwd",
        "http://[",
        "",
    ],
)
async def test_a_redirect_to_anybody_else_is_refused(inside: ToolSandbox, target: str) -> None:
    port = urlsplit(inside.url).port
    asked = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=307, headers={"Location": target.format(port=port)})

    async with serving_tool(handler) as url, ToolHttp(KEYRING, LOCAL) as http:
        outcome = await http.run(tool(url + "/book"), call(), soon())
    assert (outcome.kind, outcome.attempts) == ("not_reached", 1)
    assert list(inside.deliveries) == []
    assert set(asked) == {"/book"}

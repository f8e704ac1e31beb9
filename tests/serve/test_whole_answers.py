"""An answer leaves in one write, and whatever else a server writes leaves as it did."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import uvicorn
from litestar.types import Message, Receive, Scope, Send

from trunkline.whole_answers import HeadWaits, WholeAnswers

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


class Recorder(asyncio.Transport):
    """Remembers what was written, piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.pieces.append(bytes(data))

    def close(self) -> None:
        self.closed = True


def test_the_head_waits_for_the_body() -> None:
    recorder = Recorder()
    transport = HeadWaits(recorder)
    for data in (HEAD, b"{}", HEAD, b""):
        transport.write(data)
    assert recorder.pieces == [HEAD + b"{}", HEAD]


def test_a_body_that_looks_like_a_head_is_none() -> None:
    recorder = Recorder()
    transport = HeadWaits(recorder)
    for data in (HEAD, HEAD, b"more"):
        transport.write(data)
    assert recorder.pieces == [HEAD + HEAD, b"more"]


@pytest.mark.parametrize("data", [b"HTTP/1.1 100 Continue\r\n\r\n", b"0\r\n\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\nno", b""])
def test_what_is_no_head_does_not_wait(data: bytes) -> None:
    recorder = Recorder()
    HeadWaits(recorder).write(data)
    assert recorder.pieces == [data]


def test_closing_lets_go_of_what_waits() -> None:
    recorder = Recorder()
    transport = HeadWaits(recorder)
    transport.write(HEAD)
    transport.close()
    transport.let_go()
    assert (recorder.pieces, recorder.closed) == ([HEAD], True)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """An answer of each kind, by path."""
    assert scope["type"] == "http"
    if scope["path"] == "/read":
        while (await receive()).get("more_body"):
            pass
    length = [] if scope["path"] == "/stream" else [(b"content-length", b"0" if scope["path"] == "/empty" else b"4")]
    status = 204 if scope["path"] == "/nothing" else 200
    await send({"type": "http.response.start", "status": status, "headers": [] if status == 204 else length})
    if scope["path"] == "/dies":
        raise RuntimeError("in the middle")
    if scope["path"] == "/stream":
        await send(part(b"one", more=True))
        await asyncio.sleep(0.05)
    await send(part(b"" if scope["path"] in {"/empty", "/nothing"} else b"four"))


def part(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Where uvicorn serves it."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, http=WholeAnswers, log_level="critical", lifespan="off", date_header=False)  # type: ignore[arg-type]  # Litestar types its messages more closely
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  uvicorn has no event for it
        await asyncio.sleep(0.01)
    bound: int = server.servers[0].sockets[0].getsockname()[1]
    yield bound
    server.should_exit = True
    await serving


async def exchange(port: int, asked: bytes, ends: bytes | None) -> bytes:
    """What comes back, up to its end; None: until the server closes."""
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(asked)
        found = await reader.readuntil(ends) if ends else await reader.read()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        return found


@pytest.mark.parametrize(
    ("asked", "ends"),
    [
        (b"GET /plain HTTP/1.1\r\n\r\n", b"\r\n\r\nfour"),
        (b"HEAD /plain HTTP/1.1\r\n\r\n", b"content-length: 4\r\n\r\n"),
        (b"GET /empty HTTP/1.1\r\n\r\n", b"content-length: 0\r\n\r\n"),
        (b"GET /nothing HTTP/1.1\r\n\r\n", b"204 No Content\r\nserver: uvicorn\r\n\r\n"),
        (b"GET /stream HTTP/1.1\r\n\r\n", b"3\r\none\r\n4\r\nfour\r\n0\r\n\r\n"),
        (b"POST /read HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"GET /plain HTTP/1.1\r\n\r\n" * 3, b"four" + b"HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-length: 4\r\n\r\nfour" * 2),
    ],
)
async def test_every_kind_of_answer_arrives(port: int, asked: bytes, ends: bytes) -> None:
    assert (await exchange(port, asked, ends)).startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_an_answer_that_ends_the_connection_arrives(method: bytes, port: int) -> None:
    found = await exchange(port, method + b" /plain HTTP/1.1\r\nconnection: close\r\n\r\n", None)
    assert found.endswith(b"connection: close\r\n\r\n" + (b"four" if method == b"GET" else b""))


async def test_who_reads_is_told_when_the_answer_breaks_off(port: int) -> None:
    found = await exchange(port, b"GET /dies HTTP/1.1\r\n\r\n", None)
    assert found.endswith(b"content-length: 4\r\n\r\n")


async def test_what_is_no_request_is_refused(port: int) -> None:
    assert (await exchange(port, b"no request\r\n\r\n", None)).startswith(b"HTTP/1.1 400 Bad Request")

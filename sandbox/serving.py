"""Runs one stand-in on 127.0.0.1: inside a test, or as a process of its own."""

import argparse
import asyncio
import json
import signal
import socket
import struct
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

HOST = "127.0.0.1"
_LARGEST_PORT = 65_535


@asynccontextmanager
async def running(app: web.Application, port: int = 0) -> AsyncIterator[str]:
    """Serves `app` until the block ends; gives its base URL without a final slash. Port 0 takes any free one.

    Raises:
        OSError: the port is taken.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2, keepalive_timeout=75)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port, backlog=2048).start()
        yield f"http://{HOST}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def reset(request: web.Request) -> None:
    """Ends the connection with a TCP reset; what the handler returns afterwards reaches nobody."""
    transport = request.transport
    if transport is None:
        return
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def main(name: str, make_app: Callable[[], web.Application]) -> None:
    """The command line of a stand-in: `--port N`; prints `{"url": …}` once it listens; SIGINT and SIGTERM end it."""
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=f"Local stand-in, on {HOST} only.")
    parser.add_argument("--port", type=_port, default=0, help="0 (the default) takes any free port")
    port = parser.parse_args().port
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(make_app, port))
    except OSError as error:
        parser.exit(1, f"{parser.prog}: cannot listen on {HOST}:{port}: {error.strerror}\n")


async def _serve(make_app: Callable[[], web.Application], port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(make_app(), port) as url:
        sys.stdout.write(json.dumps({"url": url}) + "\n")
        sys.stdout.flush()
        await stop.wait()


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= _LARGEST_PORT:
        raise argparse.ArgumentTypeError(f"a port is 0 to {_LARGEST_PORT}")
    return port


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop  # noqa: PLC0415  there is none on Windows

    return uvloop.new_event_loop

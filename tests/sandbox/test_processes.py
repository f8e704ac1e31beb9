import asyncio
import json
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import aiohttp
import pytest

PATHS = {
    "sandbox.twilio": "/control/messages",
    "sandbox.vapi": "/call/x",
    "sandbox.sentry": "/control/items",
    "sandbox.tool": "/control/effects",
}


@asynccontextmanager
async def started(module: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", module, *arguments, stdout=pipe, stderr=pipe)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def url_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout
    line = json.loads(await process.stdout.readline())
    assert set(line) == {"url"}
    return str(line["url"])


@pytest.mark.parametrize(("module", "number"), [*((module, signal.SIGTERM) for module in PATHS), ("sandbox.twilio", signal.SIGINT)])
async def test_it_tells_its_url_serves_and_ends_promptly(session: aiohttp.ClientSession, module: str, number: signal.Signals) -> None:
    async with started(module, "--port", "0") as process:
        url = await url_of(process)
        assert urlsplit(url).hostname == "127.0.0.1"
        async with session.get(url + PATHS[module]) as response:
            assert response.status in {200, 401}
        began = time.monotonic()
        process.send_signal(number)
        out, err = await process.communicate()
        assert time.monotonic() - began < 3
        assert (process.returncode, out, err) == (0, b"", b"")


async def test_it_ends_promptly_while_somebody_waits(session: aiohttp.ClientSession) -> None:
    async with started("sandbox.twilio") as process:
        url, account = await url_of(process), "AC" + "1" * 32
        async with session.post(url + "/control/faults", json={"action": "accept_then_delay", "seconds": 60}) as response:
            assert response.status == 201
        headers = {"Authorization": aiohttp.encode_basic_auth(account, "t")}
        form = {"To": "+12135550123", "From": "+12025550199", "Body": "x"}
        waiting = asyncio.create_task(session.post(f"{url}/2010-04-01/Accounts/{account}/Messages.json", data=form, headers=headers))
        await asyncio.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(3):
            await process.wait()
        with pytest.raises(aiohttp.ClientError):
            await waiting


async def test_it_listens_on_loopback_only() -> None:
    async with started("sandbox.twilio") as process:
        port = urlsplit(await url_of(process)).port or 0
        with socket.socket() as elsewhere, pytest.raises(OSError, match=r".+"):
            elsewhere.connect(("127.0.0.2", port))
        with socket.socket() as here:
            here.connect(("127.0.0.1", port))


async def test_a_port_that_is_taken_ends_with_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        async with started("sandbox.sentry", "--port", port) as process:
            out, err = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert err.decode().count("\n") == 1
    assert f"cannot listen on 127.0.0.1:{port}" in err.decode()


@pytest.mark.parametrize("port", ["70000", "x", "-1"])
async def test_a_port_that_is_none_is_refused(port: str) -> None:
    async with started("sandbox.vapi", f"--port={port}") as process:
        _, err = await process.communicate()
    assert process.returncode == 2
    assert b"--port" in err

"""A running `trunkline dev`, and doors to it that can be shut."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from sandbox import serving
from tests.docs.conftest import House, house
from tests.docs.documents import ROOT

__all__ = ["house"]

FOLD_SOON = "UPDATE control.duties SET next_run = app.now() WHERE name = 'fold_duplicates' AND lease_until <= app.now()"


@dataclass
class Relay:
    """A door in front of Trunkline: passes everything on, counts webhooks, and answers them with `refusals` first.

    From its `shut_after`th webhook on, if any, it answers 503 to everything.
    """

    target: str
    session: aiohttp.ClientSession
    url: str = ""
    webhooks: int = 0
    refusals: list[int] = field(default_factory=list)
    shut_after: int | None = None

    async def take(self, request: web.Request) -> web.Response:
        if "/vapi-webhook/" in request.path:
            self.webhooks += 1
            if self.refusals:
                return web.Response(status=self.refusals.pop(0))
        if self.shut_after is not None and self.webhooks > self.shut_after:
            return web.Response(status=503)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in {"host", "content-length"}}
        async with self.session.request(
            request.method, self.target + request.raw_path, data=await request.read(), headers=headers
        ) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() in {"content-type", "idempotent-replayed"}}
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)


@pytest.fixture
async def relay(house: House) -> AsyncIterator[Relay]:
    async with aiohttp.ClientSession(auto_decompress=True) as session:
        relay = Relay(house.facts["base_url"], session)
        app = web.Application(client_max_size=16 << 20)
        app.router.add_route("*", "/{path:.*}", relay.take)
        async with serving.running(app) as relay.url:
            yield relay


@pytest.fixture
async def folding(house: House) -> AsyncIterator[None]:
    """Counts of duplicates are folded in every second instead of every minute."""

    async def fold() -> None:
        connection = await asyncpg.connect(house.facts["owner_url"])
        try:
            while True:
                await connection.execute(FOLD_SOON)
                await asyncio.sleep(0.5)
        finally:
            connection.terminate()

    task = asyncio.create_task(fold())
    yield
    task.cancel()
    await asyncio.wait([task])


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


async def started(*words: str) -> asyncio.subprocess.Process:
    """A command of ours as a process of its own."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}
    pipe = asyncio.subprocess.PIPE
    argv = [sys.executable, "-P", "-m", "trunkline.cli", "simulate", *words]
    return await asyncio.create_subprocess_exec(*argv, env={**env, "PYTHONPATH": str(ROOT)}, stdout=pipe, stderr=pipe)


async def ended(process: asyncio.subprocess.Process) -> Ended:
    out, err = await process.communicate()
    return Ended(process.returncode or 0, out.decode(), err.decode())


async def simulate(*words: str) -> Ended:
    return await ended(await started(*words))


def data_dir(house: House) -> str:
    return str(Path(house.directory) / ".trunkline")


def through(relay: Relay, house: House) -> list[str]:
    """The options that lead through the door."""
    return ["--base-url", relay.url, "--admin-key", house.facts["admin_key"], "--vapi-url", house.facts["vapi_url"]]

"""Embedded servers, a migrated database and eight processes of the API, each `trunkline serve` on a port of its own."""

import asyncio
import os
import resource
import secrets
import signal
import sys
import time
import uuid
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import asyncpg

from migrations.run import upgrade
from runtime.crypto import new_master_key
from tests.kills.client import Http, Unreachable
from tests.thousand.deliveries import Answer, Party
from trunkline.dev.databases import DatabaseUrls
from trunkline.dev.ports import free_port
from trunkline.dev.postgres import EmbeddedPostgres
from trunkline.dev.processes import Child, last_lines, spawn
from trunkline.dev.valkey import EmbeddedValkey

CHECKOUT = Path(__file__).resolve().parents[2]
CONNECTIONS = 4  # to the database, of each process
READY_SECONDS, ANSWER_SECONDS = 120.0, 60.0
OPEN_FILES = 8_192
STOPPING = [(signal.SIGTERM, 25.0)]


class NotReady(Exception):
    """A process did not come up, or a clean-up failed."""


class House:
    """What a run of `make thousand` plays in."""

    def __init__(self, work: Path, processes: int) -> None:
        self._work, self._ports = work, [free_port() for _ in range(processes)]
        self._admin_key, self._children = secrets.token_hex(24), list[Child]()
        self._environment: dict[str, str] = {}
        self._stack = AsyncExitStack()
        self._stop, self._cleaned = asyncio.Event(), asyncio.Event()
        self.urls = DatabaseUrls("", "")
        self.http: Http | None = None

    async def __aenter__(self) -> Self:
        try:
            postgres = await self._stack.enter_async_context(EmbeddedPostgres(self._work / "postgres", durable=False))
            valkey = await self._stack.enter_async_context(EmbeddedValkey(self._work / "valkey", durable=False))
            self.urls = await postgres.ensure_owner_and_database()
            await asyncio.to_thread(upgrade, self.urls.owner_url, "trunkline_app")
            self.http = Http()
            self._stack.push_async_callback(self.http.close)
            self._environment = {
                **{name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")},
                "TRUNKLINE_DATABASE_URL": self.urls.app_url,
                "TRUNKLINE_REDIS_URL": valkey.url,
                "TRUNKLINE_PUBLIC_BASE_URL": "https://hooks.example.test",
                "TRUNKLINE_SECRET_KEYS": new_master_key("thousand1"),
                "TRUNKLINE_ADMIN_KEY": self._admin_key,
                "TRUNKLINE_ENVIRONMENT": "test",
                "TRUNKLINE_DATABASE_CONNECTIONS": str(CONNECTIONS),
            }
            self._stack.push_async_callback(self._end)
            self._children = [self._serve(port) for port in self._ports]
            await asyncio.gather(*(self._ready(number) for number in range(len(self._ports))))
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._stack.aclose()

    async def sign_up(self, zone: str) -> Party:
        """A tenant from nothing, over HTTP, that keeps its keys for 72 hours."""
        slug = f"thousand-{uuid.uuid4().hex[:12]}"
        made = await self._right("/v1/admin/tenants", {"slug": slug, "name": slug, "timezone": zone}, self._admin_key)
        key, tenant = made["api_key"], uuid.UUID(made["id"])
        assistant = await self._right("/v1/assistants", {"vapi_assistant_id": str(uuid.uuid4()), "name": "Front desk"}, key)
        number = f"{550_000 + secrets.randbelow(10_000)}"
        sender = {"account_sid": f"AC{uuid.uuid4().hex}", "auth_token": uuid.uuid4().hex, "from_number": number, "tier": "short_code"}
        await self._right("/v1/sender", sender, key, method="PUT")
        owner = await asyncpg.connect(self.urls.owner_url)
        await owner.execute("UPDATE control.tenants SET keys_hours = 72 WHERE id = $1", tenant)
        await owner.close()
        return Party(tenant, slug, key, assistant["auth"]["secret"])

    async def post(self, process: int, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """One delivery to one of the processes."""
        answer = await self._http.call("POST", f"{self._url(process)}{path}", body, headers=headers, within=ANSWER_SECONDS)
        return Answer(answer.status, answer.body, answer.replayed, time.monotonic())

    async def clean_up(self) -> None:
        """`trunkline cleanup`, once.

        Raises:
            NotReady: it failed.
        """
        argv = [sys.executable, "-P", "-m", "trunkline.cli", "cleanup", "--json"]
        child = spawn(argv, cwd=CHECKOUT, env=self._environment, log=self._work / "cleanup.log")
        try:
            if await child.wait():
                raise NotReady(f"trunkline cleanup failed: {last_lines(self._work / 'cleanup.log')}")
        finally:
            await child.end(STOPPING)

    async def clean_again_and_again(self) -> list[tuple[float, float]]:
        """One run after the other until told to stop; when each began and ended."""
        self._stop.clear()
        self._cleaned.clear()
        runs = []
        while not self._stop.is_set():
            began = time.monotonic()
            await self.clean_up()
            runs.append((began, time.monotonic()))
            self._cleaned.set()
        return runs

    def stop_cleaning(self) -> None:
        """After the run under way."""
        self._stop.set()

    async def first_clean_up(self) -> None:
        """Wait until one has ended."""
        async with asyncio.timeout(READY_SECONDS):
            await self._cleaned.wait()

    @property
    def _http(self) -> Http:
        if self.http is None:
            raise NotReady("the house is not open")
        return self.http

    async def _right(self, path: str, body: object, key: str, method: str = "POST") -> dict[str, str | dict[str, str]]:
        found: dict[str, str | dict[str, str]] = await self._http.right(method, f"{self._url(0)}{path}", body, key=key)
        return found

    def _url(self, process: int) -> str:
        return f"http://127.0.0.1:{self._ports[process]}"

    def _serve(self, port: int) -> Child:
        argv = [sys.executable, "-P", "-m", "trunkline.cli", "serve"]
        environment = {**self._environment, "TRUNKLINE_PORT": str(port)}
        return spawn(argv, cwd=CHECKOUT, env=environment, log=self._work / f"api-{port}.log")

    async def _ready(self, process: int) -> None:
        until = time.monotonic() + READY_SECONDS
        while True:
            try:
                if (await self._http.call("GET", f"{self._url(process)}/health/ready", within=10.0)).taken:
                    return
            except Unreachable:
                pass
            if self._children[process].exit_code is not None or time.monotonic() > until:
                raise NotReady(f"trunkline serve did not get ready: {last_lines(self._work / f'api-{self._ports[process]}.log')}")
            await asyncio.sleep(0.1)

    async def _end(self) -> None:
        await asyncio.gather(*(child.end(STOPPING) for child in self._children))


def raise_open_files() -> None:
    """Two thousand deliveries at once are two thousand sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

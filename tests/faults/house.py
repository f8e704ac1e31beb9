"""An installation whose wires can be cut: servers, one API process in production settings, stand-ins, and relays between them."""

import asyncio
import base64
import os
import secrets
import shutil
import signal
import sys
import tempfile
import uuid
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from sqlalchemy.engine import make_url

from benchmarks.programs import run
from sandbox.tool import ToolSandbox
from sandbox.vapi import VapiSandbox
from tests.faults.counts import Books
from tests.faults.relay import HOST, Relay
from tests.faults.steps import Steps
from tests.faults.talks import HttpTalk, PostgresTalk
from tests.kills.client import Http, Unreachable
from tests.kills.installation import CHECKOUT
from trunkline.dev.commands import Command
from trunkline.dev.ports import free_port
from trunkline.dev.postgres import EmbeddedPostgres
from trunkline.dev.valkey import EmbeddedValkey

TRUNKLINE = [sys.executable, "-P", "-m", "trunkline.cli"]
READY_SECONDS = 60.0
CALLER = "+12135550123"


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant as its user knows it."""

    id: uuid.UUID
    key: str
    hook: str  # the path of its webhook URL
    secret: str


@dataclass
class House:
    """One `directory` with data and logs, removed at the end unless `keep` is set."""

    http: Http
    keep: bool = False
    directory: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="trunkline-faults-")))
    steps: Steps = field(default_factory=Steps)
    admin_key: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    secret_key: str = field(default_factory=lambda: base64.b64encode(secrets.token_bytes(32)).decode())
    port: int = field(default_factory=free_port)
    job: asyncio.subprocess.Process | None = None  # a program that runs beside the API for a while
    _killed: set[str] = field(default_factory=set)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def __aenter__(self) -> Self:
        try:
            await self._build()
        except BaseException:
            self.keep = True
            await self._end()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._end()

    # -- building ------------------------------------------------------------------------------------------------------

    async def _build(self) -> None:
        self.postgres = await self._stack.enter_async_context(EmbeddedPostgres(self.directory / "postgres", durable=False))
        self.valkey = await self._stack.enter_async_context(EmbeddedValkey(self.directory / "valkey", durable=False))
        self.tool = await self._stack.enter_async_context(ToolSandbox.running())
        self.vapi = await self._stack.enter_async_context(VapiSandbox.running())
        self.urls = await self.postgres.ensure_owner_and_database()
        self.books = Books(self.urls.owner_url)
        await self._lay_wires()
        await run("trunkline migrate", [*TRUNKLINE, "migrate"], cwd=CHECKOUT, env=self.environment(self.urls.app_url))
        self.api = Command(
            "api",
            [*TRUNKLINE, "serve"],
            {**os.environ, **self.environment(self.through(self.wire))},
            CHECKOUT,
            self.directory / "api.log",
            ready=self.is_ready,
        )
        await self.api.start()
        self.ours, self.neighbour = await self.sign_up("ours"), await self.sign_up("neighbour")

    async def _lay_wires(self) -> None:
        """Between the API and its callers, the API and PostgreSQL, a job and PostgreSQL, and both and servers of others."""
        self.door = Relay("door", self.port, self.steps, HttpTalk)
        self.wire = Relay("postgres", self.postgres.port, self.steps, PostgresTalk)
        self.job_wire = Relay("job's postgres", self.postgres.port, self.steps, PostgresTalk)
        self.tool_wire = Relay("tool", urlsplit(self.tool.url).port or 0, self.steps, HttpTalk)
        self.vapi_wire = Relay("vapi", urlsplit(self.vapi.url).port or 0, self.steps, HttpTalk)
        for relay in (self.door, self.wire, self.job_wire, self.tool_wire, self.vapi_wire):
            await relay.mend()
            self._stack.callback(relay.cut)

    def through(self, relay: Relay) -> str:
        """The application's database URL by way of a relay."""
        return make_url(self.urls.app_url).set(host=HOST, port=relay.own_port).render_as_string(hide_password=False)

    def environment(self, database_url: str) -> dict[str, str]:
        """Settings of a deployment; Twilio's address leads nowhere."""
        return {
            "PYTHONPATH": str(CHECKOUT),
            "TRUNKLINE_ENVIRONMENT": "production",
            "TRUNKLINE_DATABASE_URL": database_url,
            "TRUNKLINE_DATABASE_OWNER_URL": self.urls.owner_url,
            "TRUNKLINE_REDIS_URL": self.valkey.url,
            "TRUNKLINE_SECRET_KEYS": f"faults:{self.secret_key}",
            "TRUNKLINE_ADMIN_KEY": self.admin_key,
            "TRUNKLINE_PUBLIC_BASE_URL": "https://faults.example.com",
            "TRUNKLINE_TWILIO_BASE_URL": "https://twilio.invalid",
            "TRUNKLINE_VAPI_BASE_URL": "https://vapi.invalid",
            "TRUNKLINE_TOOL_HOSTS_ALLOWED": HOST,
            "TRUNKLINE_HOST": HOST,
            "TRUNKLINE_PORT": str(self.port),
        }

    async def sign_up(self, slug: str) -> Tenant:
        """A tenant with an assistant, a short code and two tools, as an operator and its user make them."""
        wanted = {"slug": slug, "name": slug, "timezone": "America/New_York"}
        made = await self.right("POST", "/v1/admin/tenants", wanted, self.admin_key)
        key = made["api_key"]
        assistant = await self.right("POST", "/v1/assistants", {"vapi_assistant_id": str(uuid.uuid4()), "name": "Desk"}, key)
        account = {"account_sid": f"AC{uuid.uuid4().hex}", "auth_token": uuid.uuid4().hex}
        number = f"{55_000 + secrets.randbelow(999)}"
        await self.right("PUT", "/v1/sender", {**account, "from_number": number, "tier": "short_code"}, key)
        for name, repeatable in (("book", True), ("pay", False)):
            url = f"http://{HOST}:{self.tool_wire.own_port}/{slug}/{name}"
            await self.right("PUT", f"/v1/tools/{name}", {"url": url, "repeatable": repeatable}, key)
        await self.right("PUT", "/v1/vapi", {"api_key": f"{slug}-{uuid.uuid4()}"}, key)
        return Tenant(uuid.UUID(made["id"]), key, urlsplit(assistant["webhook_url"]).path, assistant["auth"]["secret"])

    async def right(self, method: str, path: str, body: Any, key: str) -> Any:
        """An API call that has to work, past all relays."""
        return await self.http.right(method, f"http://{HOST}:{self.port}{path}", body, key=key)

    @property
    def door_url(self) -> str:
        """The API by way of the relay."""
        return f"http://{HOST}:{self.door.own_port}"

    # -- dying and coming back -----------------------------------------------------------------------------------------

    def kill_program(self) -> None:
        """SIGKILL for the job that runs, else for the API."""
        pid = self.job.pid if self.job is not None else self.api.pid
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            self._killed.add("api" if self.job is None else "job")

    def kill_postgres(self) -> None:
        """SIGKILL for PostgreSQL; until it is back nobody reaches it."""
        for relay in (self.wire, self.job_wire):
            relay.cut()
        if self.postgres.pid is not None:
            os.kill(self.postgres.pid, signal.SIGKILL)
            self._killed.add("postgres")

    async def mend(self) -> None:
        """Start again what died, and wait until the API is ready."""
        for name, service in (("postgres", self.postgres), ("api", self.api)):
            if name in self._killed:
                await service.wait()
                await service.start()
                for relay in (self.wire, self.job_wire):
                    await relay.mend()
        self._killed.clear()
        async with asyncio.timeout(READY_SECONDS):
            while not await self.is_ready():  # noqa: ASYNC110  another process sets no event
                await asyncio.sleep(0.05)

    async def is_ready(self) -> bool:
        """Whether the API says so."""
        try:
            return (await self.http.call("GET", f"http://{HOST}:{self.port}/health/ready", within=5.0)).taken
        except Unreachable:
            return False

    async def warm(self) -> None:
        """Have the API read the tenant, by a body that it refuses: that is no step of a delivery."""
        for tenant in (self.neighbour, self.ours):
            await self.http.call("POST", f"http://{HOST}:{self.port}{tenant.hook}", b"{}", key=tenant.secret)

    async def _end(self) -> None:
        if hasattr(self, "api"):
            await self.api.stop(within=3.0)
        await self._stack.aclose()
        if not self.keep:
            shutil.rmtree(self.directory, ignore_errors=True)

"""Trunkline as a side of the ingest benchmark: the full path in one process, set up over its own HTTP contract."""

import base64
import secrets
import sys
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks import databases, programs
from benchmarks.load import Target
from trunkline.dev.ports import free_port
from trunkline.dev.postgres import EmbeddedPostgres

ROOT = Path(__file__).parent.parent
TRUNKLINE = [sys.executable, "-P", "-m", "trunkline.cli"]
EFFECTS = """
  SELECT (SELECT count(*) FROM processed_webhooks WHERE tenant_id = $1) AS claims,
         (SELECT count(*) FROM messages WHERE tenant_id = $1) AS texts,
         (SELECT count(DISTINCT call_id) FROM messages WHERE tenant_id = $1) AS texted_calls,
         (SELECT count(*) FROM control.arrivals WHERE tenant_id = $1) AS arrivals,
         (SELECT count(*) FROM usage_events WHERE tenant_id = $1 AND meter = 'tool_calls') AS usage_events"""


@dataclass
class Trunkline:
    """`trunkline serve`, one process in production settings, a tenant with an assistant and a short code; no worker takes the texts."""

    work: Path
    redis_url: str
    assistant_id: str
    sentry_dsn: str = ""
    name: str = "trunkline"
    database: str = "trunkline"
    port: int = field(default_factory=free_port)
    admin_key: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    secret_key: str = field(default_factory=lambda: base64.b64encode(secrets.token_bytes(32)).decode())
    owner_url: str = ""
    app_url: str = ""
    path: str = ""
    secret: str = ""
    tenant_id: str = ""
    rows_for: dict[str, str] = field(default_factory=dict)  # the tenant, sender and registration that pgbench writes for

    @property
    def env(self) -> dict[str, str]:
        """Settings of a deployment; nothing here calls Twilio or Vapi, and their addresses lead nowhere."""
        return {
            "PYTHONPATH": str(ROOT),
            "TRUNKLINE_ENVIRONMENT": "production",
            "TRUNKLINE_DATABASE_URL": self.app_url,
            "TRUNKLINE_DATABASE_OWNER_URL": self.owner_url,
            "TRUNKLINE_REDIS_URL": self.redis_url,
            "TRUNKLINE_SECRET_KEYS": f"bench:{self.secret_key}",
            "TRUNKLINE_ADMIN_KEY": self.admin_key,
            "TRUNKLINE_PUBLIC_BASE_URL": "https://bench.example.com",
            "TRUNKLINE_TWILIO_BASE_URL": "https://twilio.invalid",
            "TRUNKLINE_VAPI_BASE_URL": "https://vapi.invalid",
            "TRUNKLINE_HOST": "127.0.0.1",
            "TRUNKLINE_PORT": str(self.port),
            "SENTRY_DSN": self.sentry_dsn,
        }

    async def prepare(self, postgres: EmbeddedPostgres) -> None:
        """Migrate, then register the measured tenant and the one pgbench writes for, over HTTP as an operator would."""
        self.owner_url, self.app_url = await postgres.ensure_owner_and_database(self.database)
        await programs.run("trunkline migrate", [*TRUNKLINE, "migrate"], cwd=ROOT, env=self.env)
        async with self.serve(), httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=30) as http:
            self.tenant_id, key, _ = await self.register(http, "bench")
            assistant = {"vapi_assistant_id": self.assistant_id, "name": "Bench", "auth": {"mode": "bearer"}}
            made = await call(http, "POST", "/v1/assistants", key, assistant)
            self.path, self.secret = httpx.URL(made["webhook_url"]).path, made["auth"]["secret"]
            other_id, _, sender = await self.register(http, "bench-rows")
            self.rows_for = {"tenant": other_id, "sender": sender["id"], "registration": sender["registration_id"]}

    async def register(self, http: httpx.AsyncClient, slug: str) -> tuple[str, str, dict[str, Any]]:
        """A tenant with a short code: its id, its key, its sender."""
        tenant = await call(http, "POST", "/v1/admin/tenants", self.admin_key, {"slug": slug, "name": slug, "timezone": "America/New_York"})
        account = {"account_sid": f"AC{secrets.token_hex(16)}", "auth_token": secrets.token_hex(16)}
        sender = await call(http, "PUT", "/v1/sender", tenant["api_key"], {**account, "from_number": "55501", "tier": "short_code"})
        return tenant["id"], tenant["api_key"], sender

    @property
    def log(self) -> Path:
        """What its process has to say."""
        return self.work / f"{self.database}.log"

    @property
    def target(self) -> Target:
        """Where the tenant's deliveries go."""
        return Target(self.name, self.port, self.path, self.secret, replay_mark=b"\r\nidempotent-replayed: true\r\n")

    def serve(self) -> AbstractAsyncContextManager[int]:
        """The API process."""
        health = f"http://127.0.0.1:{self.port}/health/ready"
        return programs.served(self.name, [*TRUNKLINE, "serve"], health, cwd=ROOT, env=self.env, log=self.log)

    async def verify(self, firsts: int, _duplicates: int) -> None:
        """Every first delivery left its claim, its text, its arrival and its usage, each once; no duplicate left anything."""
        kinds = ("claims", "texts", "texted_calls", "arrivals", "usage_events")
        await databases.expect(self.name, self.owner_url, EFFECTS, (self.tenant_id,), dict.fromkeys(kinds, firsts))


async def call(http: httpx.AsyncClient, method: str, path: str, key: str, body: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request that must succeed.

    Raises:
        SystemExit: it was refused.
    """
    answer = await http.request(method, path, json=body, headers={"Authorization": f"Bearer {key}"})
    if not answer.is_success:
        raise SystemExit(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
    decoded: dict[str, Any] = answer.json()
    return decoded

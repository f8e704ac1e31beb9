"""A worker with the sandbox Twilio and an outbox that is filled by PostgreSQL itself: the stage of the sending benchmarks."""

import base64
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import aiohttp
import asyncpg

from benchmarks.full_path import ROOT, TRUNKLINE
from benchmarks.programs import run, served
from runtime.crypto import Keyring
from trunkline.dev.ports import free_port
from trunkline.dev.postgres import EmbeddedPostgres
from trunkline.dev.valkey import EmbeddedValkey

PER_MINUTE = 13_500  # 225 a second, the fastest campaign there is
MAKE = """
WITH t AS (INSERT INTO control.tenants (id, slug, name, timezone, plan) SELECT $1, 'fair-' || $1::uuid::text, 'Fair', 'UTC', 'standard'),
r AS (INSERT INTO registrations (tenant_id, id, tier, tier_source, segments_per_minute) SELECT $1, $1, 'standard_75_100', 'operator', $4)
INSERT INTO senders (tenant_id, id, registration_id, account_sid, auth_token_sealed, from_number, is_default)
VALUES ($1, $1, $1, $2, $3, '+15005550006', true)"""
# as ingest makes them (UUIDv7): the time first, so that ids of one moment stand side by side in an index
NEW_ID = """
encode(substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) || '\\x70'::bytea
       || substring(uuid_send(gen_random_uuid()) FROM 8), 'hex')::uuid"""
QUEUE = f"""
WITH m AS (
  INSERT INTO messages (tenant_id, id, recipient, body, class, priority, encoding, segments, status, sender_id, registration_id, due_at,
                        expected_at, created_at, updated_at)
  SELECT t, {NEW_ID}, '+1202555' || lpad((n % 100 + 100)::text, 4, '0'), 'Your table is booked. ' || n, 'transactional', 1,
         'GSM-7', 1, 'queued', t, t, app.now(), app.now(), app.now(), app.now()
  FROM unnest($1::uuid[]) AS t, generate_series(1, $2::int) AS n)
INSERT INTO control.arrivals (tenant_id, registration_id, due_at, segments) SELECT t, t, app.now(), $2 FROM unnest($1::uuid[]) AS t"""


@dataclass(frozen=True, slots=True)
class Outbox:
    """Servers, the owner's eyes, and the settings of a worker that is not running yet."""

    owner: "asyncpg.Connection[asyncpg.Record]"
    app_url: str
    twilio_url: str
    environment: dict[str, str]
    keyring: Keyring
    work: Path

    async def make_tenants(self, count: int) -> list[UUID]:
        """So many tenants with a sender each."""
        ids = [uuid4() for _ in range(count)]
        rows = [(each, f"AC{each.hex}", self.keyring.seal("a token", each, "senders.auth_token"), PER_MINUTE) for each in ids]
        await self.owner.executemany(MAKE, rows, timeout=300)
        return ids

    async def queue(self, tenants: list[UUID], each: int) -> None:
        """So many texts of each of them, due now."""
        await self.owner.execute(QUEUE, tenants, each, timeout=600)

    async def forget(self) -> None:
        """Let the sandbox forget what it took, so that each stretch finds it as empty as the one before."""
        async with aiohttp.ClientSession() as session:
            (await session.delete(f"{self.twilio_url}/control/messages")).raise_for_status()

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[int]:
        """`trunkline worker` for the length of the block; gives its process id."""
        port = free_port()
        environment = {**os.environ, **self.environment, "TRUNKLINE_WORKER_PORT": str(port)}
        ready, log = f"http://127.0.0.1:{port}/health/ready", self.work / "worker.log"
        async with served("worker", [*TRUNKLINE, "worker"], ready, cwd=ROOT, env=environment, log=log) as pid:
            yield pid


@asynccontextmanager
async def outbox(work: Path) -> AsyncIterator[Outbox]:
    """PostgreSQL with durable commits, Valkey and the sandbox Twilio, for the length of the block."""
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(EmbeddedPostgres(work / "postgres"))
        valkey = await stack.enter_async_context(EmbeddedValkey(work / "valkey"))
        urls = await postgres.ensure_owner_and_database("outbox")
        port, secret_keys = free_port(), f"bench:{base64.b64encode(secrets.token_bytes(32)).decode()}"
        twilio_url = f"http://127.0.0.1:{port}"
        environment = {
            "PYTHONPATH": str(ROOT),
            "TRUNKLINE_ENVIRONMENT": "test",  # in production no sandbox is let in
            "TRUNKLINE_DATABASE_URL": urls.app_url,
            "TRUNKLINE_DATABASE_OWNER_URL": urls.owner_url,
            "TRUNKLINE_REDIS_URL": valkey.url,
            "TRUNKLINE_SECRET_KEYS": secret_keys,
            "TRUNKLINE_PUBLIC_BASE_URL": "https://bench.example.com",
            "TRUNKLINE_TWILIO_BASE_URL": twilio_url,
            "TRUNKLINE_VAPI_BASE_URL": "https://vapi.invalid",
        }
        await run("trunkline migrate", [*TRUNKLINE, "migrate"], cwd=ROOT, env=environment)
        owner = await asyncpg.connect(urls.owner_url)
        stack.push_async_callback(owner.close)
        sandbox = [sys.executable, "-P", "-m", "sandbox.twilio", "--port", str(port)]
        own = {"PYTHONPATH": str(ROOT)}
        await stack.enter_async_context(served("sandbox", sandbox, f"{twilio_url}/", cwd=ROOT, env=own, log=work / "twilio.log"))
        async with aiohttp.ClientSession() as session:  # nobody listens for callbacks here: tries in vain would be measured instead
            (await session.post(f"{twilio_url}/control/faults", json={"action": "drop_callback"})).raise_for_status()
        yield Outbox(owner, urls.app_url, twilio_url, environment, Keyring.parse(secret_keys), work)

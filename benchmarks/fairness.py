"""`make bench-fairness`: what 200 tenants with one text each wait for while another one has half a million queued.

One worker, the sandbox Twilio, PostgreSQL with durable commits. Stretches with and without the flood take turns; without it, its
tenant is held by the operator's switch, so that the backlog is there and nobody works on it. The last line is one JSON object.
"""

import argparse
import asyncio
import base64
import json
import os
import secrets
import statistics
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.full_path import ROOT, TRUNKLINE
from benchmarks.prober import percentile
from benchmarks.programs import run, served
from runtime import clock
from runtime.crypto import Keyring
from trunkline.dev.errors import StartError
from trunkline.dev.ports import free_port
from trunkline.dev.postgres import EmbeddedPostgres
from trunkline.dev.valkey import EmbeddedValkey

GOAL_RATIO, GOAL_ADDED_MS = 1.1, 50.0
PER_MINUTE = 13_500  # 225 a second, the fastest campaign there is
PATIENCE = 120.0  # seconds for 200 texts
MAKE = """
WITH t AS (INSERT INTO control.tenants (id, slug, name, timezone, plan) SELECT $1, 'fair-' || $1::uuid::text, 'Fair', 'UTC', 'standard'),
r AS (INSERT INTO registrations (tenant_id, id, tier, tier_source, segments_per_minute) SELECT $1, $1, 'standard_75_100', 'operator', $4)
INSERT INTO senders (tenant_id, id, registration_id, account_sid, auth_token_sealed, from_number, is_default)
VALUES ($1, $1, $1, $2, $3, '+15005550006', true)"""
QUEUE = """
WITH m AS (
  INSERT INTO messages (tenant_id, id, recipient, body, class, priority, encoding, segments, status, sender_id, registration_id, due_at,
                        expected_at, created_at, updated_at)
  SELECT t, gen_random_uuid(), '+1202555' || lpad((n % 100 + 100)::text, 4, '0'), 'Your table is booked. ' || n, 'transactional', 1,
         'GSM-7', 1, 'queued', t, t, app.now(), app.now(), app.now(), app.now()
  FROM unnest($1::uuid[]) AS t, generate_series(1, $2::int) AS n)
INSERT INTO control.arrivals (tenant_id, registration_id, due_at, segments) SELECT t, t, app.now(), $2 FROM unnest($1::uuid[]) AS t"""
WAITS = """
SELECT extract(epoch FROM sent_at - created_at)::float8 AS seconds FROM messages WHERE tenant_id = ANY ($1) AND created_at >= $2"""
LEFT = "SELECT count(*) FROM messages WHERE tenant_id = $1 AND twilio_sid IS NOT NULL"  # by their partial index
HOLD = "INSERT INTO control.switches (name, tenant_id, mode) VALUES ('sending', $1, 'hold') ON CONFLICT DO NOTHING"
GO_ON = "DELETE FROM control.switches WHERE name = 'sending' AND tenant_id = $1"


@dataclass(frozen=True, slots=True)
class Stage:
    """The owner's eyes, the flooding tenant, and those with one text."""

    owner: "asyncpg.Connection[asyncpg.Record]"
    flood: UUID
    quiet: list[UUID]

    async def flow(self, *, flooded: bool) -> None:
        """Let the flood flow, or hold it, and wait until that shows."""
        await self.owner.execute(GO_ON if flooded else HOLD, self.flood)
        if flooded:
            await self.owner.execute("UPDATE control.schedule SET hold_reason = NULL WHERE tenant_id = $1", self.flood)
        async with asyncio.timeout(PATIENCE):
            while True:
                before = await self.owner.fetchval(LEFT, self.flood)
                await asyncio.sleep(2)
                gone = await self.owner.fetchval(LEFT, self.flood) - before
                if (gone > PER_MINUTE / 60) if flooded else gone == 0:
                    return

    async def waits(self) -> list[float]:
        """Seconds from queued to taken by Twilio, of one text of each quiet tenant."""
        began = await self.owner.fetchval("SELECT app.now()")
        await self.owner.execute(QUEUE, self.quiet, 1)
        async with asyncio.timeout(PATIENCE):
            while True:
                await asyncio.sleep(0.25)
                found = [row["seconds"] for row in await self.owner.fetch(WAITS, self.quiet, began)]
                if None not in found:
                    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="One text each of 200 tenants, beside half a million of one.")
    parser.add_argument("--queued", type=int, default=500_000)
    parser.add_argument("--tenants", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one round beside 20,000: whether it works")
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON line")
    options = parser.parse_args()
    if options.quick:
        options.queued, options.rounds = 20_000, 1
    try:
        uvloop.run(measure(options))
    except StartError as error:
        raise SystemExit(str(error)) from None


async def measure(options: argparse.Namespace) -> None:
    """All rounds, on servers that end with this run."""
    async with AsyncExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trunkline-bench-")))
        postgres = await stack.enter_async_context(EmbeddedPostgres(work / "postgres"))
        valkey = await stack.enter_async_context(EmbeddedValkey(work / "valkey"))
        urls = await postgres.ensure_owner_and_database("fairness")
        twilio, health, secret_keys = free_port(), free_port(), f"bench:{base64.b64encode(secrets.token_bytes(32)).decode()}"
        environment = {
            "PYTHONPATH": str(ROOT),
            "TRUNKLINE_ENVIRONMENT": "test",  # in production no sandbox is let in
            "TRUNKLINE_DATABASE_URL": urls.app_url,
            "TRUNKLINE_DATABASE_OWNER_URL": urls.owner_url,
            "TRUNKLINE_REDIS_URL": valkey.url,
            "TRUNKLINE_SECRET_KEYS": secret_keys,
            "TRUNKLINE_PUBLIC_BASE_URL": "https://bench.example.com",
            "TRUNKLINE_TWILIO_BASE_URL": f"http://127.0.0.1:{twilio}",
            "TRUNKLINE_VAPI_BASE_URL": "https://vapi.invalid",
            "TRUNKLINE_WORKER_PORT": str(health),
        }
        await run("trunkline migrate", [*TRUNKLINE, "migrate"], cwd=ROOT, env=environment)
        owner = await asyncpg.connect(urls.owner_url)
        stack.push_async_callback(owner.close)
        stage = await prepare(owner, Keyring.parse(secret_keys), options)
        sandbox = [sys.executable, "-P", "-m", "sandbox.twilio", "--port", str(twilio)]
        await stack.enter_async_context(
            served("sandbox", sandbox, f"http://127.0.0.1:{twilio}/", cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, log=work / "twilio.log")
        )
        ready = f"http://127.0.0.1:{health}/health/ready"
        await stack.enter_async_context(
            served("worker", [*TRUNKLINE, "worker"], ready, cwd=ROOT, env={**os.environ, **environment}, log=work / "worker.log")
        )
        rounds = [await measure_round(stage, number, quiet=options.json) for number in range(options.rounds)]
        report(options, rounds)


async def prepare(owner: "asyncpg.Connection[asyncpg.Record]", keyring: Keyring, options: argparse.Namespace) -> Stage:
    """Tenants with a sender each, and the backlog of one."""
    ids = [uuid4() for _ in range(options.tenants + 1)]
    for tenant in ids:
        sealed = keyring.seal("a token", tenant, "senders.auth_token")
        await owner.execute(MAKE, tenant, f"AC{tenant.hex}", sealed, PER_MINUTE)
    flood, *quiet = ids
    await owner.execute(HOLD, flood)
    began = clock.monotonic()
    await owner.execute(QUEUE, [flood], options.queued, timeout=300)
    await owner.execute("ANALYZE messages")
    if not options.json:
        print(f"{options.queued:,} texts queued for one tenant in {clock.monotonic() - began:.0f} s", flush=True)
    return Stage(owner, flood, quiet)


async def measure_round(stage: Stage, number: int, *, quiet: bool) -> dict[str, dict[str, float]]:
    """Both stretches, in turn: milliseconds by percentile."""
    figures: dict[str, dict[str, float]] = {}
    for flooded in (False, True) if number % 2 == 0 else (True, False):
        await stage.flow(flooded=flooded)
        waits = await stage.waits()
        figures["flooded" if flooded else "alone"] = {"p50": percentile(waits, 0.5), "p99": percentile(waits, 0.99)}
    if not quiet:
        told = (f"{side} p50 {each['p50']:.0f} ms, p99 {each['p99']:.0f} ms" for side, each in sorted(figures.items()))
        print(f"round {number + 1}: {'; '.join(told)}", flush=True)
    return figures


def report(options: argparse.Namespace, rounds: list[dict[str, dict[str, float]]]) -> None:
    """The table, and the JSON object as the last line."""
    table, result = Table("", "alone, ms", "beside the flood, ms", "ratio", "added, ms", box=None), dict[str, Any]()
    for share in ("p50", "p99"):
        alone, flooded = (statistics.median(each[side][share] for each in rounds) for side in ("alone", "flooded"))
        ratio = statistics.median(each["flooded"][share] / each["alone"][share] for each in rounds)
        added = statistics.median(each["flooded"][share] - each["alone"][share] for each in rounds)
        table.add_row(share, f"{alone:.0f}", f"{flooded:.0f}", f"{ratio:.2f}", f"{added:.0f}")
        figures = {"alone_ms": alone, "flooded_ms": flooded, "ratio": ratio, "added_ms": added}
        result[share] = {name: round(value, 3) for name, value in figures.items()}
    met = all(each["ratio"] <= GOAL_RATIO or each["added_ms"] <= GOAL_ADDED_MS for each in result.values())
    if not options.json:
        Console(width=120, highlight=False).print(table)
    settings = {"benchmark": "fairness", "queued": options.queued, "tenants": options.tenants, "rounds": options.rounds}
    print(json.dumps({**settings, **result, "goal_met": met}))


if __name__ == "__main__":
    main()

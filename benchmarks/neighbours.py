"""`make bench-neighbours`: what a tenant feels of another one's flood, in the same process.

A quiet tenant delivers tool calls one by one, with pauses; meanwhile another one floods: with first deliveries of 51 kB on every
connection, or with twins of one slow tool call that wait for each other. Quiet and flooded stretches take turns. The last line is
one JSON object.
"""

import argparse
import asyncio
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import uvloop

from benchmarks import databases, payload
from benchmarks.full_path import ROOT, Trunkline, call
from benchmarks.load import Target
from benchmarks.prober import Prober, percentile
from benchmarks.programs import served
from trunkline.dev.errors import StartError
from trunkline.dev.ports import free_port
from trunkline.dev.postgres import EmbeddedPostgres
from trunkline.dev.valkey import EmbeddedValkey

GOAL_RATIO = 1.5
SHARE = 2  # connections of one tenant: a quarter of the fast lane's eight
PAUSE = 0.01
KINDS = ("deliveries", "twins")
BUSY = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'trunkline_app' AND state <> 'idle' AND datname = current_database()"


@dataclass(frozen=True, slots=True)
class Sides:
    """The process, its flooding and its quiet tenant, and the numbers of the quiet one's deliveries."""

    side: Trunkline
    flood: Target
    prober: Prober
    numbers: "itertools.count[int]"
    postgres: EmbeddedPostgres


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What a tenant feels of another one's flood.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each stretch")
    parser.add_argument("--connections", type=int, default=16, help="of the flood")
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON line")
    options = parser.parse_args()
    try:
        uvloop.run(measure(options))
    except StartError as error:
        raise SystemExit(str(error)) from None


async def measure(options: argparse.Namespace) -> None:
    """One process, two tenants, quiet and flooded in turn."""
    template = payload.load()
    async with AsyncExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trunkline-bench-")))
        postgres = await stack.enter_async_context(EmbeddedPostgres(work / "postgres"))
        valkey = await stack.enter_async_context(EmbeddedValkey(work / "valkey"))
        tool_port = free_port()
        tool = f"http://127.0.0.1:{tool_port}"
        argv = [sys.executable, "-P", "-m", "sandbox.tool", "--port", str(tool_port)]
        await stack.enter_async_context(
            served("sandbox tool", argv, f"{tool}/control/effects", cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, log=work / "tool.log")
        )
        os.environ["TRUNKLINE_TOOL_HOSTS_ALLOWED"] = "127.0.0.1"
        side = Trunkline(work, valkey.url, template.assistant_id)
        await side.prepare(postgres)
        await stack.enter_async_context(side.serve())
        flood = await flooding_tenant(side, tool)
        prober = stack.enter_context(Prober(side.target, template))
        sides = Sides(side, flood, prober, itertools.count(1), postgres)
        await asyncio.to_thread(stretch, sides, 2.0)
        result: dict[str, Any] = {"benchmark": "neighbours", "rounds": options.rounds, "connections": options.connections}
        for kind in KINDS:
            result[kind] = await rounds(options, sides, kind)
    result["goal"] = {"p99_ratio_at_most_1_5": all(result[kind]["ratio"]["p99"] <= GOAL_RATIO for kind in KINDS)}
    print(json.dumps(result))


async def flooding_tenant(side: Trunkline, tool: str) -> Target:
    """A tenant with a slow tool of its own."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{side.port}", timeout=30) as http:
        _, key, _ = await side.register(http, "flood")
        made = await call(http, "POST", "/v1/assistants", key, {"vapi_assistant_id": side.assistant_id, "name": "Flood"})
        await call(http, "PUT", "/v1/tools/slow", key, {"url": f"{tool}/slow", "timeout_ms": 10_000})
        await http.post(f"{tool}/control/faults", json={"action": "delay", "seconds": 2})
    return Target("flood", side.port, httpx.URL(made["webhook_url"]).path, made["auth"]["secret"], replay_mark=b"")


async def rounds(options: argparse.Namespace, sides: Sides, kind: str) -> dict[str, Any]:
    """Quiet, flooded, quiet, flooded …: percentiles of each, and of how many connections were busy at once."""
    quiet, flooded, busiest, answered = [], [], 0, 0
    for number in range(options.rounds):
        await databases.execute(sides.postgres.superuser_url(), "CHECKPOINT")
        quiet.append(await asyncio.to_thread(stretch, sides, options.seconds))
        connections = options.connections if kind == "deliveries" else 4 * options.connections
        async with flooding(sides, kind, number, options.seconds + 2.0, connections) as ended:
            await asyncio.sleep(1.0)
            watching = asyncio.create_task(most_busy(sides.postgres.superuser_url(sides.side.database), options.seconds))
            flooded.append(await asyncio.to_thread(stretch, sides, options.seconds))
            busiest = max(busiest, await watching)
        answered += ended[0]
        if not options.json:
            p99 = percentile(quiet[-1], 0.99), percentile(flooded[-1], 0.99)
            print(
                f"{kind}, round {number + 1}: p99 {p99[0]:.1f} ms quiet, {p99[1]:.1f} ms flooded; flood answered {ended[0]:,}", flush=True
            )
    shares = {"p50": 0.5, "p99": 0.99}
    return {
        "quiet_ms": {name: median(quiet, share) for name, share in shares.items()},
        "flooded_ms": {name: median(flooded, share) for name, share in shares.items()},
        "ratio": {
            name: round(statistics.median(percentile(f, share) / percentile(q, share) for q, f in zip(quiet, flooded, strict=True)), 2)
            for name, share in shares.items()
        },
        "flood_answered": answered,
        "connections_busy_at_most": busiest,
        "share_of_one_tenant": SHARE,
    }


def stretch(sides: Sides, seconds: float) -> list[float]:
    """The quiet tenant's deliveries, one by one with pauses; how long each took."""
    until, took = time.monotonic() + seconds, []
    while time.monotonic() < until:
        took.append(sides.prober.ask(1, next(sides.numbers)))
        time.sleep(PAUSE)
    return took


@asynccontextmanager
async def flooding(sides: Sides, kind: str, number: int, seconds: float, connections: int) -> AsyncIterator[list[int]]:
    """A flood for the length of the block; afterwards the list holds how many of its deliveries were answered."""
    target, answered = sides.flood, list[int]()
    wanted = {"port": target.port, "path": target.path, "secret": target.secret, "kind": kind, "run": 1000 + number}
    wanted |= {"seconds": seconds, "connections": connections}
    argv = [sys.executable, "-P", "-m", "benchmarks.flood", json.dumps(wanted)]
    process = await asyncio.create_subprocess_exec(
        *argv, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield answered
    finally:
        out, _ = await process.communicate()
        answered.append(json.loads(out)["answered"])


async def most_busy(url: str, seconds: float) -> int:
    """How many connections of the application were at work at once, at most, looked at ever so often."""
    connection, until, most = await asyncpg.connect(url), time.monotonic() + seconds, 0
    try:
        while time.monotonic() < until:
            most = max(most, await connection.fetchval(BUSY))
            await asyncio.sleep(0.02)
    finally:
        await connection.close()
    return most


def median(stretches: list[list[float]], share: float) -> float:
    """Of a percentile over the rounds, in ms."""
    return round(statistics.median(percentile(values, share) for values in stretches), 2)


if __name__ == "__main__":
    main()

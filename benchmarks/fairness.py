"""`make bench-fairness`: what 200 tenants with one text each wait for while another one has half a million queued.

One worker, the sandbox Twilio, PostgreSQL with durable commits. Stretches with and without the flood take turns; without it, its
tenant is held by the operator's switch, so that the backlog is there and nobody works on it. The last line is one JSON object.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.outbox import PER_MINUTE, Outbox, outbox
from benchmarks.prober import percentile
from runtime import clock
from trunkline.dev.errors import StartError

GOAL_RATIO, GOAL_ADDED_MS = 1.1, 50.0
PATIENCE = 120.0  # seconds for 200 texts
WAITS = """
SELECT extract(epoch FROM sent_at - created_at)::float8 AS seconds FROM messages WHERE tenant_id = ANY ($1) AND created_at >= $2"""
LEFT = "SELECT count(*) FROM messages WHERE tenant_id = $1 AND twilio_sid IS NOT NULL"  # by their partial index
HOLD = "INSERT INTO control.switches (name, tenant_id, mode) VALUES ('sending', $1, 'hold') ON CONFLICT DO NOTHING"
GO_ON = "DELETE FROM control.switches WHERE name = 'sending' AND tenant_id = $1"


@dataclass(frozen=True, slots=True)
class Sides:
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

    async def waits(self, stage: Outbox) -> list[float]:
        """Seconds from queued to taken by Twilio, of one text of each quiet tenant."""
        began = await self.owner.fetchval("SELECT app.now()")
        await stage.queue(self.quiet, 1)
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
    with tempfile.TemporaryDirectory(prefix="trunkline-bench-") as work:
        async with outbox(Path(work)) as stage:
            flood, *quiet = await stage.make_tenants(options.tenants + 1)
            sides = Sides(stage.owner, flood, quiet)
            await stage.owner.execute(HOLD, flood)
            began = clock.monotonic()
            await stage.queue([flood], options.queued)
            await stage.owner.execute("ANALYZE messages")
            if not options.json:
                print(f"{options.queued:,} texts queued for one tenant in {clock.monotonic() - began:.0f} s", flush=True)
            async with stage.worker():
                rounds = [await measure_round(sides, stage, number, quiet=options.json) for number in range(options.rounds)]
    report(options, rounds)


async def measure_round(sides: Sides, stage: Outbox, number: int, *, quiet: bool) -> dict[str, dict[str, float]]:
    """Both stretches, in turn: milliseconds by percentile."""
    figures: dict[str, dict[str, float]] = {}
    for flooded in (False, True) if number % 2 == 0 else (True, False):
        await sides.flow(flooded=flooded)
        waits = await sides.waits(stage)
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

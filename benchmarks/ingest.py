"""`make bench-ingest`: the 51 kB tool call through the full path, through the seed recipe, and as bare rows by pgbench.

One run, one PostgreSQL with durable commits. In each round the two sides take turns, phase by phase, each alone under load
while the other idles; first deliveries and duplicates are measured apart. Afterwards the rows must be exactly what the answers
promised. The last line is one JSON object.
"""

import argparse
import itertools
import json
import os
import platform
import tempfile
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path

import uvloop

from benchmarks import databases, payload
from benchmarks.full_path import Trunkline
from benchmarks.load import Outcome, Phase
from benchmarks.programs import cpu_seconds
from benchmarks.report import Figures, figures, medians, ratio, table
from benchmarks.seed_recipe import SeedRecipe
from benchmarks.sentry import receiver
from trunkline.dev.errors import StartError
from trunkline.dev.postgres import EmbeddedPostgres
from trunkline.dev.processes import last_lines
from trunkline.dev.valkey import EmbeddedValkey

WARM_UP_SECONDS = 2.0  # both sides compile or cache on their first requests
TARGET_RATIO = 1.3
Side = SeedRecipe | Trunkline


def main() -> None:
    """Measure, verify, print."""
    try:
        uvloop.run(measure_all(arguments()))
    except StartError as error:
        raise SystemExit(str(error)) from None


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Ingest of the 51 kB tool call: Trunkline, the seed recipe and bare rows in one run.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each measured phase")
    parser.add_argument("--connections", type=int, default=16, help="concurrent deliveries")
    parser.add_argument("--quick", action="store_true", help="one round of 3 seconds: whether it works, not how fast")
    parser.add_argument("--with-sentry", action="store_true", help="let Trunkline report to a local receiver, as it would to Sentry")
    parser.add_argument("--payload", type=Path, default=payload.PAYLOAD)
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON line")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 3.0
    return options


async def measure_all(options: argparse.Namespace) -> None:
    """Both sides and the bare rows, on servers that end with this run."""
    template = payload.load(options.payload)
    async with AsyncExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trunkline-bench-")))
        postgres = await stack.enter_async_context(EmbeddedPostgres(work / "postgres"))
        valkey = await stack.enter_async_context(EmbeddedValkey(work / "valkey"))
        dsn = await stack.enter_async_context(receiver(work)) if options.with_sentry else ""
        ours, peer = Trunkline(work, valkey.url, template.assistant_id, dsn), SeedRecipe(work)
        await peer.prepare(postgres)
        await ours.prepare(postgres)
        bench = Bench(options, template, postgres)
        for number in range(options.rounds):
            await bench.measure_round([ours, peer] if number % 2 == 0 else [peer, ours])
            await bench.measure_rows(ours)
        for side in (peer, ours):
            await side.verify(*bench.counts[side.name])
    bench.print_report()


class Bench:
    """The rounds of one run and what they saw."""

    def __init__(self, options: argparse.Namespace, template: payload.Template, postgres: EmbeddedPostgres) -> None:
        self.options, self.template, self.postgres = options, template, postgres
        self.runs = itertools.count(1)  # a part of every id: no two phases of first deliveries share a call
        self.figures: dict[str, dict[str, list[Figures]]] = {}
        self.counts: dict[str, tuple[int, int]] = {}  # by side: first deliveries and duplicates that were answered

    async def measure_round(self, sides: list[Side]) -> None:
        """Warm up, first deliveries, then the same ones again: side by side in time, so that both meet the same weather."""
        async with AsyncExitStack() as stack:
            pids = {side.name: await stack.enter_async_context(side.serve()) for side in sides}
            for side in sides:
                await self.deliver(side, pids[side.name], next(self.runs), WARM_UP_SECONDS)
            delivered = dict[str, tuple[int, int]]()
            for side in sides:
                run = next(self.runs)
                first = await self.deliver(side, pids[side.name], run, self.options.seconds, note="first")
                delivered[side.name] = run, len(first.latencies)
            for side in sides:
                run, count = delivered[side.name]
                await self.deliver(side, pids[side.name], run, self.options.seconds, note="duplicates", again=count)

    async def deliver(self, side: Side, pid: int, run: int, seconds: float, *, note: str = "", again: int = 0) -> Outcome:
        """Deliver new calls, or the first `again` ones of this run once more.

        Raises:
            SystemExit: an answer was not what it must be.
        """
        numbers = itertools.cycle(range(1, again + 1)) if again else itertools.count(1)
        phase = Phase(side.target, self.template, run, numbers, duplicates=bool(again))
        await databases.execute(self.postgres.superuser_url(), "CHECKPOINT")  # no phase pays for the pages of the one before
        before = self.cpu(pid)
        try:
            outcome = await phase.drive(seconds, self.options.connections)
        except (ConnectionError, TimeoutError) as error:
            raise SystemExit(f"{side.name} did not answer ({error!r}); its log ends with: {last_lines(side.log)}") from None
        used = {name: after - before[name] for name, after in self.cpu(pid).items()}
        if outcome.faults:
            wrong = f"{len(outcome.faults)} of {len(outcome.latencies)} {'duplicates' if again else 'first deliveries'}"
            raise SystemExit(f"{side.name} answered {wrong} wrongly, one of them with:\n{outcome.faults[0][:1000]}")
        firsts, duplicates = self.counts.get(side.name, (0, 0))
        answered = len(outcome.latencies)
        self.counts[side.name] = (firsts, duplicates + answered) if again else (firsts + answered, duplicates)
        if note:
            self.note(side.name, note, figures(outcome.latencies, outcome.seconds, used))
        return outcome

    def cpu(self, pid: int) -> dict[str, float]:
        """CPU seconds so far of a side's process and of PostgreSQL."""
        assert self.postgres.pid is not None  # noqa: S101  narrows the type: it has started
        return {"server": cpu_seconds(pid), "postgres": cpu_seconds(self.postgres.pid)}

    async def measure_rows(self, ours: Trunkline) -> None:
        """One round of pgbench, where there is one."""
        pgbench = self.postgres.bin_dir / "pgbench"
        if not pgbench.exists():
            self.say("pgbench: not measured, since this PostgreSQL brings none")
            return
        await databases.execute(self.postgres.superuser_url(), "CHECKPOINT")
        url = self.postgres.superuser_url("trunkline")
        latencies, seconds = await databases.same_rows(pgbench, url, self.options.connections, self.options.seconds, ours.rows_for)
        self.note("pgbench", "first", figures(latencies, seconds, {}))

    def note(self, name: str, phase: str, seen: Figures) -> None:
        """Keep a round's figures and tell who watches."""
        self.figures.setdefault(name, {}).setdefault(phase, []).append(seen)
        self.say(f"{name}, {phase}: {seen.per_second:,.0f} per second, p50 {seen.p50_ms:.1f} ms, p99 {seen.p99_ms:.1f} ms")

    def say(self, text: str) -> None:
        """Progress, unless only the result is wanted."""
        if not self.options.json:
            print(text, flush=True)

    def print_report(self) -> None:
        """The table, and the JSON object as the last line."""
        sides = {name: {phase: medians(rounds) for phase, rounds in phases.items()} for name, phases in self.figures.items()}
        ours, theirs, rows = (self.figures.get(name, {}) for name in ("trunkline", "seed recipe", "pgbench"))
        to_recipe = {phase: ratio(ours[phase], theirs[phase]) for phase in ours}
        self.say(f"\n{table(sides)}\n")
        for phase, found in to_recipe.items():
            self.say(f"{phase}: {found.median} times the seed recipe; round by round {found.rounds}")
        result = {
            "benchmark": "ingest",
            "rounds": self.options.rounds,
            "seconds": self.options.seconds,
            "connections": self.options.connections,
            "payload_bytes": self.template.length,
            "with_sentry": self.options.with_sentry,
            "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
            "sides": sides,
            "ratio_to_seed_recipe": {phase: asdict(found) for phase, found in to_recipe.items()},
            "ratio_to_pgbench": asdict(ratio(ours["first"], rows["first"])) if rows else None,
            "target_ratio": TARGET_RATIO,
            "target_met": all(found.median >= TARGET_RATIO for found in to_recipe.values()),
        }
        print(json.dumps(result))


if __name__ == "__main__":
    main()

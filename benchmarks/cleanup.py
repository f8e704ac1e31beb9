"""`make bench-cleanup`: millions of keys and thousands of bodies leave while webhooks arrive.

One PostgreSQL with durable commits, `trunkline serve` under a moderate, steady rate of first deliveries. Rounds take turns: the rate alone,
then the rate beside the clean-up; each round is compared with itself. Then the clean-up runs to its end, the table is vacuumed and filled
again, and its size compared with a fresh one of as many keys. The last line is one JSON object.
"""

import argparse
import asyncio
import itertools
import json
import os
import platform
import secrets
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from benchmarks import databases, filling, payload
from benchmarks.full_path import Trunkline
from benchmarks.lock_watch import LockWatch
from benchmarks.paced import PacedPhase
from benchmarks.report import figures
from runtime.database import Database, open_database
from trunkline.dev.errors import StartError
from trunkline.dev.postgres import EmbeddedPostgres
from trunkline.dev.valkey import EmbeddedValkey
from webhooks.cleanup import CleanUp, clean_up

ROUNDS = 5
CONNECTIONS = 8
BODY_DAYS = 20  # of the class of 7 days: twelve of them are over
FRESH_HOURS = 60.0  # keys that live are younger than this
SERVER = {"shared_buffers": "1GB", "max_wal_size": "8GB", "checkpoint_timeout": "15min", "maintenance_work_mem": "512MB"}


def main() -> None:
    """Fill, measure, print."""
    try:
        uvloop.run(measure_all(arguments()))
    except StartError as error:
        raise SystemExit(str(error)) from None


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Clean-up of idempotency keys and kept bodies while webhooks arrive.")
    parser.add_argument("--keys", type=int, default=5_000_000)
    parser.add_argument("--expired", type=int, default=3_000_000)
    parser.add_argument("--bodies", type=int, default=100_000)
    parser.add_argument("--rate", type=float, default=80.0, help="deliveries a second")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each half of a round")
    parser.add_argument("--quick", action="store_true", help="a twenty-fifth of the keys: whether it works, not how fast")
    options = parser.parse_args()
    if options.quick:
        options.keys, options.expired, options.bodies, options.seconds = 200_000, 120_000, 2_000, 2.0
    return options


@dataclass
class Seen:
    """What the rounds and the rest of the clean-up saw. Times in seconds, p99 in ms."""

    before: list[float] = field(default_factory=list)
    during: list[float] = field(default_factory=list)
    slowest: dict[str, float] = field(default_factory=lambda: {"before": 0.0, "during": 0.0})
    cleaning: float = 0.0
    longest_transaction: float = 0.0
    keys: int = 0
    batches: int = 0
    days: int = 0
    bytes_returned: int = 0
    drop_seconds: list[float] = field(default_factory=list)


async def measure_all(options: argparse.Namespace) -> None:
    """The whole story on servers that end with this run."""
    template, began = payload.load(), time.monotonic()
    async with AsyncExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trunkline-bench-")))
        postgres = await stack.enter_async_context(EmbeddedPostgres(work / "postgres", settings=SERVER))
        valkey = await stack.enter_async_context(EmbeddedValkey(work / "valkey"))
        ours = Trunkline(work, valkey.url, template.assistant_id)
        await ours.prepare(postgres)
        superuser = postgres.superuser_url("trunkline")
        tenants = await filling.make_tenants(superuser)
        told("filling", began)
        old = (options.expired, filling.OLD_HOURS, filling.KEPT_HOURS + 1)
        await filling.fill_fresh(superuser, tenants, [old, (options.keys - options.expired, FRESH_HOURS, 0.0)])
        told("filling bodies", began)
        await filling.fill_bodies(superuser, tenants[0], options.bodies, BODY_DAYS, secrets.token_bytes(filling.BODY_BYTES))
        await filling.vacuum(superuser)
        fresh = await filling.sizes(superuser)
        told("measuring", began)
        database = await open_database(ours.app_url, connections=2)
        stack.push_async_callback(database.close)
        await stack.enter_async_context(ours.serve())
        watch = await stack.enter_async_context(LockWatch(superuser))
        bench = Bench(options, template, ours, database)
        await bench.rounds()
        told(f"cleaning to the end; p99 before {bench.seen.before}, during {bench.seen.during}, {bench.seen.keys} keys left so far", began)
        await bench.clean(float("inf"))
        left = await filling.sizes(superuser)
        told("filling again", began)
        await filling.vacuum(superuser)
        await filling.fill_more(superuser, tenants, (options.expired, FRESH_HOURS, 0.0))
        await databases.execute(superuser, "VACUUM processed_webhooks")
        steady = await filling.sizes(superuser)
        told("done", began)
        print_report(options, bench.seen, watch, {"fresh": fresh, "left": left, "steady": steady}, time.monotonic() - began)


def told(what: str, began: float) -> None:
    """Where it is."""
    print(f"{time.monotonic() - began:6.0f} s  {what}", flush=True)


class Bench:
    """The rate of deliveries, and the clean-up beside it."""

    def __init__(self, options: argparse.Namespace, template: payload.Template, ours: Trunkline, database: Database) -> None:
        self.options, self.template, self.ours, self.database = options, template, ours, database
        self.seen, self.runs = Seen(), itertools.count(1)

    async def rounds(self) -> None:
        """Warm up, then each round: the rate alone, the rate beside the clean-up."""
        await self.deliver(self.options.seconds / 2)
        for _ in range(ROUNDS):
            p99, slowest = await self.deliver(self.options.seconds)
            self.seen.before.append(round(p99, 2))
            self.seen.slowest["before"] = max(self.seen.slowest["before"], slowest)
            cleaning = asyncio.create_task(self.clean(self.options.seconds))
            p99, slowest = await self.deliver(self.options.seconds)
            self.seen.during.append(round(p99, 2))
            self.seen.slowest["during"] = max(self.seen.slowest["during"], slowest)
            await cleaning

    async def deliver(self, seconds: float) -> tuple[float, float]:
        """First deliveries at the rate; (p99, slowest) in ms.

        Raises:
            SystemExit: an answer was not what it must be.
        """
        phase = PacedPhase(self.ours.target, self.template, next(self.runs), itertools.count(1), self.options.rate)
        outcome = await phase.drive(seconds, CONNECTIONS)
        if outcome.faults:
            raise SystemExit(f"{len(outcome.faults)} deliveries were answered wrongly, one of them with:\n{outcome.faults[0][:500]}")
        return figures(outcome.latencies, outcome.seconds, {}).p99_ms, max(outcome.latencies) * 1000

    async def clean(self, seconds: float) -> None:
        """The clean-up as the worker runs it, in this process; what is left waits for the next time."""
        began = time.monotonic()
        done = await clean_up(self.database, seconds=seconds)
        self.seen.cleaning += time.monotonic() - began
        self.note(done)

    def note(self, done: CleanUp) -> None:
        """Add up what one turn did."""
        seen = self.seen
        seen.longest_transaction = max(seen.longest_transaction, done.longest_batch, *done.drop_seconds, 0.0)
        seen.keys += sum(done.keys.values())
        seen.batches += done.batches
        seen.days += len(done.days)
        seen.bytes_returned += done.bytes_returned
        seen.drop_seconds += done.drop_seconds


def print_report(options: argparse.Namespace, seen: Seen, watch: LockWatch, sizes: dict[str, dict[str, int]], took: float) -> None:
    """A few lines for people, one JSON object for programs."""
    keys = {name: size["heap"] + size["indexes"] for name, size in sizes.items()}
    ratios = [round(during / before, 2) for before, during in zip(seen.before, seen.during, strict=True)]
    result = {
        "benchmark": "cleanup",
        "keys": options.keys,
        "expired": options.expired,
        "bodies": options.bodies,
        "rate_per_second": options.rate,
        "keys_forgotten": seen.keys,
        "batches": seen.batches,
        "cleaning_seconds": round(seen.cleaning, 1),
        "keys_per_second": round(seen.keys / seen.cleaning),
        "longest_transaction_ms": round(seen.longest_transaction * 1000, 1),
        "mean_transaction_ms": round(seen.cleaning / max(1, seen.batches) * 500, 2),  # half of it is pause
        "ingest_p99_ms": {"before": round(statistics.median(seen.before), 2), "during": round(statistics.median(seen.during), 2)},
        "ingest_p99_ratio": {"median": round(statistics.median(ratios), 2), "rounds": ratios},
        "ingest_slowest_ms": {name: round(value, 1) for name, value in seen.slowest.items()},
        "lock_waits": {
            "of_ingest_longest_ms": round(watch.longest_ingest * 1000, 1),
            "of_anybody_longest_ms": round(watch.longest * 1000, 1),
            "seen": len(watch.waits),
            "looks": watch.looks,
        },
        "body_days_dropped": seen.days,
        "bytes_returned": seen.bytes_returned,
        "drop_ms": {"each_longest": round(max(seen.drop_seconds, default=0) * 1000, 1), "all": round(sum(seen.drop_seconds) * 1000, 1)},
        "bytes": {
            **{f"keys_{name}": size for name, size in keys.items()},
            **{f"bodies_{name}": size["bodies"] for name, size in sizes.items()},
        },
        "steady_size_ratio": round(keys["steady"] / keys["fresh"], 3),
        "steady_heap_ratio": round(sizes["steady"]["heap"] / sizes["fresh"]["heap"], 3),
        "seconds": round(took),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
    }
    print(f"{seen.keys:,} keys left in {seen.cleaning:.0f} s of cleaning, {seen.batches:,} batches, none longer than", end=" ")
    print(f"{result['longest_transaction_ms']} ms; ingest's p99 during / before {result['ingest_p99_ratio']}")
    print(
        f"{seen.bytes_returned / 1e6:,.0f} MB of bodies returned by {seen.days} drops in {sum(seen.drop_seconds) * 1000:.0f} ms", end="; "
    )
    print(f"steady size {result['steady_size_ratio']} of a fresh table")
    print(json.dumps(result))


if __name__ == "__main__":
    main()

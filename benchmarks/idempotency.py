"""`make bench-idempotency`: what enforcing idempotency adds to the same route with it switched off, with few and with many stored keys.

Two databases in one PostgreSQL with durable commits, one with a thousand stored keys and one with five million, an API process for
each, and in each two tenants, one of them with the switch off. One connection asks the four in turn, so that all meet the same
weather. Then only duplicates: what they write. The last line is one JSON object.
"""

import argparse
import itertools
import json
import os
import platform
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import uvloop

from benchmarks import databases, payload
from benchmarks.full_path import Trunkline, call
from benchmarks.load import Target
from benchmarks.prober import Prober, percentile
from trunkline.dev.errors import StartError
from trunkline.dev.postgres import EmbeddedPostgres
from trunkline.dev.valkey import EmbeddedValkey

GOAL_P50_MS, GOAL_P99_MS, GOAL_RATIO = 1.0, 5.0, 1.1
ENFORCE, OFF = "enforce", "off"
WARM_UP = 100
SLICE = 250_000
FILL = """
INSERT INTO processed_webhooks
  (tenant_id, key, fingerprint, webhook_id, place, source, type, state, call_id, assistant_id, tool_call_id, name, arguments, answer,
   received_at)
SELECT CASE WHEN n % 2 = 0 THEN $1::uuid ELSE ('00000000-0000-7000-9000-' || lpad((n % 50)::text, 12, '0'))::uuid END,
       decode(md5('k' || n), 'hex'), decode(md5('f' || n), 'hex'),
       (lpad(to_hex(1750000000000 + n), 12, '0') || '7' || substr(md5('w' || n), 1, 3) || '8' || substr(md5('w' || n), 4, 15))::uuid,
       0, 'vapi', 'tool-calls', 'done', 'call-' || (n / 4), 'ad97b706-b7c9-4d91-a135-2ad743730af5', 'call_' || md5('t' || n), 'send_sms',
       '{"body":"Your table for two is booked for Friday at seven. Reply STOP to opt out.","to":"+12135550100"}',
       '{"toolCallId":"call_' || md5('t' || n) || '","name":"send_sms","result":"Queued, leaves now."}',
       app.now() - interval '20 days' + n * interval '0.3 second'
FROM generate_series($2::bigint, $3::bigint) AS n
"""
WRITTEN = """
SELECT (SELECT coalesce(sum((pg_stat_get_backend_wal(a.pid)).wal_bytes), 0) FROM pg_stat_activity AS a
        WHERE a.usename = 'trunkline_app' AND a.datname = current_database()) AS wal_bytes,
       (SELECT sum(t.n_tup_ins + t.n_tup_upd + t.n_tup_del) FROM pg_stat_user_tables AS t) AS rows_written,
       (SELECT sum(t.n_dead_tup) FROM pg_stat_user_tables AS t) AS dead_tuples
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What enforcing idempotency adds, with few and with many stored keys.")
    parser.add_argument("--keys", type=int, default=5_000_000, help="stored keys of the large database")
    parser.add_argument("--few", type=int, default=1_000, help="stored keys of the small one")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--deliveries", type=int, default=600, help="of each side in each round")
    parser.add_argument("--quick", action="store_true", help="whether it works, not how fast: 20,000 keys, one round of 100")
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON line")
    options = parser.parse_args()
    if options.quick:
        options.keys, options.rounds, options.deliveries = 20_000, 1, 100
    try:
        uvloop.run(measure(options))
    except StartError as error:
        raise SystemExit(str(error)) from None


async def measure(options: argparse.Namespace) -> None:
    """Both databases, four tenants, one prober."""
    template = payload.load()

    def say(text: str) -> None:
        if not options.json:
            print(text, flush=True)

    async with AsyncExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trunkline-bench-")))
        settings = {"shared_buffers": "512MB", "max_wal_size": "4GB", "autovacuum": "off"}  # no vacuum in the middle of a round
        postgres = await stack.enter_async_context(EmbeddedPostgres(work / "postgres", settings=settings))
        valkey = await stack.enter_async_context(EmbeddedValkey(work / "valkey"))
        sides: dict[str, Trunkline] = {}
        targets: dict[tuple[str, str], Target] = {}
        for name, keys in (("few", options.few), ("many", options.keys)):
            side = sides[name] = Trunkline(work, valkey.url, template.assistant_id, name=name, database=name)
            await side.prepare(postgres)
            began = time.monotonic()
            await fill(side, postgres, keys, say)
            say(f"{name}: {keys:,} stored keys after {time.monotonic() - began:.0f} s")
            await stack.enter_async_context(side.serve())
            targets[name, ENFORCE] = side.target
            targets[name, OFF] = await switched_off(side)
        probers = {who: stack.enter_context(Prober(target, template)) for who, target in targets.items()}
        latencies = await rounds(options, probers, postgres, say)
        written = {name: await written_by_duplicates(side, probers[name, ENFORCE], options.deliveries) for name, side in sides.items()}
    report(options, latencies, written, say)


async def fill(side: Trunkline, postgres: EmbeddedPostgres, keys: int, say: Any) -> None:
    """Keys as they would have been stored, half of them the measured tenant's; then a table at rest."""
    connection = await asyncpg.connect(side.owner_url)
    try:
        for first in range(1, keys + 1, SLICE):
            await connection.execute(FILL, side.tenant_id, first, min(keys, first + SLICE - 1))
            say(f"  {min(keys, first + SLICE - 1):,} of {keys:,}")
        await connection.execute("VACUUM (ANALYZE, FREEZE) processed_webhooks")
    finally:
        await connection.close()
    await databases.execute(postgres.superuser_url(), "CHECKPOINT")


async def switched_off(side: Trunkline) -> Target:
    """A second tenant in the same process, with the switch off."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{side.port}", timeout=30) as http:
        tenant, key, _ = await side.register(http, "bench-off")
        made = await call(http, "POST", "/v1/assistants", key, {"vapi_assistant_id": side.assistant_id, "name": "Bench"})
        await call(http, "PUT", "/v1/admin/switches", side.admin_key, {"name": "idempotency", "mode": OFF, "tenant_id": tenant})
    path, secret = httpx.URL(made["webhook_url"]).path, made["auth"]["secret"]
    return Target(f"{side.name}, off", side.port, path, secret, replay_mark=b"idempotent-replayed")


Latencies = dict[str, dict[tuple[str, str], list[list[float]]]]


async def rounds(options: argparse.Namespace, probers: dict[tuple[str, str], Prober], postgres: EmbeddedPostgres, say: Any) -> Latencies:
    """Each round asks every side in turn, in an order that moves on; first deliveries, then the same ones again."""
    latencies: Latencies = {"first": {who: [] for who in probers}, "again": {who: [] for who in probers}}
    runs = itertools.count(1)
    for number in range(-1, options.rounds):  # the round before the first warms up
        await databases.execute(postgres.superuser_url(), "CHECKPOINT")
        run, count = next(runs), WARM_UP if number < 0 else options.deliveries
        for phase, seen in latencies.items():
            took: dict[tuple[str, str], list[float]] = {who: [] for who in probers}
            order = list(probers)
            for delivery in range(1, count + 1):
                order = order[1:] + order[:1]
                for who in order:
                    took[who].append(probers[who].ask(run, delivery))
            if number >= 0:
                for who, values in took.items():
                    seen[who].append(values)
                line = "  ".join(f"{name} {mode} {percentile(took[name, mode], 0.5):.2f} ms" for name, mode in took)
                say(f"round {number + 1}, {phase}: {line}")
    return latencies


async def written_by_duplicates(side: Trunkline, prober: Prober, count: int) -> dict[str, float]:
    """What one duplicate writes: bytes of WAL by the application's backends, rows, dead tuples."""
    for delivery in range(1, count + 1):  # the newest first deliveries are duplicates from here on
        prober.ask(1, 1 + delivery % WARM_UP)
    connection = await asyncpg.connect(side.owner_url)
    try:
        before = await settled(connection)
        for delivery in range(count):
            prober.ask(1, 1 + delivery % WARM_UP)
        after = await settled(connection)
    finally:
        await connection.close()
    return {name: float(after[name] - before[name]) / count for name in before}


async def settled(connection: "asyncpg.Connection[asyncpg.Record]") -> dict[str, Any]:
    """The counters, once every backend has told its own."""
    time.sleep(11)  # noqa: ASYNC251  nothing else runs; an idle backend tells what it did after ten seconds at most
    await connection.execute("SELECT pg_stat_clear_snapshot()")
    row = await connection.fetchrow(WRITTEN)
    assert row is not None  # noqa: S101  narrows the type: it has no FROM
    return dict(row)


def report(options: argparse.Namespace, latencies: Latencies, written: dict[str, dict[str, float]], say: Any) -> None:
    """Medians of the rounds: added time, history's share, what duplicates write."""
    result: dict[str, Any] = {"benchmark": "idempotency", "keys": {"few": options.few, "many": options.keys}, "rounds": options.rounds}
    for phase, sides in latencies.items():
        table: dict[str, Any] = {}
        for share, name in ((0.5, "p50"), (0.99, "p99")):
            of = {who: [percentile(values, share) for values in each] for who, each in sides.items()}
            added = {
                size: statistics.median(on - off for on, off in zip(of[size, ENFORCE], of[size, OFF], strict=True))
                for size in ("few", "many")
            }
            ratio = statistics.median(many / few for many, few in zip(of["many", ENFORCE], of["few", ENFORCE], strict=True))
            table[name] = {
                "ms": {f"{size} {mode}": round(statistics.median(values), 3) for (size, mode), values in of.items()},
                "added_ms": {size: round(value, 3) for size, value in added.items()},
                "many_to_few": round(ratio, 3),
            }
            say(f"{phase}, {name}: enforcing adds {added['few']:.3f} ms with few keys, {added['many']:.3f} with many; ratio {ratio:.3f}")
        result[phase] = table
    result["written_per_duplicate"] = written
    first = result["first"]
    result["goals"] = {
        "p50_added_at_most_1_ms": max(first["p50"]["added_ms"].values()) <= GOAL_P50_MS,
        "p99_added_at_most_5_ms": max(first["p99"]["added_ms"].values()) <= GOAL_P99_MS,
        "history_ratio_at_most_1_1": first["p50"]["many_to_few"] <= GOAL_RATIO,
        "a_duplicate_writes_nothing": all(value == 0 for each in written.values() for value in each.values()),
    }
    result["machine"] = {"cores": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps(result))


if __name__ == "__main__":
    main()

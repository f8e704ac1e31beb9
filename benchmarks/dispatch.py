"""`make bench-dispatch`: how fast one worker sends, what a backlog costs it in memory, and what a pick costs with many tenants.

One worker over 1,000 tenants against the sandbox Twilio, beside a bare loop of aiohttp that posts the same form; each alone, in turn.
The last line is one JSON object.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import psutil
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.outbox import Outbox, outbox
from messaging.dispatcher import GIVE_BACK, TAKE, Measures
from runtime import clock
from trunkline.dev.errors import StartError

GOAL_SHARE, GOAL_MEMORY, GOAL_PICK = 0.4, 10_000_000, 1.2
AT_ONCE = 64  # requests of the bare loop under way
PATIENCE = 300.0
MEGABYTE = 1_000_000
# by the partial indexes, which end at the first one found: to count a hundred times what has left would be measured with it
AT_WORK = """
SELECT EXISTS (SELECT 1 FROM messages WHERE status IN ('queued', 'scheduled'))
    OR EXISTS (SELECT 1 FROM messages WHERE status IN ('sending', 'unknown'))"""
SENT = "SELECT count(*) FROM messages WHERE tenant_id = ANY ($1) AND twilio_sid IS NOT NULL AND created_at >= $2"
BLOCKS, LOOKS = 5, 12  # with few and with many tenants in turn, and looks in each
FEW, MANY = 10, 10_000
MEASURES = Measures()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="How fast one worker sends, and what backlogs and tenants cost it.")
    parser.add_argument("--tenants", type=int, default=1_000)
    parser.add_argument("--each", type=int, default=10, help="texts of each tenant in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--queued", type=int, default=1_000_000, help="the backlog beside which memory is measured")
    parser.add_argument("--quick", action="store_true", help="a small one: whether it works")
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON line")
    options = parser.parse_args()
    if options.quick:
        options.tenants, options.rounds, options.queued = 100, 1, 20_000
    try:
        uvloop.run(measure(options))
    except StartError as error:
        raise SystemExit(str(error)) from None


async def measure(options: argparse.Namespace) -> None:
    """Rates in turn, then memory, then picks, on servers that end with this run."""
    with tempfile.TemporaryDirectory(prefix="trunkline-bench-") as work:
        async with outbox(Path(work)) as stage:
            tenants = await stage.make_tenants(options.tenants)
            async with stage.worker() as pid:
                await dispatched(stage, tenants, 1)  # connections, plans, caches
                rates = [await round_of(stage, tenants, options.each) for _ in range(options.rounds)]
                memory = await memory_of(stage, pid, options.queued)
            picks = await picks_of(stage)
    report(options, rates, memory, picks)


async def round_of(stage: Outbox, tenants: list[UUID], each: int) -> tuple[float, float]:
    """The worker, then the bare loop: messages per second."""
    return await dispatched(stage, tenants, each), await posted(stage, len(tenants) * each)


async def dispatched(stage: Outbox, tenants: list[UUID], each: int) -> float:
    """Messages per second of the worker, from queued to the last one taken."""
    await stage.forget()
    began = await stage.owner.fetchval("SELECT app.now()")
    await stage.queue(tenants, each)
    start = clock.monotonic()
    async with asyncio.timeout(PATIENCE):
        while await stage.owner.fetchval(AT_WORK):  # noqa: ASYNC110  a row sets no event
            await asyncio.sleep(0.05)
    seconds = clock.monotonic() - start
    if (sent := await stage.owner.fetchval(SENT, tenants, began)) != len(tenants) * each:
        raise SystemExit(f"{sent} of {len(tenants) * each} texts were sent")
    return len(tenants) * each / seconds


async def posted(stage: Outbox, count: int) -> float:
    """Messages per second of a loop that does nothing else."""
    account = f"AC{uuid4().hex}"
    url = f"{stage.twilio_url}/2010-04-01/Accounts/{account}/Messages.json"
    callback = f"https://bench.example.com/twilio/fair-{account}/status/{uuid4()}?s={'0' * 43}#rc=5&rp=ct,rt,5xx"
    form = {"To": "+12025550101", "From": "+15005550006", "ValidityPeriod": "14400", "StatusCallback": callback}
    numbers = iter(range(count))

    async def post(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            async with session.post(url, data={**form, "Body": f"Your table is booked. {number}"}) as answer:
                await answer.read()
                if answer.status != 201:  # noqa: PLR2004  created
                    raise SystemExit(f"the sandbox answered {answer.status}")

    await stage.forget()
    start = clock.monotonic()
    async with aiohttp.ClientSession(headers={"Authorization": aiohttp.encode_basic_auth(account, "a token")}) as session:
        await asyncio.gather(*(post(session) for _ in range(AT_ONCE)))
    return count / (clock.monotonic() - start)


async def memory_of(stage: Outbox, pid: int, queued: int) -> dict[str, int]:
    """Resident bytes of the worker with nothing queued, after it has worked, and while it works on a backlog of one tenant."""
    worker = psutil.Process(pid)
    await asyncio.sleep(3)
    idle = worker.memory_info().rss
    (tenant,) = await stage.make_tenants(1)
    await stage.queue([tenant], queued)
    await asyncio.sleep(10)
    return {"idle": idle, "with_backlog": worker.memory_info().rss}


async def picks_of(stage: Outbox) -> dict[str, float]:
    """Microseconds per registration that is picked, with few and with many tenants that have work; medians, in turn."""
    await stage.owner.execute("TRUNCATE messages CASCADE; DELETE FROM control.arrivals; DELETE FROM control.schedule")
    found: dict[int, list[float]] = {FEW: [], MANY: []}
    sides = {count: await stage.make_tenants(count) for count in (FEW, MANY)}
    for tenants in sides.values():
        await stage.queue(tenants, 1)
    application = await asyncpg.connect(stage.app_url)
    await application.execute("SELECT app.fold_arrivals_v1(1000000)")
    for table in ("messages", "control.schedule"):
        await stage.owner.execute(f"VACUUM ANALYZE {table}")
    for _ in range(BLOCKS):
        for count, tenants in sides.items():
            await stage.owner.execute("UPDATE control.schedule SET has_work = tenant_id = ANY ($1), next_at = app.now()", tenants)
            found[count] += [await one_look(application) for _ in range(LOOKS)]
    await application.close()
    return {"few": statistics.median(found[FEW]), "many": statistics.median(found[MANY])}


async def one_look(application: "asyncpg.Connection[asyncpg.Record]") -> float:
    """Microseconds per registration of a look of ten, which is given back."""
    worker, claim = uuid4(), "10 s"
    start = clock.monotonic()
    rows = await application.fetch(TAKE.replace("$6", f"interval '{claim}'"), worker, 0, FEW, MEASURES.quantum, MEASURES.horizon)
    seconds = clock.monotonic() - start
    picks = [{"tenant_id": str(row["tenant_id"]), "registration_id": str(row["registration_id"]), "granted": []} for row in rows]
    await application.execute(GIVE_BACK, worker, json.dumps(picks))
    return seconds / len(rows) * 1_000_000


def report(options: argparse.Namespace, rates: list[tuple[float, float]], memory: dict[str, int], picks: dict[str, float]) -> None:
    """The table, and the JSON object as the last line."""
    share = statistics.median(ours / bare for ours, bare in rates)
    result: dict[str, Any] = {
        "benchmark": "dispatch",
        "tenants": options.tenants,
        "queued": options.queued,
        "per_second": {name: round(statistics.median(each[place] for each in rates), 1) for place, name in enumerate(("worker", "bare"))},
        "share_of_bare": round(share, 3),
        "resident_bytes": memory,
        "backlog_costs_bytes": memory["with_backlog"] - memory["idle"],
        "pick_us": {name: round(value, 1) for name, value in picks.items()},
        "many_to_few": round(picks["many"] / picks["few"], 3),
    }
    goals = {
        "share_of_bare": share >= GOAL_SHARE,
        "backlog_costs_bytes": result["backlog_costs_bytes"] <= GOAL_MEMORY,
        "many_to_few": result["many_to_few"] <= GOAL_PICK,
    }
    if not options.json:
        table = Table("", "measured", "goal", box=None)
        rate = result["per_second"]
        table.add_row("messages per second", f"{rate['worker']:,.0f}, a bare loop {rate['bare']:,.0f}: {share:.2f}", f">= {GOAL_SHARE}")
        sizes = f"{memory['idle'] / MEGABYTE:.1f} MB idle, {memory['with_backlog'] / MEGABYTE:.1f} MB with {options.queued:,} queued"
        table.add_row("resident memory", sizes, f"<= {GOAL_MEMORY / MEGABYTE:.0f} MB more")
        pick = f"{picks['few']:.0f} us with {FEW} tenants, {picks['many']:.0f} us with {MANY:,}: {result['many_to_few']:.2f}"
        table.add_row("time per pick", pick, f"<= {GOAL_PICK}")
        Console(width=120, highlight=False).print(table)
    print(json.dumps({**result, "goals_met": goals}))


if __name__ == "__main__":
    main()

"""`make bench-pacer`: every rate of the tiers with four processes that ask without end, by the pacer's clock and at the door.

The door stands for Twilio: it notes when each message arrives, with all the jitter of processes and sockets. Beside the pacer the
moving window of the `limits` package and other limiters (benchmarks/peers) carry the same load at three rates, in the same run and with
the same clocks. The last line is one JSON object.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import platform
import sys
import tempfile
from collections import defaultdict
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks import peers_running
from benchmarks.evenness import pace_of
from benchmarks.pacer_worker import OURS, RECORD, SIDES, WINDOW
from benchmarks.peers_running import PEERS
from runtime import clock
from tenants.tiers import sender_tiers
from trunkline.dev.errors import StartError
from trunkline.dev.valkey import EmbeddedValkey

ROOT = Path(__file__).parent.parent
SLOWEST = 15  # segments per minute: what AT&T takes of a sole proprietor
FASTEST = 13_500  # 225 a second
SLOW = 900  # segments per minute; up to here rates run beside each other
SKEWS = (-2.0, -0.7, 0.7, 2.0)  # seconds, by worker
COMPARED = (60, 225, 6_000)
HORIZON = 1.0
EXACT = 0.001  # messages: slots are whole microseconds, rounded up
SLOTS, SECONDS, LONGEST, QUICK = 100, 30.0, 540.0, 10.0
ALL = (*SIDES, *PEERS)  # a record at the door names a side by its place here
START_SECONDS = 30.0
SHOWN = 3  # messages, fewer show no pace
Side = tuple[str, int]
NOTHING = {"most_over": float("inf"), "used": 0.0}  # a rate of ours without a slot is no success


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="The pacer at every rate of the tiers, saturated by four processes.")
    parser.add_argument("--quick", action="store_true", help="ten seconds, fast rates only: whether it works")
    parser.add_argument("--compared", action="store_true", help="only the three rates at which others are measured beside it")
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON line")
    options = parser.parse_args()
    try:
        uvloop.run(measure(options))
    except StartError as error:
        raise SystemExit(str(error)) from None


def rates() -> list[int]:
    """Every distinct rate that a tier grants within what one sender can have, and the slowest of all."""
    granted = {tier.segments_per_minute for tier in sender_tiers().values() if 0 < tier.segments_per_minute <= FASTEST}
    return sorted({SLOWEST, *granted})


class Start:
    """The processes of a run begin together: each connects, and waits for a byte that comes when all are there, or when one stays away."""

    def __init__(self, processes: int) -> None:
        self._missing = processes
        self._all = asyncio.Event()

    async def wait(self) -> None:
        """One process is there."""
        self._missing -= 1
        if self._missing <= 0:
            self._all.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                await self._all.wait()


class Door:
    """Where messages arrive: when, by side and rate."""

    def __init__(self) -> None:
        self.arrived: dict[Side, list[float]] = defaultdict(list)

    async def answer(self, start: Start, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One process' connection."""
        await start.wait()
        writer.write(b"!")
        try:
            while True:
                side, rate = RECORD.unpack(await reader.readexactly(RECORD.size))
                self.arrived[ALL[side], rate].append(clock.monotonic())
        except asyncio.IncompleteReadError:
            writer.close()


async def measure(options: argparse.Namespace) -> None:
    """All rates, on a Valkey that ends with this run."""
    failed = await peers_running.install()
    async with AsyncExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trunkline-bench-")))
        valkey = await stack.enter_async_context(EmbeddedValkey(work / "valkey"))
        door = Door()
        slots: dict[str, list[int]] = defaultdict(list)
        await asyncio.sleep(3.5)  # a server this young may have lost anything: the pacer grants nothing

        async def run(sides: list[Side], seconds: float) -> None:
            ours = [side for side in sides if side[0] in SIDES]
            others = [(side, rate, ALL.index(side)) for side, rate in sides if side in PEERS and side not in failed]
            start = Start(len(SKEWS) * (bool(ours) + peers_running.processes(others)))
            async with await asyncio.start_server(partial(door.answer, start), "127.0.0.1", 0) as server:
                port = server.sockets[0].getsockname()[1]
                wanted = {"redis": valkey.url, "door": port, "horizon": HORIZON, "seconds": seconds}
                work = [worker({**wanted, "skew": skew, "sides": ours}) for skew in SKEWS if ours]
                beside = [peers_running.run(others, {**wanted, "skew": skew}, seconds) for skew in SKEWS if others]
                given, faults = await asyncio.gather(asyncio.gather(*work), asyncio.gather(*beside))
            for found in given:
                for name, times in found.items():
                    slots[name] += times
            failed.update({side: fault for each in faults for side, fault in each.items()})

        plan = planned(options)
        slow = sorted((side for side in plan if side[1] <= SLOW), key=lambda side: seconds_for(side[1]))
        by_length = itertools.groupby(slow, key=lambda side: QUICK if options.quick else seconds_for(side[1]))
        beside = [asyncio.create_task(run(list(sides), seconds)) for seconds, sides in by_length]
        for side in plan:
            if side[1] > SLOW:
                await run([side], QUICK if options.quick else seconds_for(side[1]))
        await asyncio.gather(*beside)
    report(options, [row_of(side, rate, slots, door) for side, rate in sorted(plan)], failed)


def planned(options: argparse.Namespace) -> list[Side]:
    """What is measured: slow rates beside each other, the others in turn, since they need the processor."""
    mine = [rate for rate in rates() if not (options.quick and rate <= SLOW) and not (options.compared and rate not in COMPARED)]
    theirs = [rate for rate in COMPARED if not (options.quick and rate == min(COMPARED))]
    return [(OURS, rate) for rate in mine] + [(side, rate) for rate in theirs for side in (WINDOW, *PEERS)]


def seconds_for(rate: int) -> float:
    """Half a minute or a hundred slots, whichever is longer, and never more than nine minutes."""
    return min(LONGEST, max(SECONDS, SLOTS * 60 / rate) + 2)


async def worker(wanted: dict[str, Any]) -> dict[str, list[int]]:
    """One process of the run, and the slots it got.

    Raises:
        SystemExit: it failed.
    """
    pipe = asyncio.subprocess.PIPE
    argv = [sys.executable, "-m", "benchmarks.pacer_worker"]
    process = await asyncio.create_subprocess_exec(*argv, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, stdin=pipe, stdout=pipe)
    out, _ = await process.communicate(json.dumps(wanted).encode())
    if process.returncode:
        raise SystemExit(f"a worker ended with {process.returncode}")
    found: dict[str, list[int]] = json.loads(out)
    return found


def row_of(side: str, rate: int, slots: dict[str, list[int]], door: Door) -> dict[str, Any]:
    """One side at one rate: by the pacer's clock, where it has one, and at the door."""
    given = slots.get(f"{side} {rate}", [])
    arrived = door.arrived[side, rate]
    return {
        "side": side,
        "per_minute": rate,
        "arrived": len(arrived),
        "slots": pace_of([at / 1_000_000 for at in given], rate).as_json() if len(given) >= SHOWN else None,
        "door": pace_of(arrived, rate).as_json() if len(arrived) >= SHOWN else None,
    }


def report(options: argparse.Namespace, rows: list[dict[str, Any]], failed: dict[str, str]) -> None:
    """The table, what could not be measured and why, and the JSON object as the last line."""
    ours = [row["slots"] or NOTHING for row in rows if row["side"] == OURS]
    result = {
        "benchmark": "pacer",
        "python": platform.python_version(),
        "workers": len(SKEWS),
        "skews_s": SKEWS,
        "horizon_s": HORIZON,
        "rows": rows,
        "failed": failed,
        "never_over": all(pace["most_over"] <= EXACT for pace in ours),
        "least_used": min(pace["used"] for pace in ours),
    }
    if not options.json:
        table = Table("", "per second", "sent", "over, by slots", "used", "uneven", "over, at the door", "used at the door", box=None)
        for row in rows:
            pace, door = row["slots"] or {}, row["door"]
            by_slots = [f"{pace[name]:.3f}" if pace else "" for name in ("most_over", "used", "unevenness")]
            at_door = (f"{door['most_over']:.2f}", f"{door['used']:.3f}") if door else ("too few", "")
            table.add_row(row["side"], f"{row['per_minute'] / 60:g}", f"{row['arrived']:,}", *by_slots, *at_door)
        Console(width=140, highlight=False).print(table)
        for side, fault in failed.items():
            print(f"{side} was not measured, or not to its end: {fault}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()

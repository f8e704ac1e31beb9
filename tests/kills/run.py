"""`make kills`: kills processes in the middle of their work and counts effects; everything is asked over HTTP, as an outsider.

Each scenario gets an installation of its own and plays several rounds with new tenants. A line tells of each round; the last
line is one JSON object with all figures and "ok". Exit code 1 when anything was lost, done twice, stuck, or too slow.
"""

import argparse
import asyncio
import json
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from tests.kills.client import Http, Unreachable
from tests.kills.deaths import api_burst, everything, postgres, valkey, worker_sends
from tests.kills.fifty import fifty
from tests.kills.installation import Installation, NotRunning
from tests.kills.latency import latency
from tests.kills.rounds import Round, Scenario, Stage
from trunkline.dev.errors import StartError

SCENARIOS: Mapping[str, Scenario] = {
    "fifty": fifty,
    "latency": latency,
    "api-burst": api_burst,
    "worker-sends": worker_sends,
    "postgres": postgres,
    "valkey": valkey,
    "everything": everything,
}
ROUND_SECONDS = 400.0  # more than every bound inside a round together


def main() -> None:
    """Play, print, and end with 1 if a promise was broken."""
    options = arguments()
    began = time.monotonic()
    with suppress(asyncio.CancelledError, KeyboardInterrupt):
        scenarios = asyncio.run(play_all(options))
        ok = all(each["ok"] for each in scenarios.values())
        total = {"ok": ok, "seconds": round(time.monotonic() - began, 1), "scenarios": scenarios}
        print(json.dumps(total))  # noqa: T201  a program's output
        sys.exit(0 if ok else 1)
    sys.exit("stopped; what was started has been ended")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Kill processes in the middle of their work and count effects.")
    parser.add_argument("--only", default=",".join(SCENARIOS), help=f"some of: {', '.join(SCENARIOS)}; default: all")
    parser.add_argument("--rounds", type=int, default=3, help="of each scenario; default: 3")
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON line; the progress goes to stderr")
    parser.add_argument("--keep", action="store_true", help="keep the data directories and logs, also after success")
    options = parser.parse_args()
    options.only = [name.strip() for name in options.only.split(",")]
    if unknown := [name for name in options.only if name not in SCENARIOS]:
        parser.error(f"there is no scenario {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    if options.rounds < 1:
        parser.error("at least one round")
    return options


async def play_all(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Every wanted scenario in turn; `{"ok", "rounds"}` by name."""
    ours = asyncio.current_task()
    if ours:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ours.cancel)
    out = sys.stderr if options.json else sys.stdout

    def say(line: str) -> None:
        print(line, file=out, flush=True)

    played = {}
    for name in options.only:
        rounds = await play(name, options.rounds, keep=options.keep, say=say)
        played[name] = {"ok": all(each.ok for each in rounds), "rounds": [told(each) for each in rounds]}
    return played


async def play(name: str, rounds: int, *, keep: bool, say: Any) -> list[Round]:
    """All rounds of one scenario in one installation; its directory stays when something went wrong."""
    results: list[Round] = []
    http = Http()
    try:
        house = Installation(http, keep)
        say(f"{name}: starting an installation in {house.directory}")
        async with house:
            for number in range(1, rounds + 1):
                results.append(await play_round(name, Stage(http, house, number)))
                house.keep |= not results[-1].ok
                report(name, number, rounds, results[-1], say)
    except (NotRunning, StartError) as error:
        results.append(Round(faults=[str(error)]))
        report(name, len(results), rounds, results[-1], say)
    finally:
        await http.close()
    if not all(each.ok for each in results):
        say(f"{name}: the logs stay in {house.directory}")
    return results


async def play_round(name: str, stage: Stage) -> Round:
    """One round within its time; whatever breaks it off is a fault of the round."""
    try:
        async with asyncio.timeout(ROUND_SECONDS):
            return await SCENARIOS[name](stage)
    except (Unreachable, NotRunning, StartError) as error:
        return Round(faults=[f"broken off: {error}"])
    except Exception:  # noqa: BLE001  a defect of this program must not hide the other rounds
        return Round(faults=[f"broken off: {traceback.format_exc()}"])


def report(name: str, number: int, rounds: int, result: Round, say: Any) -> None:
    """A line with the figures, and one for each fault."""
    figures = "  ".join(f"{key} {value}" for key, value in result.figures.items())
    say(f"{name} {number}/{rounds}: {'ok' if result.ok else 'FAILED'}  {figures}")
    for fault in result.faults:
        say(f"  ! {fault}")


def told(result: Round) -> dict[str, Any]:
    """A round for the JSON line."""
    return {"ok": result.ok, **result.figures, "faults": result.faults}


if __name__ == "__main__":
    main()

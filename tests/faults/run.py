"""`make faults`: strikes every delivery at each of its steps in turn, delivers again, and counts effects: exactly one each.

Relays stand between the API and its callers, PostgreSQL and the tenant's own endpoint. A step is half an exchange through a relay:
"asked" (nothing was passed on) or "answered" (it was done, and nobody learned of it). At step k the program is killed, or PostgreSQL,
or the connection is cut; k goes from 1 on until a delivery ends without having reached it. A line tells of each path and strike; the
last line is one JSON object. Exit code 1 when anything was lost, done twice, or stuck.
"""

import argparse
import asyncio
import json
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.faults import api_paths, job_paths, webhook_paths
from tests.faults.house import House
from tests.faults.order import Path
from tests.faults.strikes import STRIKES
from tests.faults.trial import Trial, play
from tests.kills.client import Http, Unreachable
from trunkline.dev.errors import StartError

PATHS: Mapping[str, Path] = {  # the longest first, so that lanes end together
    "cleanup": job_paths.cleanup,
    "late-report": job_paths.late_report,
    "own-tool": webhook_paths.own_tool,
    "own-tool-once": webhook_paths.own_tool_once,
    "replayed-tool-call": api_paths.replayed_tool_call,
    "replayed-report": api_paths.replayed_report,
    "new-tenant": api_paths.new_tenant,
    "assistant": api_paths.assistant,
    "tool": api_paths.tool,
    "unknown-type": webhook_paths.unknown_type,
    "send-sms": webhook_paths.send_sms,
    "one-seen-one-new": webhook_paths.one_seen_one_new,
    "same-text": webhook_paths.same_text,
    "cancel-sms": webhook_paths.cancel_sms,
    "opt-out": webhook_paths.opt_out,
    "function-call": webhook_paths.function_call,
    "report": webhook_paths.report,
    "status": webhook_paths.status,
    "informational": webhook_paths.informational,
    "message": api_paths.message,
}
MOST_STEPS = 200
TRIAL_SECONDS = 150.0
SHOWN = 6  # faults of a path that are told in full

Say = Callable[[str], None]


@dataclass
class Result:
    """A path under a strike."""

    path: str
    strike: str
    trials: list[Trial] = field(default_factory=list)
    seconds: float = 0.0
    broken: str = ""

    @property
    def steps(self) -> list[str]:
        """The steps of a delivery that nothing struck, in their order."""
        return self.trials[-1].steps if self.trials else []

    @property
    def faults(self) -> list[str]:
        """What was lost, done twice, or stuck."""
        told = [f"step {each.at} ({each.struck or 'not struck'}): {fault}" for each in self.trials for fault in each.faults]
        broken = self.broken or ("" if self.trials else "was not played")
        return told + ([broken] if broken else [])

    def told(self) -> dict[str, Any]:
        """For the JSON line."""
        statuses: Counter[int] = sum((each.statuses for each in self.trials), Counter())
        return {
            "ok": not self.faults,
            "steps": len(self.steps),
            "strikes": sum(each.struck is not None for each in self.trials),
            "visited": dict(Counter(each.struck for each in self.trials if each.struck)),
            "answers_503": statuses[503],
            "answers_409": statuses[409],
            "without_answer": sum(each.lost for each in self.trials),
            "uncertain": sum(each.uncertain for each in self.trials),
            "longest_wait_s": round(max((each.waited for each in self.trials), default=0.0), 1),
            "seconds": round(self.seconds, 1),
            "faults": self.faults,
        }


def main() -> None:
    """Play, print, and end with 1 if a promise was broken."""
    options = arguments()
    began = time.monotonic()
    with suppress(asyncio.CancelledError, KeyboardInterrupt):
        results = asyncio.run(play_all(options))
        ok = bool(results) and not any(each.faults for each in results)
        paths: dict[str, dict[str, Any]] = {}
        for each in results:
            paths.setdefault(each.path, {})[each.strike] = each.told()
        strikes = sum(found["strikes"] for path in paths.values() for found in path.values())
        total = {"ok": ok, "seconds": round(time.monotonic() - began, 1), "strikes": strikes, "paths": paths}
        print(json.dumps(total))  # noqa: T201  a program's output
        sys.exit(0 if ok else 1)
    sys.exit("stopped; what was started has been ended")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Strike every delivery at each of its steps and count effects.")
    parser.add_argument("--only", default=",".join(PATHS), help=f"some of: {', '.join(PATHS)}; default: all")
    parser.add_argument("--strike", default=",".join(STRIKES), help=f"some of: {', '.join(STRIKES)}; default: all")
    parser.add_argument("--every", type=int, default=1, help="strike at every n-th step only; default: 1")
    parser.add_argument("--lanes", type=int, default=2, help="installations side by side; default: 2")
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON line; the progress goes to stderr")
    parser.add_argument("--keep", action="store_true", help="keep the data directories and logs, also after success")
    options = parser.parse_args()
    for name, known in (("only", PATHS), ("strike", STRIKES)):
        wanted = [each.strip() for each in getattr(options, name).split(",")]
        if unknown := [each for each in wanted if each not in known]:
            parser.error(f"--{name} knows no {', '.join(unknown)}; it knows {', '.join(known)}")
        setattr(options, name, wanted)
    if options.every < 1 or options.lanes < 1:
        parser.error("--every and --lanes take 1 or more")
    return options


async def play_all(options: argparse.Namespace) -> list[Result]:
    """Every wanted path under every wanted strike, in installations side by side."""
    us = asyncio.current_task()
    if us:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, us.cancel)
    out = sys.stderr if options.json else sys.stdout

    def say(line: str) -> None:
        print(line, file=out, flush=True)

    results = [Result(path, strike) for strike in options.strike for path in options.only]
    waiting = iter(results)
    async with asyncio.TaskGroup() as lanes:
        for _ in range(min(options.lanes, len(results))):
            lanes.create_task(lane(waiting, options, say))
    return results


async def lane(waiting: Any, options: argparse.Namespace, say: Say) -> None:
    """One installation, and what is played in it one after the other; its directory stays when something went wrong."""
    http = Http()
    try:
        async with House(http, options.keep) as house:
            for result in waiting:
                await play_path(house, result, options.every)
                house.keep |= bool(result.faults)
                report(result, house, say)
    except (StartError, SystemExit, TimeoutError, Unreachable) as error:
        say(f"an installation did not come up; the others play the rest: {error}")
    finally:
        await http.close()


async def play_path(house: House, result: Result, every: int) -> None:
    """Strike at each step in turn, until a delivery ends before the strike; whatever breaks that off is a fault."""
    began = time.monotonic()
    try:
        for at in range(1, MOST_STEPS, every):
            async with asyncio.timeout(TRIAL_SECONDS):
                result.trials.append(await play(house, PATHS[result.path], STRIKES[result.strike], at))
            if result.trials[-1].struck is None:
                break
    except Exception:  # noqa: BLE001  a defect here must not hide the other paths
        result.broken = f"broken off at step {len(result.trials) * every + 1}: {traceback.format_exc()}"
        house.steps.disarm()
        await house.mend()
    result.seconds = time.monotonic() - began


def report(result: Result, house: House, say: Say) -> None:
    """A line with the figures, and one for each fault."""
    told = result.told()
    figures = "  ".join(
        f"{name} {told[name]}" for name in ("steps", "strikes", "answers_503", "without_answer", "longest_wait_s", "seconds")
    )
    say(f"{result.path} / {result.strike}: {'ok' if told['ok'] else 'FAILED'}  {figures}")
    for fault in result.faults[:SHOWN]:
        say(f"  ! {fault}")
    if result.faults:
        say(f"  {len(result.faults)} faults in all; the logs stay in {house.directory}")


if __name__ == "__main__":
    main()

"""`make storms`: twenty seconds of each fault while 2,000 texts flow; afterwards effects are counted, as an outsider sees them.

One installation, new tenants for each storm. A line tells of each storm; the last line is one JSON object with all figures and "ok".
Exit code 1 when anything was lost, sent twice, over the tier, not settled within two minutes, or not on the bill.
"""

import argparse
import asyncio
import json
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress

from tests.kills.client import Http, Unreachable
from tests.kills.installation import Installation, NotRunning
from tests.kills.rounds import Round
from tests.kills.run import report, told
from tests.storms.storm import Flow, play
from tests.storms.weather import STORMS
from trunkline.dev.errors import StartError

USUAL = Flow()
OTHER_SECONDS = 400.0  # more than the bounds inside a storm, but its length and the time to settle, together


def main() -> None:
    """Play, print, and end with 1 if a promise was broken."""
    options = arguments()
    if options.list:
        print("\n".join(STORMS))  # noqa: T201  a program's output
        return
    began = time.monotonic()
    with suppress(asyncio.CancelledError, KeyboardInterrupt):
        played = asyncio.run(play_all(options))
        ok = all(each.ok for each in played.values())
        storms = {name: told(each) for name, each in played.items()}
        total = {"ok": ok, "seconds": round(time.monotonic() - began, 1), "storms": storms}
        print(json.dumps(total))  # noqa: T201  a program's output
        sys.exit(0 if ok else 1)
    sys.exit("stopped; what was started has been ended")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Let texts flow through every kind of fault and count effects.")
    parser.add_argument("--list", action="store_true", help="name the storms and end")
    parser.add_argument("--only", default=",".join(STORMS), help="some of them, with commas between; default: all")
    parser.add_argument("--seconds", type=float, default=USUAL.seconds, help="how long each lasts; default: 20")
    parser.add_argument("--messages", type=int, default=USUAL.messages, help="that flow meanwhile; default: 2000")
    parser.add_argument("--within", type=float, default=USUAL.within, help="seconds until all must be settled afterwards; default: 120")
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON line; the progress goes to stderr")
    parser.add_argument("--keep", action="store_true", help="keep the data directory and logs, also after success")
    options = parser.parse_args()
    options.only = [name.strip() for name in options.only.split(",")]
    if unknown := [name for name in options.only if name not in STORMS]:
        parser.error(f"there is no storm {', '.join(unknown)}; there are {', '.join(STORMS)}")
    if options.seconds <= 0 or options.messages < 1:
        parser.error("some seconds and at least one message")
    return options


async def play_all(options: argparse.Namespace) -> Mapping[str, Round]:
    """Every wanted storm in turn, by name."""
    ours = asyncio.current_task()
    if ours:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ours.cancel)
    out = sys.stderr if options.json else sys.stdout

    def say(line: str) -> None:
        print(line, file=out, flush=True)

    return await storms(options.only, Flow(options.messages, options.seconds, options.within), say, keep=options.keep)


async def storms(names: list[str], flow: Flow, say: Callable[[str], None], *, keep: bool = False) -> dict[str, Round]:
    """The storms in one installation; its directory stays when something went wrong."""
    results: dict[str, Round] = {}
    http = Http()
    try:
        house = Installation(http, keep)
        say(f"starting an installation in {house.directory}")
        async with house:
            await house_rules(http, house)
            for number, name in enumerate(names, 1):
                results[name] = await play_one(name, http, house, flow)
                house.keep |= not results[name].ok
                report(name, number, len(names), results[name], say)
    except (NotRunning, StartError) as error:
        results["installation"] = Round(faults=[str(error)])
        report("installation", 1, 1, results["installation"], say)
    finally:
        await http.close()
    if not all(each.ok for each in results.values()):
        say(f"the logs stay in {house.directory}")
    return results


async def house_rules(http: Http, house: Installation) -> None:
    """Marketing may leave at any hour, lest a storm at night counts texts that wait for the morning."""
    await http.right("PUT", f"{house.base_url}/v1/admin/switches", {"name": "quiet_hours", "mode": "off"}, key=house.admin_key)
    await asyncio.sleep(2.0)  # every process follows within two seconds


async def play_one(name: str, http: Http, house: Installation, flow: Flow) -> Round:
    """One storm within its time; whatever breaks it off is a fault of it."""
    try:
        async with asyncio.timeout(OTHER_SECONDS + flow.seconds + flow.within):
            return await play(name, http, house, flow)
    except (Unreachable, NotRunning, StartError) as error:
        return Round(faults=[f"broken off: {error}"])
    except Exception:  # noqa: BLE001  a defect of this program must not hide the other storms
        return Round(faults=[f"broken off: {traceback.format_exc()}"])


if __name__ == "__main__":
    main()

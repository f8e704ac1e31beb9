"""`make mutants`: breaks a promise in a copy of the code and wants to see a test fail by it; one for each promise.

The tests must pass before anything is broken. A table tells of each mutation; the last line is one JSON object. Exit code 1 when a
mutation survives, breaks more than it should, or fits the code no more.
"""

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HOUSE))  # commands run with the safe path on, which leaves it out

from tests.mutants.catalogue import MUTATIONS  # noqa: E402  the line above makes it importable
from tests.mutants.copies import Copy, Outcome  # noqa: E402  the same
from tests.mutants.mutation import Mutation, staleness  # noqa: E402  the same

MOST_JOBS = 2
VERDICTS = ("killed", "survived", "broken")


def main() -> None:
    """Break, tell, and end with 1 if something was not seen."""
    options = arguments()
    chosen = [each for each in MUTATIONS if not options.only or any(word in each.name for word in options.only)]
    if not chosen:
        sys.exit("no mutation has this name")
    with suppress(asyncio.CancelledError, KeyboardInterrupt):
        sys.exit(asyncio.run(play(chosen, min(options.jobs, MOST_JOBS), unbroken=options.unbroken)))
    sys.exit("stopped")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Break promises in a copy of the code and see whether a test fails.")
    parser.add_argument("--only", action="append", default=[], help="mutations with this text in their name; may be given more than once")
    parser.add_argument("--jobs", type=int, default=MOST_JOBS, help=f"at once; default and most: {MOST_JOBS}")
    parser.add_argument("--no-unbroken", dest="unbroken", action="store_false", help="leave out the run of the tests as they are")
    return parser.parse_args()


async def play(chosen: Sequence[Mutation], jobs: int, *, unbroken: bool) -> int:
    """All of them; the exit code."""
    if ours := asyncio.current_task():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ours.cancel)
    began = time.monotonic()
    if stale := [f"{each.name}: {error}" for each in chosen for error in staleness(HOUSE, each)]:
        say("\n".join(f"stale      {line}" for line in stale))
        tell(ok=False, killed=0, survived=[], stale=stale)
        return 1
    with ExitStack() as stack:
        copies = [stack.enter_context(Copy()) for _ in range(jobs)]
        if unbroken:
            outcome = await copies[0].test(sorted({test for each in chosen for test in each.tests}))
            say(f"{'unbroken':<10} {time.monotonic() - began:>5.0f} s  {outcome.detail}")
            if outcome.verdict != "survived":
                tell(ok=False, killed=0, survived=[], unbroken=outcome.detail)
                return 1
        queue, outcomes = iter(chosen), dict[str, Outcome]()
        await asyncio.gather(*(work(copy, queue, outcomes) for copy in copies))
    by_verdict = {
        verdict: [name for name, each in outcomes.items() if each.verdict == verdict] for verdict in ("killed", "survived", "broken")
    }
    ok = len(by_verdict["killed"]) == len(chosen)
    seconds = round(time.monotonic() - began, 1)
    tell(ok=ok, killed=len(by_verdict["killed"]), survived=by_verdict["survived"], broken=by_verdict["broken"], seconds=seconds)
    return 0 if ok else 1


async def work(copy: Copy, queue: Iterator[Mutation], outcomes: dict[str, Outcome]) -> None:
    """One after the other in one copy, until none is left."""
    for each in queue:
        began = time.monotonic()
        outcomes[each.name] = await copy.try_out(each)
        say(f"{outcomes[each.name].verdict:<10} {time.monotonic() - began:>5.0f} s  {each.name}\n{'':>20}{outcomes[each.name].detail}")


def say(line: str) -> None:
    """A line for whoever waits."""
    print(line, flush=True)  # noqa: T201  a program's output


def tell(**result: object) -> None:
    """The last line."""
    say(json.dumps(result))


if __name__ == "__main__":
    main()

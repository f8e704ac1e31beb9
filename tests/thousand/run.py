"""`make thousand`: 1,000 deliveries of 100 ids at once, for two tenants with the same ids, over eight processes of the API.

Meanwhile `trunkline cleanup` runs again and again, with keys at and around the end of their time, and midnight passes: in UTC, in the
tenants' zone, and at a year's end. Effects are counted as the database's owner. The last line is one JSON object; exit code 1 on a fault.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

HOUSE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HOUSE))  # commands run with the safe path on, which leaves it out

import asyncpg  # noqa: E402  in one place with what follows

from tests.thousand.deliveries import Delivered, deliver, faults_of_answers, faults_of_effects  # noqa: E402  the line above
from tests.thousand.house import House, NotReady, raise_open_files  # noqa: E402  the same
from tests.thousand.ids import ids_of  # noqa: E402  the same
from tests.thousand.midnight import faults_of_leaving, put_old_keys, stand_before, watch  # noqa: E402  the same
from trunkline.dev.errors import StartError  # noqa: E402  the same

PROCESSES, TIMES = 8, 10
ZONE = "America/Los_Angeles"
MIDNIGHTS = {
    "midnight in UTC": datetime(2027, 3, 2, tzinfo=UTC),
    "midnight in the tenants' zone": datetime(2027, 6, 2, tzinfo=ZoneInfo(ZONE)),
    "a year's end": datetime(2028, 1, 1, tzinfo=UTC),
}
EARLY_SECONDS, BEFORE_SECONDS, PAST_SECONDS = 120.0, 0.15, 1.5
FEWEST_ON_A_SIDE = 100  # answers on each side of midnight, else it did not pass in the middle


def main() -> None:
    """Play, print, and end with 1 if something happened twice or not at all."""
    parser = argparse.ArgumentParser(description="A thousand deliveries of a hundred ids, across a clean-up and a midnight.")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the order; told in the last line")
    options = parser.parse_args()
    raise_open_files()
    try:
        result = asyncio.run(play(options.seed))
    except (NotReady, StartError) as error:
        result = {"ok": False, "faults": [str(error)]}
    print(json.dumps(result), flush=True)  # noqa: T201  a program's output
    sys.exit(0 if result["ok"] else 1)


async def play(seed: int) -> dict[str, Any]:
    """A round for each midnight, each with new tenants."""
    rounds = {}
    async with AsyncExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trunkline-thousand-")))
        house = await stack.enter_async_context(House(work, PROCESSES))
        await watch(house.urls)
        for number, (name, midnight) in enumerate(MIDNIGHTS.items()):
            rounds[name] = await play_round(house, midnight, seed + number)
            figures = "  ".join(f"{key} {value}" for key, value in rounds[name].items() if key not in ("ok", "faults"))
            print(f"{name}: {'ok' if rounds[name]['ok'] else 'FAILED'}  {figures}", flush=True)  # noqa: T201  the same
            for fault in rounds[name]["faults"]:
                print(f"  ! {fault}", flush=True)  # noqa: T201  the same
    return {"ok": all(each["ok"] for each in rounds.values()), "seed": seed, "rounds": rounds}


async def play_round(house: House, midnight: datetime, seed: int) -> dict[str, Any]:
    """One midnight."""
    ids, parties = ids_of(), [await house.sign_up(ZONE) for _ in range(2)]
    owner = await asyncpg.connect(house.urls.owner_url)
    try:
        for party in parties:
            await put_old_keys(owner, party.tenant, midnight)
        await stand_before(owner, midnight, EARLY_SECONDS)
        cleaning = asyncio.create_task(house.clean_again_and_again())
        await house.first_clean_up()
        began, found = time.monotonic(), Delivered.of(parties, ids)
        travelling = asyncio.create_task(travel(owner, found, midnight))
        await deliver(house.post, found, TIMES, PROCESSES, seed)
        ended = time.monotonic()
        house.stop_cleaning()
        runs, passed = await cleaning, await travelling
        await asyncio.sleep(max(0.0, passed + PAST_SECONDS - time.monotonic()))
        await house.clean_up()
        faults = faults_of_answers(found, TIMES)
        for party in parties:
            left = await faults_of_leaving(owner, party.tenant)
            faults += [*await faults_of_effects(owner, party, ids), *(f"{party.slug}: {each}" for each in left)]
        meanwhile = sum(begin < ended and end > began for begin, end in runs)
        faults += faults_of_time(found, passed, meanwhile)
        sides = [sum((moment < passed) == side for moment in found.moments) for side in (True, False)]
        figures = {
            "deliveries": len(found.moments),
            "seconds": round(ended - began, 2),
            "before midnight": sides[0],
            "after midnight": sides[1],
        }
        return {"ok": not faults, **figures, "clean-ups meanwhile": meanwhile, "told to come again": found.away, "faults": faults}
    finally:
        await owner.close()


async def travel(owner: "asyncpg.Connection[asyncpg.Record]", found: Delivered, midnight: datetime) -> float:
    """When a fifth is answered, put the clock right before midnight, from where it runs on; gives when midnight passes."""
    await found.a_fifth.wait()
    await stand_before(owner, midnight, BEFORE_SECONDS)
    return time.monotonic() + BEFORE_SECONDS


def faults_of_time(found: Delivered, midnight: float, clean_ups: int) -> list[str]:
    """Whether midnight passed in the middle, and clean-ups ran meanwhile."""
    before = sum(moment < midnight for moment in found.moments)
    wrong = [] if clean_ups else ["no clean-up ran while it was delivered"]
    if not FEWEST_ON_A_SIDE <= before <= len(found.moments) - FEWEST_ON_A_SIDE:
        wrong.append(f"midnight did not pass in the middle: {before} of {len(found.moments)} answers came before it")
    return wrong


if __name__ == "__main__":
    main()

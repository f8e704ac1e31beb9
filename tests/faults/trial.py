"""One trial: a delivery that is struck at one step, delivered again until it has its last word, and once more; then effects are counted."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.faults.counts import OURS, Counts, differences, grown
from tests.faults.house import House
from tests.faults.order import AT_TOOL, UNCERTAIN, Order, Path
from tests.kills.client import Answer, Unreachable

GIVE_UP_SECONDS = 60.0
PAUSE_SECONDS = 0.05
LONGEST_LEASE = 30.0  # seconds in which whatever a dead process held has to be settled, also on a busy machine


@dataclass
class Trial:
    """What came out. `struck` is the step at which the strike fell, None when the delivery ended before it."""

    at: int
    struck: str | None = None
    steps: list[str] = field(default_factory=list)
    waited: float = 0.0  # seconds from the strike to the last word, starting again included
    statuses: Counter[int] = field(default_factory=Counter)
    lost: int = 0  # deliveries without an answer
    uncertain: bool = False
    faults: list[str] = field(default_factory=list)


async def play(house: House, path: Path, strike: Callable[[House], None], at: int) -> Trial:
    """Strike the path's delivery at step `at`, and see what comes of it."""
    trial = Trial(at)
    order = await path(house, f"{at}-{uuid.uuid4().hex[:12]}")
    before = await look(house)
    await house.warm()
    answer = await struck(house, order, strike, trial)
    answer = answer or await last_word(order, trial)
    if answer is None:
        return trial
    if wrong := order.again(answer, await order.deliver()):
        trial.faults.append(f"one more delivery {wrong}")
    found = {each: more for each, more in grown(before, await look(house)).items() if each[1] not in order.many}
    expected = dict(order.effects)
    if order.uncertain is not None and UNCERTAIN in answer.body:
        trial.uncertain = True
        asked = found.get((OURS, AT_TOOL), 0)
        expected = {**order.uncertain, **({(OURS, AT_TOOL): asked} if asked == 1 else {})}
    trial.faults += differences(expected, found)
    return trial


async def struck(house: House, order: Order, strike: Callable[[House], None], trial: Trial) -> Answer | None:
    """The first delivery, with what died started again meanwhile; its answer, if that is the last word."""
    steps = house.steps
    steps.arm(trial.at, lambda: strike(house), order.steps_of)
    fallen = asyncio.ensure_future(steps.fallen.wait())
    delivery = asyncio.ensure_future(one(order, trial))
    await asyncio.wait({fallen, delivery}, return_when=asyncio.FIRST_COMPLETED)
    began = time.monotonic()
    if steps.struck:
        await house.mend()
    answer = await delivery
    steps.disarm()
    fallen.cancel()
    if steps.struck:
        await house.mend()  # it fell on what went on after the answer
    trial.steps, trial.struck = list(steps.seen), steps.struck
    trial.waited = time.monotonic() - began if steps.struck else 0.0
    return answer


async def last_word(order: Order, trial: Trial) -> Answer | None:
    """Deliver until there is a last word; None, and a fault, when there is none."""
    began = time.monotonic()
    while time.monotonic() - began < GIVE_UP_SECONDS:
        await asyncio.sleep(PAUSE_SECONDS)
        if answer := await one(order, trial):
            again = time.monotonic() - began
            trial.waited += again
            if again > LONGEST_LEASE:
                trial.faults.append(f"stuck for {again:.1f} s after everything ran again")
            return answer
    trial.faults.append(f"stuck: no last word within {GIVE_UP_SECONDS:g} s; answers {dict(trial.statuses)}, lost {trial.lost}")
    return None


async def one(order: Order, trial: Trial) -> Answer | None:
    """One delivery; its answer where that is the last word."""
    try:
        answer = await order.deliver()
    except Unreachable:
        trial.lost += 1
        return None
    trial.statuses[answer.status] += 1
    if not answer.taken and answer.status not in order.passing:
        trial.faults.append(f"answered {answer.status}: {answer.body[:300]!r}")
    return answer if order.settled(answer) else None


async def look(house: House) -> Counts:
    """Everything that can be counted, what was done at the tenants' own endpoint included."""
    counted = await house.books.counts(house.ours.id, house.neighbour.id)
    for effect in house.tool.effects.done:
        counted[effect.path.split("/")[1], AT_TOOL] += 1
    return counted

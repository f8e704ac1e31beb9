"""One storm from beginning to end: texts flow, it blows, it is calm again, everything settles, effects are counted."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.kills.burst import Burst
from tests.kills.client import Http, Unreachable
from tests.kills.installation import Installation, NotRunning
from tests.kills.rounds import Figure, Round
from tests.storms.count import Counted, count, settled
from tests.storms.flow import Customer, customers, interleaved
from tests.storms.slots import SlotBook
from tests.storms.weather import STORMS, Scene

POSTERS = 8
POSTED_IN = 0.6  # of the storm's length
FIRST_SHARE = 0.05  # of the texts is accepted before it blows
LEFTOVER_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Flow:
    """So many texts during a storm of so many seconds; `within` so many more, after the last one was accepted, all have an end."""

    messages: int = 2000
    seconds: float = 20.0
    within: float = 120.0


async def play(name: str, http: Http, house: Installation, flow: Flow) -> Round:
    """A storm over new tenants of a running installation."""
    messages, seconds = flow.messages, flow.seconds
    began = time.monotonic()
    async with SlotBook(house.dev["redis_url"]) as book:
        flowing = await customers(http, house, messages, seconds)
        burst = Burst(
            http, [order.delivery for order in interleaved(flowing)], POSTERS, copies=1, pause=POSTERS * POSTED_IN * seconds / messages
        )
        posting = asyncio.create_task(burst.run())
        try:
            await first_texts(burst)
            done = await STORMS[name](Scene(http, house, [each.tenant.account for each in flowing]), seconds)
            posted = await posting
        finally:
            posting.cancel()
        took, open_still = await settled(http, flowing, flow.within)
        counted = await asyncio.gather(*(one_count(http, house, each, book) for each in flowing))
    result = Round(faults=[*burst.faults, *(fault for each in counted for fault in each.faults)])
    if open_still:
        result.faults.append(f"not settled within {flow.within:g} s after the storm: {', '.join(open_still)}")
    result.figures = {**done, **figures(counted)}
    result.figures |= {"posted_s": round(posted, 1), "settled_s": round(took, 1), "took_s": round(time.monotonic() - began, 1)}
    return result


async def first_texts(burst: Burst) -> None:
    """Until the flow has begun."""
    until = time.monotonic() + LEFTOVER_SECONDS
    while burst.share < FIRST_SHARE:
        if time.monotonic() > until:
            raise NotRunning("no text was accepted")
        await asyncio.sleep(0.01)


async def one_count(http: Http, house: Installation, one: Customer, book: SlotBook) -> Counted:
    """The count of one tenant; that it cannot be made is a fault, too."""
    try:
        return await count(http, house, one, book.slots(one.registration_id), all_slots=not book.cuts)
    except Unreachable as error:
        return Counted(faults=[f"{one.tenant.slug} could not be counted: {error}"])


def figures(counted: Sequence[Counted]) -> dict[str, Figure]:
    """All tenants together; the excesses are those of the worst one."""
    statuses = sum((each.statuses for each in counted), Counter[str]())
    return {
        "messages": statuses.total(),
        **dict(sorted(statuses.items())),
        "texts": sum(each.texts for each in counted),
        "segments": sum(each.segments for each in counted),
        "creates": sum(each.creates for each in counted),
        "in_doubt": sum(each.in_doubt for each in counted),
        "resent_after_two_looks": sum(each.resent for each in counted),
        "given_up": sum(each.given_up for each in counted),
        "slots": sum(each.slots for each in counted),
        "over_slots": round(max(each.over_slots for each in counted), 3),
        "over_door": round(max(each.over_door for each in counted), 3),
    }

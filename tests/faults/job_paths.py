"""Paths of programs that run beside the API: the clean-up while deliveries come."""

import asyncio
import json
import os
import sys
from collections.abc import Sequence

from tests.faults.counts import AGED, AT_THE_BOUNDARY
from tests.faults.house import TRUNKLINE, House
from tests.faults.order import Order, ours
from tests.faults.webhook_paths import given, item, post, tool_calls
from tests.kills.client import Answer, Unreachable
from tests.kills.installation import CHECKOUT

EXPIRED = 700  # keys: several batches
NEW_TEXTS = 4


async def program(house: House, argv: Sequence[str], **more: str) -> Answer:
    """Run a program to its end; what it printed is the answer.

    Raises:
        Unreachable: it was killed, or gave up.
    """
    env = {**os.environ, **house.environment(house.through(house.job_wire)), **more}
    house.job = await asyncio.create_subprocess_exec(
        *argv, cwd=CHECKOUT, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        said, words = await house.job.communicate()
        if house.job.returncode:
            raise Unreachable(f"{argv[-1]} ended with {house.job.returncode}: {words.decode(errors='replace')[-300:]}")
        return Answer(200, said, replayed=False)
    finally:
        house.job = None


async def cleanup(house: House, mark: str) -> Order:
    """Expired keys leave; one that is a minute younger stays, is delivered meanwhile, and is no new text. New texts come too."""
    old = tool_calls(mark, item("send_sms", {"body": mark}, "call_1"))
    for tenant in (house.ours, house.neighbour):
        await given(house, tenant, old)
        await house.books.change(AT_THE_BOUNDARY, tenant.id, mark)
    await house.books.change(AGED, house.ours.id, mark, EXPIRED)
    fresh = [tool_calls(f"{mark}-{number}", item("send_sms", {"body": mark}, "call_1")) for number in range(NEW_TEXTS)]

    async def deliver() -> Answer:
        deliveries = [until_taken(house, body) for body in (old, *fresh) for _ in range(2)]
        answer, *answers = await asyncio.gather(program(house, [*TRUNKLINE, "cleanup", "--json"]), *deliveries, return_exceptions=True)
        if not all(isinstance(each, Answer) for each in (answer, *answers)):
            raise Unreachable(f"{answer}")
        if not all(each.replayed for each in answers[:2]):
            return Answer(500, b"a key that was not over was forgotten", replayed=False)
        return answer

    effects = ours(claims__done=NEW_TEXTS - EXPIRED, messages=NEW_TEXTS, arrivals=NEW_TEXTS, usage__tool_calls=NEW_TEXTS)
    return Order(deliver, effects, steps_of=("job's postgres",), again=nothing_left)


async def until_taken(house: House, body: object) -> Answer:
    """A delivery past the relay, repeated while storage is away."""
    for _ in range(200):
        answer = await post(house, house.ours, body, f"http://127.0.0.1:{house.port}")
        if answer.taken:
            return answer
        await asyncio.sleep(0.05)
    raise Unreachable("no 2xx while the clean-up ran")


def nothing_left(_first: Answer, again: Answer) -> str | None:
    """A further run finds nothing that is over."""
    found = json.loads(again.body)
    return None if found["keys"] == 0 and found["finished"] else f"still found something: {found}"


PYTHON = [sys.executable, "-P", "-m"]

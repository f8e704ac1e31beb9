"""Paths of programs that run beside the API: the clean-up while deliveries come, and asking Vapi about silent calls."""

import asyncio
import json
import os
import sys
from collections.abc import Sequence

from sandbox.vapi import bodies
from tests.faults.counts import AGED, AT_THE_BOUNDARY, FIVE_MINUTES_LATER, IS_TOLD
from tests.faults.house import HOST, TRUNKLINE, House
from tests.faults.order import Order, ours, replayed
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
    """Expired keys leave; one that is an hour younger stays, is delivered meanwhile, and is no new text. New texts come too."""
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
        answer = await post(house, house.ours, body, f"http://{HOST}:{house.port}")
        if answer.taken:
            return answer
        await asyncio.sleep(0.05)
    raise Unreachable("no 2xx while the clean-up ran")


def nothing_left(_first: Answer, again: Answer) -> str | None:
    """A further run finds nothing that is over."""
    found = json.loads(again.body)
    return None if found["keys"] == 0 and found["finished"] else f"still found something: {found}"


async def late_report(house: House, mark: str) -> Order:
    """A call that ended and never reported is told by Vapi itself; the report that comes after all is not billed again."""
    report = bodies.end_of_call_report(mark)
    await given(house, house.neighbour, report)
    await given(house, house.ours, bodies.status_update(mark, status="ended"))
    told = {name: report["message"][name] for name in ("startedAt", "endedAt", "endedReason", "cost", "costBreakdown", "costs")}
    house.vapi.calls["", mark] = {"id": mark, "status": "ended", **told}

    async def deliver() -> Answer:
        await house.books.change(FIVE_MINUTES_LATER, house.ours.id, mark)
        await program(house, ASK_VAPI, TRUNKLINE_ENVIRONMENT="test", TRUNKLINE_VAPI_BASE_URL=f"http://{HOST}:{house.vapi_wire.own_port}")
        if not await house.books.value(IS_TOLD, house.ours.id, mark):
            return Answer(503, b"Vapi was not heard", replayed=False)
        return await post(house, house.ours, report, f"http://{HOST}:{house.port}")

    effects = ours(claims__done=1, usage__calls=1, usage__call_seconds=1, usage__vapi_cost_usd=1)
    return Order(deliver, effects, steps_of=("job's postgres", "vapi"), again=replayed)


ASK_VAPI = [sys.executable, "-P", "-m", "tests.faults.ask_vapi"]

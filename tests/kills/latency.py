"""How soon a text of an idle sender reaches Twilio, counted from the moment its 202 was read."""

import asyncio
import time

from tests.kills.rounds import Figure, Round, Stage, percentile
from tests.kills.tenants import Tenant, recipient, sign_up

TENANTS, EACH = 20, 3  # a sender of 3 segments a second rests 6 seconds between two texts
EVERY_SECONDS = 0.3
GOAL_P50_MS, GOAL_P99_MS = 100.0, 500.0
ARRIVED_SECONDS = 10.0


async def latency(stage: Stage) -> Round:
    """60 texts one by one on idle senders. Both moments are of the machine's monotonic clock, which all processes share."""
    senders = [await sign_up(stage.http, stage.house, "toll_free") for _ in range(TENANTS)]
    await asyncio.sleep(2.0)  # the story that `dev` plays at its start has ended
    accepted: dict[tuple[str, str], float] = {}
    answers_ms = []
    for number in range(TENANTS * EACH):
        tenant, to = senders[number % TENANTS], recipient(number)
        posted = time.monotonic()
        await stage.http.right("POST", f"{tenant.base_url}/v1/messages", {"to": to, "body": f"Text {number}."}, key=tenant.key)
        accepted[tenant.account, to] = time.monotonic()
        answers_ms.append((accepted[tenant.account, to] - posted) * 1000)
        await asyncio.sleep(EVERY_SECONDS)
    arrived = await arrivals(stage, senders, len(accepted))
    missing = [f"a text of {account} to {to} never arrived" for account, to in accepted if (account, to) not in arrived]
    waits = [(arrived[key] - moment) * 1000 for key, moment in accepted.items() if key in arrived]
    if not waits:
        return Round(faults=missing)
    p50, p99 = percentile(waits, 0.5), percentile(waits, 0.99)
    slow = [f"p50 {p50:.0f} ms, the goal is {GOAL_P50_MS:.0f}"] if p50 > GOAL_P50_MS else []
    slow += [f"p99 {p99:.0f} ms, the goal is {GOAL_P99_MS:.0f}"] if p99 > GOAL_P99_MS else []
    figures: dict[str, Figure] = {
        "texts": len(waits),
        "p50_ms": round(p50, 1),
        "goal_p50_ms": GOAL_P50_MS,
        "p99_ms": round(p99, 1),
        "goal_p99_ms": GOAL_P99_MS,
        "answer_p50_ms": round(percentile(answers_ms, 0.5), 1),
    }
    return Round(figures, missing + slow)


async def arrivals(stage: Stage, senders: list[Tenant], expected: int) -> dict[tuple[str, str], float]:
    """When each text reached Twilio, by account and recipient; waits a while for the last ones."""
    until = time.monotonic() + ARRIVED_SECONDS
    while True:
        urls = [f"{stage.house.twilio_url}/control/messages?account={tenant.account}" for tenant in senders]
        texts = [text for url in urls for text in (await stage.http.right("GET", url))["messages"]]
        if len(texts) >= expected or time.monotonic() > until:
            return {(text["account_sid"], text["to"]): text["arrived_at"] for text in texts}
        await asyncio.sleep(0.2)

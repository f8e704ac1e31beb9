"""Fifty deliveries of one tool call at once, for two new tenants with equal ids: each gets its own effect, once."""

import asyncio
import time
import uuid
from typing import Any

from tests.kills.audit import audit
from tests.kills.burst import Delivery
from tests.kills.client import Answer
from tests.kills.rounds import Round, Stage
from tests.kills.tenants import Tenant, recipient, sign_up

AT_ONCE = 50
TEXT = "See you on Tuesday at three."
DELIVERED_SECONDS = 20.0


async def fifty(stage: Stage) -> Round:
    """A hundred postings at once: two texts, two times fifty equal answers, two bill lines; both texts reach delivered."""
    pair = [await sign_up(stage.http, stage.house, "toll_free") for _ in range(2)]
    call_id, tool_id = str(uuid.uuid4()), "call_same"
    people = [recipient(stage.number * 10 + number) for number in range(2)]
    orders = [tenant.tool_call(call_id, tool_id, to, TEXT) for tenant, to in zip(pair, people, strict=True)]
    began = time.monotonic()
    answered = await asyncio.gather(*(post(stage, order) for _ in range(AT_ONCE) for order in orders))
    result = Round({"answered_ms": round((time.monotonic() - began) * 1000, 1)})
    for place, (tenant, to) in enumerate(zip(pair, people, strict=True)):
        result.faults += [f"{tenant.slug}: {fault}" for fault in answer_faults([*answered[place::2]], tool_id)]
        found = await audit(stage.http, stage.house, tenant, {to: TEXT}, tool_calls=1, within=DELIVERED_SECONDS)
        message = await delivered(stage, tenant, to)
        if message["status"] != "delivered":
            result.faults.append(f"{tenant.slug}: the text did not reach delivered within {DELIVERED_SECONDS:g} s: {message}")
        result.faults += [*found.faults, *await line_faults(stage, tenant), *await call_faults(stage, tenant, call_id)]
    result.figures |= {"postings": len(answered), "replays": sum(answer.replayed for answer in answered), "texts": len(pair)}
    return result


async def post(stage: Stage, order: Delivery) -> Answer:
    """One posting; nothing is killed here, so it has to work at once."""
    return await stage.http.call("POST", order.url, order.body, key=order.key)


def answer_faults(answers: list[Answer], tool_id: str) -> list[str]:
    """Fifty times 200, one body, one original."""
    faults = []
    if {answer.status for answer in answers} != {200}:
        faults.append(f"statuses {sorted({answer.status for answer in answers})}, not 200: {answers[0].body[:300]!r}")
        return faults
    bodies = {answer.body for answer in answers}
    if len(bodies) != 1:
        faults.append(f"{len(bodies)} different answers: {sorted(bodies)}")
    originals = sum(not answer.replayed for answer in answers)
    if originals != 1:
        faults.append(f"{originals} of {len(answers)} answers do not say that they are replays")
    results = answers[0].json["results"]
    if len(results) != 1 or results[0].get("toolCallId") != tool_id or not results[0].get("result"):
        faults.append(f"the answer is {results}")
    return faults


async def delivered(stage: Stage, tenant: Tenant, to: str) -> dict[str, Any]:
    """The tenant's only text, once it is delivered or the patience ends."""
    until = time.monotonic() + DELIVERED_SECONDS
    while True:
        messages = [each async for each in stage.http.items(f"{tenant.base_url}/v1/messages", tenant.key)]
        message = next((each for each in messages if each["to"] == to), {"status": "not there", "to": to})
        if message["status"] == "delivered" or time.monotonic() > until:
            return message
        await asyncio.sleep(0.1)


async def line_faults(stage: Stage, tenant: Tenant) -> list[str]:
    """The invoice as it stands has one line for segments, and on it one segment."""
    invoice = await stage.http.right("GET", f"{tenant.base_url}/v1/invoices/current", key=tenant.key)
    quantities = [line["quantity"] for line in invoice["lines"] if line.get("meter") == "sms_segments_out"]
    return [] if quantities == ["1"] else [f"{tenant.slug}: its invoice has segments {quantities}, not one line of 1"]


async def call_faults(stage: Stage, tenant: Tenant, call_id: str) -> list[str]:
    """One webhook stands for the fifty, and it is this tenant's."""
    webhooks = [each async for each in stage.http.items(f"{tenant.base_url}/v1/webhooks?call_id={call_id}", tenant.key)]
    done = [each for each in webhooks if each["type"] == "tool-calls" and each["state"] == "done"]
    return [] if len(webhooks) == len(done) == 1 else [f"{tenant.slug}: {len(webhooks)} webhooks stand for one, {len(done)} of them done"]

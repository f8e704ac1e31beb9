"""Paths of Vapi's webhooks. The neighbour gets every one first, under equal ids, and nothing of it may change afterwards."""

import json
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from sandbox.vapi import bodies
from tests.faults.house import CALLER, House, Tenant
from tests.faults.order import AT_TOOL, Order, has_result, ours, taken
from tests.faults.relay import HOST
from tests.kills.client import Answer

TEXT = {"claims__done": 1, "messages": 1, "arrivals": 1, "usage__tool_calls": 1}
ACTED = {"claims__done": 1, "usage__tool_calls": 1}
AREAS = count(320)  # each caller opts out once
RUN = ours(claims__done=1, usage__tool_calls=1, **{AT_TOOL.replace(" ", "__"): 1})


def item(name: str, arguments: dict[str, Any], tool_call_id: str) -> dict[str, Any]:
    """A tool call as it stands in a list."""
    return {"id": tool_call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def tool_calls(mark: str, *items: dict[str, Any]) -> dict[str, Any]:
    """A delivery of tool calls of one call."""
    return {"message": {"type": "tool-calls", "call": {"id": mark}, "toolCallList": list(items), "customer": {"number": CALLER}}}


async def post(house: House, tenant: Tenant, body: Any, base_url: str | None = None) -> Answer:
    """As Vapi posts: one attempt."""
    fresh = json.dumps(bodies.freshened(body)).encode()
    return await house.http.call("POST", (base_url or house.door_url) + tenant.hook, fresh, key=tenant.secret)


async def given(house: House, tenant: Tenant, body: Any) -> None:
    """A delivery that came before the trial."""
    answer = await post(house, tenant, body, f"http://{HOST}:{house.port}")
    assert answer.taken, answer


async def webhook(house: House, body: Any, effects: dict[str, int]) -> Order:
    """A webhook that the neighbour had before."""
    await given(house, house.neighbour, body)
    return Order(lambda: post(house, house.ours, body), ours(**effects), settled=has_result if "toolCallList" in body["message"] else taken)


async def send_sms(house: House, mark: str) -> Order:
    """One text."""
    return await webhook(house, tool_calls(mark, item("send_sms", {"body": mark}, "call_1")), TEXT)


async def one_seen_one_new(house: House, mark: str) -> Order:
    """Two tool calls in one delivery, of which the first was delivered before."""
    seen, new = item("send_sms", {"body": mark}, "call_1"), item("send_sms", {"body": f"{mark}, and more"}, "call_2")
    for tenant in (house.ours, house.neighbour):
        await given(house, tenant, tool_calls(mark, seen))
    return await webhook(house, tool_calls(mark, seen, new), TEXT)


async def same_text(house: House, mark: str) -> Order:
    """A text that was asked for before, under another id: answered, and nothing else."""
    for tenant in (house.ours, house.neighbour):
        await given(house, tenant, tool_calls(mark, item("send_sms", {"body": mark}, "call_1")))
    return await webhook(house, tool_calls(mark, item("send_sms", {"body": mark}, "call_2")), {"claims__done": 1})


async def cancel_sms(house: House, mark: str) -> Order:
    """A text of this call that was to leave tomorrow does not."""
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    for tenant in (house.ours, house.neighbour):
        await given(house, tenant, tool_calls(mark, item("send_sms", {"body": mark, "send_at": tomorrow}, "call_1")))
    return await webhook(house, tool_calls(mark, item("cancel_sms", {}, "call_2")), ACTED | {"canceled": 1, "arrivals": 1})


async def opt_out(house: House, mark: str) -> Order:
    """A caller whom nobody texts any more."""
    body = tool_calls(mark, item("opt_out", {}, "call_1"))
    body["message"]["customer"] = {"number": f"+1{next(AREAS)}5550157"}
    return await webhook(house, body, ACTED | {"opt-outs": 1})


async def function_call(house: House, mark: str) -> Order:
    """The tool call of old, without an id of its own."""
    call = {"name": "send_sms", "parameters": {"body": mark}}
    body = {"message": {"type": "function-call", "call": {"id": mark}, "functionCall": call, "customer": {"number": CALLER}}}
    return await webhook(house, body, TEXT)


async def report(house: House, mark: str) -> Order:
    """The end of a call, with what it cost."""
    effects = {"claims__done": 1, "calls__ended": 1, "usage__calls": 1, "usage__call_seconds": 1, "usage__vapi_cost_usd": 1}
    return await webhook(house, bodies.end_of_call_report(mark), effects)


async def status(house: House, mark: str) -> Order:
    """A call that has begun."""
    return await webhook(house, bodies.status_update(mark), {"claims__done": 1, "calls__in-progress": 1})


async def informational(house: House, mark: str) -> Order:
    """A type that is recorded and has no other effect."""
    return await webhook(house, {"message": {"type": "hang", "call": {"id": mark}, "timestamp": 1}}, {"claims__done": 1})


async def unknown_type(house: House, mark: str) -> Order:
    """A type that nobody documented: recorded, and its body is kept."""
    return await webhook(house, {"message": {"type": "new-in-vapi", "call": {"id": mark}, "x": [1, 2]}}, {"claims__done": 1, "bodies": 1})


async def own_tool(house: House, mark: str) -> Order:
    """A tool of the tenant's own whose endpoint honours the key that it is given."""
    body = tool_calls(mark, item("book", {"slot": mark}, "call_1"))
    await given(house, house.neighbour, body)
    return Order(lambda: post(house, house.ours, body), RUN, settled=has_result)


async def own_tool_once(house: House, mark: str) -> Order:
    """A tool that may not be asked twice: at most one effect, and an honest word where nobody knows."""
    body = tool_calls(mark, item("pay", {"amount": mark}, "call_1"))
    await given(house, house.neighbour, body)
    return Order(lambda: post(house, house.ours, body), RUN, uncertain=ours(claims__failed=1), settled=has_result)

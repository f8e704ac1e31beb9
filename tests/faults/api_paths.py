"""Paths of the tenant and admin API, each under an Idempotency-Key."""

from typing import Any

from sandbox.vapi import bodies
from tests.faults.counts import OTHERS
from tests.faults.house import CALLER, House, Tenant
from tests.faults.order import Order, ours, same_but_duplicates
from tests.faults.relay import HOST
from tests.faults.webhook_paths import given, item, tool_calls
from tests.kills.client import Answer

BUSY = (503, 409)  # 409: the same request is being worked on


async def ask(house: House, method: str, path: str, key: str, body: Any, wish: str) -> Answer:
    """As a tenant's program asks: one attempt."""
    return await house.http.call(method, house.door_url + path, body, key=key, headers={"Idempotency-Key": wish})


async def message(house: House, mark: str) -> Order:
    """A text of the tenant's own program; the neighbour uses the same key."""
    body = {"to": CALLER, "body": mark}
    await ask(house, "POST", "/v1/messages", house.neighbour.key, body, mark)
    effects = ours(claims__done=1, messages=1, arrivals=1)
    return Order(lambda: ask(house, "POST", "/v1/messages", house.ours.key, body, mark), effects)


async def new_tenant(house: House, mark: str) -> Order:
    """A tenant with its first key, which is shown once and must be shown again."""
    body = {"slug": f"t-{mark}", "name": mark, "timezone": "America/New_York"}
    made = {(OTHERS, what): 1 for what in ("tenants", "api keys", "claims done", "audit tenant.created", "audit key.created")}
    return Order(lambda: ask(house, "POST", "/v1/admin/tenants", house.admin_key, body, mark), made, passing=BUSY)


async def assistant(house: House, mark: str) -> Order:
    """An assistant with its secret."""
    return await once_each(house, "POST", "/v1/assistants", {"vapi_assistant_id": mark, "name": mark}, mark, "assistants")


async def tool(house: House, mark: str) -> Order:
    """A tool with its secret."""
    body = {"url": f"http://{HOST}:{house.tool_wire.own_port}/{mark}"}
    return await once_each(house, "PUT", f"/v1/tools/t_{mark.replace('-', '_')}", body, mark, "tools")


async def once_each(house: House, method: str, path: str, body: Any, mark: str, what: str) -> Order:
    """Something of a tenant's that is made; the trail has it once."""
    effects = ours(claims__done=1, **{what: 1}, **{f"audit__{AUDITED[what]}": 1})
    return Order(lambda: ask(house, method, path, house.ours.key, body, mark), effects, passing=BUSY)


AUDITED = {"assistants": "assistant.registered", "tools": "tool.created"}


async def replayed_report(house: House, mark: str) -> Order:
    """A report that is handled again by hand: under its own key, with nothing new."""
    body = bodies.end_of_call_report(mark)
    return await replay(house, body, mark, {}, {})


async def replayed_tool_call(house: House, mark: str) -> Order:
    """A tool call that is done anew by wish, once for each wish."""
    effects = {"claims__done": 1, "messages": 1, "arrivals": 1, "usage__tool_calls": 1}
    return await replay(house, tool_calls(mark, item("send_sms", {"body": mark}, "call_1")), mark, {"effects": "new"}, effects)


async def replay(house: House, body: Any, mark: str, wish: Any, effects: dict[str, int]) -> Order:
    """Handle a webhook again, under a key; how often that was tried stands in the audit trail, which is no effect."""
    for tenant in (house.ours, house.neighbour):
        await given(house, tenant, body)
    webhook = await webhook_id(house, house.ours, mark)
    path = f"/v1/webhooks/{webhook}/replay"
    return Order(
        lambda: ask(house, "POST", path, house.ours.key, wish, mark),
        ours(**effects),
        passing=BUSY,
        again=same_but_duplicates,
        many=("audit webhook.replayed",),
    )


async def webhook_id(house: House, tenant: Tenant, call_id: str) -> str:
    """Under which a delivery is listed."""
    url = f"http://{HOST}:{house.port}/v1/webhooks?call_id={call_id}"
    (found,) = (await house.http.right("GET", url, key=tenant.key))["items"]
    return str(found["id"])

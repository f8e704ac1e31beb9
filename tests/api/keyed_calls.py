"""Every call of our own API that changes something, each with what it needs: for the tests of the header Idempotency-Key."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from tests.api.people import Person, Tenant, sender_body

Made = tuple[str, Any]  # an address and a body


def assistant_body() -> dict[str, str]:
    return {"vapi_assistant_id": str(uuid4()), "name": "New"}


def new_tenant_body() -> dict[str, str]:
    return {"slug": f"t-{uuid4().hex[:12]}", "name": "New", "timezone": "America/Los_Angeles"}


def plan_body() -> dict[str, Any]:
    prices = [{"meter": "calls", "unit_price": "0.02"}]
    return {"name": f"plan-{uuid4().hex[:8]}", "currency": "USD", "base_fee": "10", "prices": prices}


async def queued(tenant: Tenant) -> str:
    made: str = (await tenant.post("/v1/messages", {"to": "+12135550123", "body": "Hi"})).json()["id"]
    return made


async def suspended(tenant: Tenant, admin: Person) -> str:
    assert (await admin.post(f"/v1/admin/tenants/{tenant.id}/suspend", {})).status_code == 200
    return tenant.id


async def more_keys(tenant: Tenant, admin: Person) -> str:
    made: str = (await admin.post(f"/v1/admin/tenants/{tenant.id}/keys", {})).json()["id"]
    return made


Ready = Callable[[Tenant, Person], Awaitable[Made]]


def at_once(make: Callable[[Tenant], Made]) -> Ready:
    async def ready(tenant: Tenant, _: Person) -> Made:
        return make(tenant)

    return ready


async def to_cancel(tenant: Tenant, _: Person) -> Made:
    return f"/v1/messages/{await queued(tenant)}/cancel", None


async def to_resume(tenant: Tenant, admin: Person) -> Made:
    return f"/v1/admin/tenants/{await suspended(tenant, admin)}/resume", {}


async def to_revoke(tenant: Tenant, admin: Person) -> Made:
    return f"/v1/admin/tenants/{tenant.id}/keys/{await more_keys(tenant, admin)}", None


async def put_tool(tenant: Tenant) -> str:
    made = await tenant.ask("PUT", "/v1/tools/book", {"url": "https://tools.example.com/book"})
    assert made.status_code == 200, made.text
    return "/v1/tools/book"


async def to_remove_a_tool(tenant: Tenant, _: Person) -> Made:
    return await put_tool(tenant), None


async def to_rotate_a_tool(tenant: Tenant, _: Person) -> Made:
    return f"{await put_tool(tenant)}/rotate-secret", {"grace_seconds": 60}


async def to_forget_vapi(tenant: Tenant, _: Person) -> Made:
    assert (await tenant.ask("PUT", "/v1/vapi", {"api_key": "a-key-at-vapi-of-the-suite"})).status_code == 200
    return "/v1/vapi", None


async def to_lift(tenant: Tenant, _: Person) -> Made:
    assert (await tenant.post("/v1/opt-outs", {"to": "+12135550123"})).status_code == 201
    return "/v1/opt-outs/+12135550123", None


ROUTE, ENTRY, ANSWERER = "/v1/inbound-routes/+19075550142", "/v1/transfer-directory/sales", "/v1/answerers/campaign.predial"
SALES, ENDPOINT = {"destination": {"type": "number", "number": "+19075550101"}}, {"url": "https://tools.example.com/ask"}


def put_before(path: str, body: Any, then: str = "", sent: Any = None) -> Ready:
    async def ready(tenant: Tenant, _: Person) -> Made:
        assert (await tenant.ask("PUT", path, body)).status_code == 200
        return path + then, sent

    return ready


async def put_credential(tenant: Tenant) -> str:
    made = await tenant.ask("PUT", "/v1/webhook-credential", {"auth": {"mode": "hmac"}})
    assert made.status_code == 200, made.text
    return "/v1/webhook-credential"


async def to_forget_the_credential(tenant: Tenant, _: Person) -> Made:
    return await put_credential(tenant), None


async def to_rotate_the_credential(tenant: Tenant, _: Person) -> Made:
    return f"{await put_credential(tenant)}/rotate", {"grace_seconds": 60}


async def to_forget_a_call(tenant: Tenant, _: Person) -> Made:
    assert (await tenant.tool("current_time", {}, call_id="call-1")).status_code == 200
    return "/v1/calls/call-1/content", None


def own_tier_body() -> dict[str, Any]:
    return {"name": f"tier_{uuid4().hex[:12]}", "segments_per_second": "3.75", "day_cap": 900}


async def own_tier(admin: Person) -> str:
    made = await admin.post("/v1/admin/tiers", own_tier_body())
    assert made.status_code == 201, made.text
    return f"/v1/admin/tiers/{made.json()['name']}"


async def to_change_a_tier(_: Tenant, admin: Person) -> Made:
    return await own_tier(admin), {"segments_per_minute": 30}


async def to_retire_a_tier(_: Tenant, admin: Person) -> Made:
    return await own_tier(admin), None


def overriding(tenant: Tenant) -> Made:
    return f"/v1/admin/tenants/{tenant.id}/registrations/{tenant.sender['registration_id']}", {"segments_per_second": "2"}


CALLS: dict[str, Ready] = {
    "post /v1/assistants": at_once(lambda _: ("/v1/assistants", assistant_body())),
    "patch /v1/assistants/{assistant_id}": at_once(lambda t: (f"/v1/assistants/{t.assistant['id']}", {"name": "Renamed"})),
    "delete /v1/assistants/{assistant_id}": at_once(lambda t: (f"/v1/assistants/{t.assistant['id']}", None)),
    "post /v1/assistants/{assistant_id}/rotate-secret": at_once(lambda t: (f"/v1/assistants/{t.assistant['id']}/rotate-secret", {})),
    "put /v1/sender": at_once(lambda _: ("/v1/sender", sender_body())),
    "post /v1/senders": at_once(lambda _: ("/v1/senders", sender_body())),
    "post /v1/messages": at_once(lambda _: ("/v1/messages", {"to": "+12135550123", "body": "Hi"})),
    "post /v1/messages/{message_id}/cancel": to_cancel,
    "post /v1/admin/tenants": at_once(lambda _: ("/v1/admin/tenants", new_tenant_body())),
    "patch /v1/admin/tenants/{tenant_id}": at_once(lambda t: (f"/v1/admin/tenants/{t.id}", {"name": "Renamed"})),
    "post /v1/admin/tenants/{tenant_id}/suspend": at_once(lambda t: (f"/v1/admin/tenants/{t.id}/suspend", {"reason": "Unpaid"})),
    "post /v1/admin/tenants/{tenant_id}/resume": to_resume,
    "post /v1/admin/tenants/{tenant_id}/keys": at_once(lambda t: (f"/v1/admin/tenants/{t.id}/keys", {"name": "more"})),
    "delete /v1/admin/tenants/{tenant_id}/keys/{key_id}": to_revoke,
    "put /v1/admin/tenants/{tenant_id}/queue": at_once(lambda t: (f"/v1/admin/tenants/{t.id}/queue", {"most_messages": 1000})),
    "put /v1/admin/switches": at_once(lambda t: ("/v1/admin/switches", {"name": "sending", "mode": "hold", "tenant_id": t.id})),
    "put /v1/tools/{name}": at_once(lambda _: ("/v1/tools/book", {"url": "https://tools.example.com/book"})),
    "delete /v1/tools/{name}": to_remove_a_tool,
    "post /v1/tools/{name}/rotate-secret": to_rotate_a_tool,
    "put /v1/inbound-routes/{phone_number}": at_once(lambda _: (ROUTE, {"error": "Nobody is there."})),
    "delete /v1/inbound-routes/{phone_number}": put_before(ROUTE, {"error": "Nobody is there."}),
    "put /v1/transfer-directory/{name}": at_once(lambda _: (ENTRY, SALES)),
    "delete /v1/transfer-directory/{name}": put_before(ENTRY, SALES),
    "put /v1/answerers/{type}": at_once(lambda _: (ANSWERER, ENDPOINT)),
    "delete /v1/answerers/{type}": put_before(ANSWERER, ENDPOINT),
    "post /v1/answerers/{type}/rotate-secret": put_before(ANSWERER, ENDPOINT, "/rotate-secret", {"grace_seconds": 60}),
    "put /v1/webhook-credential": at_once(lambda _: ("/v1/webhook-credential", {"auth": {"mode": "hmac"}})),
    "delete /v1/webhook-credential": to_forget_the_credential,
    "post /v1/webhook-credential/rotate": to_rotate_the_credential,
    "put /v1/vapi": at_once(lambda _: ("/v1/vapi", {"api_key": "a-key-at-vapi-of-the-suite"})),
    "delete /v1/vapi": to_forget_vapi,
    "put /v1/retention": at_once(lambda _: ("/v1/retention", {"keys_hours": 200, "bodies_days": 7, "capture": "all"})),
    "put /v1/privacy": at_once(lambda _: ("/v1/privacy", {"customer": "none", "transcripts": True, "summaries": False})),
    "delete /v1/calls/{call_id}/content": to_forget_a_call,
    "put /v1/opening-hours": at_once(lambda _: ("/v1/opening-hours", {"week": {"monday": [{"opens": "09:00", "closes": "17:00"}]}})),
    "put /v1/quiet-hours": at_once(lambda _: ("/v1/quiet-hours", {"hours": {"week": {"monday": [{"opens": "09:00", "closes": "17:00"}]}}})),
    "put /v1/consent": at_once(lambda _: ("/v1/consent", {"stop_covers": "sender"})),
    "post /v1/opt-outs": at_once(lambda _: ("/v1/opt-outs", {"to": "+12135550123"})),
    "delete /v1/opt-outs/{phone_number}": to_lift,
    "post /v1/admin/tiers": at_once(lambda _: ("/v1/admin/tiers", own_tier_body())),
    "patch /v1/admin/tiers/{name}": to_change_a_tier,
    "delete /v1/admin/tiers/{name}": to_retire_a_tier,
    "put /v1/admin/tenants/{tenant_id}/registrations/{registration_id}": at_once(overriding),
    "put /v1/text-policy": at_once(lambda _: ("/v1/text-policy", {"destinations": "caller", "texts_per_call": 2})),
    "post /v1/admin/plans": at_once(lambda _: ("/v1/admin/plans", plan_body())),
}
OWN_WAY = {
    "post /v1/messages/{message_id}/resend",  # the text that ended is its key; see test_dead_letters
    "post /v1/webhooks/{webhook_id}/replay",  # its key names the wish; see test_replay
    "post /v1/assistants/{assistant_id}/check",  # these ask Vapi; see test_assistant_check
    "post /v1/assistants/{assistant_id}/restore",
}
TENANTS = {name: ready for name, ready in CALLS.items() if "/v1/admin" not in name and name != "post /v1/messages"}

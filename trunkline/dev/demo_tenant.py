"""The demo tenant: a dentist in Los Angeles with one assistant and a toll-free sender, made once and found again."""

import json
import uuid
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from trunkline.dev.errors import StartError
from trunkline.dev.private_files import kept_text, write_private

SLUG = "demo-dental"
TENANT = {"slug": SLUG, "name": "Demo Dental", "timezone": "America/Los_Angeles"}
NUMBER, TIER = "+18335550100", "toll_free"


@dataclass(frozen=True, slots=True)
class Demo:
    """What a user of the demo tenant needs to know."""

    slug: str
    api_key: str
    webhook_url: str
    webhook_secret: str
    vapi_assistant_id: str


async def demo_tenant(base_url: str, admin_key: str, kept: Path) -> Demo:
    """The demo tenant with its secrets, which stand in the file `kept` since they are shown once; its address may have moved."""
    async with httpx.AsyncClient(base_url=base_url, headers={"Authorization": f"Bearer {admin_key}"}, timeout=30) as admin:
        known = kept_text(kept)
        demo = Demo(**json.loads(known)) if known else await make(admin)
        demo = replace(demo, webhook_url=f"{base_url}/vapi-webhook/{demo.slug}")
    write_private(kept, json.dumps(asdict(demo)))
    return demo


async def make(admin: httpx.AsyncClient) -> Demo:
    """Make the tenant, its assistant and its sender; what a killed start left behind is taken over."""
    made = await admin.post("/v1/admin/tenants", json=TENANT)
    if made.status_code == httpx.codes.CONFLICT:
        tenants = answered(await admin.get("/v1/admin/tenants", params={"limit": 200}))["items"]
        tenant_id = next(tenant["id"] for tenant in tenants if tenant["slug"] == SLUG)
        api_key = answered(await admin.post(f"/v1/admin/tenants/{tenant_id}/keys", json={"name": "demo"}))["api_key"]
    else:
        api_key = answered(made)["api_key"]
    tenant = {"Authorization": f"Bearer {api_key}"}
    wanted = {"vapi_assistant_id": str(uuid.uuid4()), "name": "Front desk"}
    assistant = answered(await admin.post("/v1/assistants", json=wanted, headers=tenant))
    sender = {"account_sid": f"AC{uuid.uuid4().hex}", "auth_token": uuid.uuid4().hex, "from_number": NUMBER, "tier": TIER}
    answered(await admin.put("/v1/sender", json=sender, headers=tenant))
    return Demo(SLUG, api_key, assistant["webhook_url"], assistant["auth"]["secret"], assistant["vapi_assistant_id"])


def answered(answer: httpx.Response) -> dict[str, Any]:
    """The body of a good answer.

    Raises:
        StartError: it was not good.
    """
    if answer.is_error:
        raise StartError(f"The demo tenant could not be made: {answer.request.url} answered {answer.status_code} {answer.text}.")
    document: dict[str, Any] = answer.json()
    return document

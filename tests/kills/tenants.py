"""New users: each signs up, registers an assistant and a sender, and is then spoken to as Vapi and as its own programs speak."""

import itertools
import json
import uuid
from dataclasses import dataclass
from typing import Any

from tests.kills.burst import Delivery
from tests.kills.client import Http
from tests.kills.installation import Installation

AREAS = (213, 212, 312, 415, 206, 305, 617, 702, 303, 404)
_senders = itertools.count()


@dataclass(frozen=True, slots=True)
class Tenant:
    """What a tenant needs to know of itself, and its account at Twilio."""

    slug: str
    tier: str
    key: str
    account: str
    vapi_id: str
    hook: str
    secret: str
    base_url: str

    def tool_call(self, call_id: str, tool_id: str, to: str, text: str) -> Delivery:
        """Vapi's webhook about one `send_sms`, as on the wire: the call stands in all three lists."""
        call = {"id": tool_id, "type": "function", "function": {"name": "send_sms", "arguments": {"to": to, "body": text}}}
        message = {
            "type": "tool-calls",
            "toolCalls": [call],
            "toolCallList": [call],
            "toolWithToolCallList": [{"type": "function", "function": {"name": "send_sms"}, "toolCall": call}],
            "call": {"id": call_id, "assistantId": self.vapi_id, "type": "inboundPhoneCall"},
            "customer": {"number": to},
        }
        name = f"{self.slug}: tool call {tool_id} of call {call_id} to {to}"
        return Delivery(name, self.hook, self.secret, json.dumps({"message": message}).encode())

    def message(self, to: str, text: str) -> Delivery:
        """The tenant's own program queues a text, under a key so that it may repeat itself."""
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        body = json.dumps({"to": to, "body": text}).encode()
        return Delivery(f"{self.slug}: message to {to}", f"{self.base_url}/v1/messages", self.key, body, headers)


async def sign_up(http: Http, house: Installation, tier: str) -> Tenant:
    """A tenant from nothing, over HTTP only."""
    slug, account, vapi_id = f"kills-{uuid.uuid4().hex[:12]}", f"AC{uuid.uuid4().hex}", str(uuid.uuid4())
    base = house.base_url
    wanted = {"slug": slug, "name": slug, "timezone": "America/Los_Angeles"}
    key = (await http.right("POST", f"{base}/v1/admin/tenants", wanted, key=house.admin_key))["api_key"]
    assistant = await http.right("POST", f"{base}/v1/assistants", {"vapi_assistant_id": vapi_id, "name": "Front desk"}, key=key)
    sender = {"account_sid": account, "auth_token": uuid.uuid4().hex, "from_number": sender_number(tier), "tier": tier}
    await http.right("PUT", f"{base}/v1/sender", sender, key=key)
    return Tenant(slug, tier, key, account, vapi_id, assistant["webhook_url"], assistant["auth"]["secret"], base)


def recipient(number: int) -> str:
    """The n-th of 1,000 fictional numbers."""
    return f"+1{AREAS[number // 100 % 10]}555{100 + number % 100:04d}"


def sender_number(tier: str) -> str:
    """A short code, a toll-free number or a long code, as the tier has it; fictional."""
    number = next(_senders)
    if tier == "short_code":
        return f"{555000 + number}"
    return f"+1{833 if tier.startswith('toll_free') else 702}555{100 + number % 100:04d}"


def delay_answers(account: str, seconds: float) -> dict[str, Any]:
    """A fault for the sandbox: it takes a text at once and answers late, as Twilio does; what a kill then cuts off is in doubt."""
    return {"action": "accept_then_delay", "seconds": seconds, "match": {"account": account}}


def drop_callbacks(account: str) -> dict[str, Any]:
    """A fault for the sandbox: it never calls back, so that only asking it settles what is in doubt."""
    return {"action": "drop_callback", "match": {"account": account}}

"""The people who use the API, and the addresses they use it by."""

import uuid
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx

ADMIN_KEY = "the operator's key of the suite"
PUBLIC = "https://hooks.example.test"
AUTH_TOKEN = "token-of-the-suite"
CALLER = "+12135550123"
numbers = count(100)


@dataclass
class Person:
    """Somebody with a key, talking to the API."""

    http: httpx.AsyncClient
    key: str

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.request(method, path, json=body, headers={"Authorization": f"Bearer {self.key}", **named})

    async def get(self, path: str) -> httpx.Response:
        return await self.ask("GET", path)

    async def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        return await self.ask("POST", path, body, **headers)


@dataclass
class Tenant(Person):
    """A tenant with an assistant and a sender, as its user knows it."""

    id: str
    slug: str
    assistant: dict[str, Any]
    sender: dict[str, Any]

    @property
    def secret(self) -> str:
        secret: str = self.assistant["auth"]["secret"]
        return secret

    async def webhook(self, body: Any, secret: str | None = None, http: httpx.AsyncClient | None = None) -> httpx.Response:
        """Post as Vapi does; with `http` to another process than the tenant's usual one."""
        content = body if isinstance(body, bytes) else httpx.Request("POST", "http://t", json=body).content
        headers = {"Authorization": f"Bearer {self.secret if secret is None else secret}", "Content-Type": "application/json"}
        return await (http or self.http).post(f"/vapi-webhook/{self.slug}", content=content, headers=headers)

    async def tool(self, name: str, arguments: Any, call_id: str = "call-1", tool_call_id: str = "tool-1") -> httpx.Response:
        """One tool call of an assistant."""
        return await self.webhook(tool_message([tool_item(name, arguments, tool_call_id)], call_id))


def tool_item(name: str, arguments: Any, tool_call_id: str = "tool-1") -> dict[str, Any]:
    """A tool call as it stands in a list."""
    return {"id": tool_call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def tool_message(items: list[Any], call_id: str | None = "call-1", **more: Any) -> dict[str, Any]:
    """The body of a tool-calls message."""
    call = {} if call_id is None else {"call": {"id": call_id}}
    return {"message": {"type": "tool-calls", **call, "toolCallList": items, "customer": {"number": CALLER}, **more}}


async def new_tenant(admin: Person, tier: str = "short_code", **more: str) -> Tenant:
    """A tenant made as an operator and its user make one: over HTTP."""
    slug = f"t-{uuid.uuid4().hex[:12]}"
    made = await admin.post("/v1/admin/tenants", {"slug": slug, "name": "A tenant", "timezone": "America/Los_Angeles", **more})
    assert made.status_code == 201, made.text
    person = Person(admin.http, made.json()["api_key"])
    assistant = await person.post("/v1/assistants", {"vapi_assistant_id": str(uuid.uuid4()), "name": "Front desk"})
    assert assistant.status_code == 201, assistant.text
    put = await person.ask("PUT", "/v1/sender", sender_body(tier))
    assert put.status_code == 200, put.text
    return Tenant(admin.http, person.key, made.json()["id"], slug, assistant.json(), put.json())


def sender_body(tier: str = "short_code", **more: Any) -> dict[str, Any]:
    """A sender nobody else has."""
    number = f"{55_000 + next(numbers)}" if tier == "short_code" else f"+1907555{next(numbers):04d}"
    return {"account_sid": f"AC{uuid.uuid4().hex}", "auth_token": AUTH_TOKEN, "from_number": number, "tier": tier, **more}

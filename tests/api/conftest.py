"""The API in this process, over ASGI, with real servers behind it; and the people who use it."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.edge import Edge
from api.wiring import Wiring
from migrations.run import newest
from runtime.crypto import new_master_key
from runtime.settings import Settings
from trunkline.dev.databases import DatabaseUrls

ADMIN_KEY = "the operator's key of the suite"
PUBLIC = "https://hooks.example.test"
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
    account: str

    @property
    def secret(self) -> str:
        secret: str = self.assistant["auth"]["secret"]
        return secret

    async def webhook(self, body: Any, secret: str | None = None, **headers: str) -> httpx.Response:
        """Post as Vapi does."""
        content = body if isinstance(body, bytes) else httpx.Request("POST", "http://t", json=body).content
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"Authorization": f"Bearer {self.secret if secret is None else secret}", "Content-Type": "application/json", **named}
        return await self.http.post(f"/vapi-webhook/{self.slug}", content=content, headers=sent)

    async def tool(self, name: str, arguments: Any, call_id: str = "call-1", tool_call_id: str = "tool-1") -> httpx.Response:
        """One tool call of an assistant."""
        call = {"id": tool_call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
        message = {"type": "tool-calls", "call": {"id": call_id}, "toolCallList": [call], "customer": {"number": "+12135550123"}}
        return await self.webhook({"message": message})


@pytest.fixture(scope="session")
def settings(urls: DatabaseUrls, redis_url: str) -> Settings:
    return Settings(
        database_url=urls.app_url,
        redis_url=redis_url,
        public_base_url=PUBLIC,
        secret_keys=new_master_key("suite1"),
        admin_key=ADMIN_KEY,
        environment="test",
    )


@pytest.fixture(scope="session")
async def edge(settings: Settings) -> AsyncIterator[Edge]:
    app = create_app(settings, newest())
    async with app.lifespan():
        yield Edge(app)


@pytest.fixture(scope="session")
async def http(edge: Edge) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(edge, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
        yield client


@pytest.fixture(scope="session")
def wiring(edge: Edge) -> Wiring:
    found: Wiring = edge.app.state.wiring  # type: ignore[attr-defined]  # the Litestar object inside
    return found


@pytest.fixture(scope="session")
def admin(http: httpx.AsyncClient) -> Person:
    return Person(http, ADMIN_KEY)


async def new_tenant(admin: Person, tier: str = "short_code", **more: str) -> Tenant:
    """A tenant made as an operator and its user make one: over HTTP."""
    slug = f"t-{uuid.uuid4().hex[:12]}"
    made = await admin.post("/v1/admin/tenants", {"slug": slug, "name": "A tenant", "timezone": "America/Los_Angeles", **more})
    assert made.status_code == 201, made.text
    person = Person(admin.http, made.json()["api_key"])
    assistant = await person.post("/v1/assistants", {"vapi_assistant_id": str(uuid.uuid4()), "name": "Front desk"})
    assert assistant.status_code == 201, assistant.text
    account = f"AC{uuid.uuid4().hex}"
    number = f"{55_000 + next(numbers)}" if tier == "short_code" else f"+1907555{next(numbers):04d}"
    sender = {"account_sid": account, "auth_token": "token of the suite", "from_number": number, "tier": tier}
    put = await person.ask("PUT", "/v1/sender", sender)
    assert put.status_code == 200, put.text
    return Tenant(admin.http, person.key, made.json()["id"], slug, assistant.json(), account)


@pytest.fixture
async def tenant(admin: Person) -> Tenant:
    return await new_tenant(admin)


@pytest.fixture
async def other(admin: Person) -> Tenant:
    return await new_tenant(admin)

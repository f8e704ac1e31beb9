"""A tenant as it stands at Vapi: its key, its assistant there, and what both look like from outside."""

import json
import uuid
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import httpx

from sandbox.vapi import VapiSandbox
from sandbox.vapi.faults import PathFault
from sandbox.vapi.refusals import organisation_of
from tests.api.people import ADMIN_KEY, PUBLIC, Person, Tenant, new_tenant, tool_item, tool_message

OPERATORS = "the-operators-own-key-at-vapi"
ELSEWHERE = "https://old.example.com/hook"
ASK = tool_message([tool_item("current_time", {})])
ASSISTANT: dict[str, Any] = {
    "name": "Front desk",
    "firstMessage": "Hello.",
    "model": {
        "provider": "openai",
        "model": "gpt-4o",
        "toolIds": [],
        "tools": [{"type": "endCall"}],
        "messages": [{"role": "system", "content": "Be kind."}],
    },
    "hooks": [{"on": "call.ending", "do": []}],
    "server": {"url": ELSEWHERE, "headers": {"X-Theirs": "their own secret", "authorization": "Basic abc"}, "timeoutSeconds": 10},
    "serverMessages": ["conversation-update", "phone-call-control"],
}


@dataclass
class Side:
    """One tenant with its own organisation at Vapi."""

    tenant: Tenant
    vapi: VapiSandbox
    key: str
    vapi_id: str
    original: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"{PUBLIC}/vapi-webhook/{self.tenant.slug}"

    @property
    def shown(self) -> dict[str, Any]:
        """The assistant as it stands at Vapi."""
        return self.vapi.assistants[organisation_of(self.key), self.vapi_id]

    @property
    def tools(self) -> dict[str, dict[str, Any]]:
        """The organisation's tools by id."""
        return {number: each for (whose, number), each in self.vapi.tools.items() if whose == organisation_of(self.key)}

    @property
    def untouched(self) -> bool:
        """Whether Vapi shows the assistant as it was, but for its times and versions, and no tool of ours."""
        counted = {"updatedAt", "latestVersion"}
        return {k: v for k, v in self.shown.items() if k not in counted} == {
            k: v for k, v in self.original.items() if k not in counted
        } and not self.tools

    def body(self, **more: Any) -> dict[str, Any]:
        return {"vapi_assistant_id": self.vapi_id, "name": "Front desk", "configure_vapi": True, **more}

    async def register(self, **more: Any) -> httpx.Response:
        return await self.tenant.post("/v1/assistants", self.body(**more))

    async def registered(self, **more: Any) -> dict[str, Any]:
        answer = await self.register(**more)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def mine(self) -> list[dict[str, Any]]:
        """Our assistants of this id."""
        items = (await self.tenant.get("/v1/assistants")).json()["items"]
        return [each for each in items if each["vapi_assistant_id"] == self.vapi_id]

    def goes_wrong(self, path: str, method: str, **fault: Any) -> None:
        self.vapi.path_faults.add(PathFault(path=path, method=method, **fault))

    def all_is_well(self) -> None:
        self.vapi.path_faults.all.clear()

    async def delivery(self) -> int:
        """What a webhook is answered that Vapi would send now."""
        server = self.shown["server"]
        path = server["url"].removeprefix(PUBLIC)
        headers = {**server["headers"], "Content-Type": "application/json"}
        return (await self.tenant.http.post(path, content=json.dumps(ASK), headers=headers)).status_code


async def new_side(http: httpx.AsyncClient, vapi: VapiSandbox, **fields: Any) -> Side:
    """A tenant that has put its key, and an assistant in its organisation that points elsewhere."""
    tenant, key = await new_tenant(Person(http, ADMIN_KEY)), f"vapi-key-{uuid.uuid4().hex}"
    assert (await tenant.ask("PUT", "/v1/vapi", {"api_key": key})).status_code == 200
    return await another(tenant, vapi, key, **fields)


async def another(tenant: Tenant, vapi: VapiSandbox, key: str, **fields: Any) -> Side:
    """One more assistant in an organisation."""
    async with httpx.AsyncClient(base_url=vapi.url, headers={"Authorization": f"Bearer {key}"}) as direct:
        made = await direct.post("/assistant", json={**ASSISTANT, **fields})
        assert made.status_code == 201, made.text
    vapi.path_faults.seen.clear()
    return Side(tenant, vapi, key, made.json()["id"], deepcopy(made.json()))

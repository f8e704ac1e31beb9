"""The tools as ready JSON: each can be called as it is described, and no secret stands in it."""

from typing import Any

import pytest

from tenants.http_tools import RESERVED
from tests.api.people import CALLER, PUBLIC, Tenant
from webhooks.tool_descriptions import OURS
from webhooks.tools import TOOLS

SCHEMA = {"type": "object", "properties": {"slot": {"type": "string"}}, "required": ["slot"]}
BOOK = {"url": "https://booking.example.com/book", "description": "Books a table.", "parameters": SCHEMA}
EXAMPLES = {"body": "See you at ten.", "to": CALLER, "phrase": "tomorrow at 3", "day": "tomorrow"}


async def published(tenant: Tenant, query: str = "") -> list[dict[str, Any]]:
    answer = await tenant.get(f"/v1/tools.json{query}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


def test_every_tool_of_ours_is_described_and_reserved() -> None:
    assert set(OURS) == set(TOOLS) == RESERVED


async def test_each_tool_is_one_that_vapi_takes_and_that_our_webhook_answers(tenant: Tenant) -> None:
    await tenant.ask("PUT", "/v1/opening-hours", {"week": {"monday": [{"opens": "09:00", "closes": "17:30"}]}})
    await tenant.tool("send_sms", {"body": "Hi", "send_at": "2099-01-01T00:00:00Z"}, "call-1", "before")
    tools = await published(tenant)
    assert [each["function"]["name"] for each in tools] == list(OURS)
    for each in tools:
        assert (each["type"], each["server"]) == ("function", {"url": f"{PUBLIC}/vapi-webhook/{tenant.slug}"})
        function = each["function"]
        assert 0 < len(function["name"]) <= 64
        assert 0 < len(function["description"]) <= 1_000
        schema = function["parameters"]
        assert schema["type"] == "object"
        assert set(schema.get("required", [])) <= set(schema["properties"])
        given = {name: EXAMPLES[name] for name in schema["properties"] if name in EXAMPLES}
        (result,) = (await tenant.tool(function["name"], given, "call-1", f"id-{function['name']}")).json()["results"]
        assert "result" in result or function["name"] == "cancel_sms", result


async def test_own_tools_are_there_where_they_are_described_and_no_others(tenant: Tenant, other: Tenant) -> None:
    secret = (await tenant.ask("PUT", "/v1/tools/book", BOOK)).json()["secret"]
    await tenant.ask("PUT", "/v1/tools/undescribed", {"url": BOOK["url"]})
    await tenant.ask("PUT", "/v1/tools/plain", {"url": BOOK["url"], "description": "Says the specials."})
    tools = {each["function"]["name"]: each["function"] for each in await published(tenant)}
    assert set(tools) == {*OURS, "book", "plain"}
    assert tools["book"] == {"name": "book", "description": "Books a table.", "parameters": SCHEMA}
    assert tools["plain"]["parameters"] == {"type": "object", "properties": {}}
    text = (await tenant.get("/v1/tools.json")).text
    assert secret not in text
    assert "booking.example.com" not in text, "the model calls us, and we call the tool"
    assert len(await published(other)) == len(OURS)


async def test_a_credential_at_vapi_can_be_named(tenant: Tenant) -> None:
    tools = await published(tenant, "?credential_id=1f2e-cred")
    assert {each["server"]["credentialId"] for each in tools} == {"1f2e-cred"}
    assert (await tenant.get("/v1/tools.json?credential_id=a%20b")).status_code == 400


async def test_texts_can_be_kept_to_the_caller(tenant: Tenant) -> None:
    send = (await published(tenant, "?caller_only=true"))[0]
    assert send["parameters"] == [{"key": "to", "value": "{{customer.number}}"}]
    assert "to" not in send["function"]["parameters"]["properties"]
    assert "parameters" not in (await published(tenant))[0]


@pytest.mark.parametrize(
    "schema",
    [{}, {"type": "string"}, {"type": "object", "properties": []}, {"type": "object", "title": "x" * 17_000}],
    ids=lambda each: str(each)[:40],
)
async def test_a_schema_that_describes_no_arguments_is_refused(tenant: Tenant, schema: Any) -> None:
    answer = await tenant.ask("PUT", "/v1/tools/book", {**BOOK, "parameters": schema})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "/parameters"
    assert (await tenant.get("/v1/tools/book")).status_code == 404


async def test_a_tool_keeps_its_schema_and_loses_it_when_it_is_left_out(tenant: Tenant) -> None:
    await tenant.ask("PUT", "/v1/tools/book", BOOK)
    assert (await tenant.get("/v1/tools/book")).json()["parameters"] == SCHEMA
    await tenant.ask("PUT", "/v1/tools/book", {"url": BOOK["url"]})
    assert (await tenant.get("/v1/tools/book")).json()["parameters"] is None

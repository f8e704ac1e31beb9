"""The document of the API: every address of the contract, with its parameters, examples, keys and problems."""

from typing import Any

import httpx
import pytest

CONTRACT = {
    "/vapi-webhook/{tenant_slug}": {"post"},
    "/twilio/{tenant_slug}/status/{message_id}": {"post"},
    "/twilio/{tenant_slug}/inbound": {"post"},
    "/v1/assistants": {"get", "post"},
    "/v1/assistants/{assistant_id}": {"get", "patch", "delete"},
    "/v1/assistants/{assistant_id}/rotate-secret": {"post"},
    "/v1/vapi": {"get", "put", "delete"},
    "/v1/sender": {"put"},
    "/v1/senders": {"get", "post"},
    "/v1/messages": {"get", "post"},
    "/v1/messages/{message_id}": {"get"},
    "/v1/messages/{message_id}/cancel": {"post"},
    "/v1/messages/{message_id}/resend": {"post"},
    "/v1/dead-letters": {"get"},
    "/v1/tools": {"get"},
    "/v1/tools.json": {"get"},
    "/v1/opening-hours": {"get", "put"},
    "/v1/tools/{name}": {"get", "put", "delete"},
    "/v1/tools/{name}/rotate-secret": {"post"},
    "/v1/inbound-routes": {"get"},
    "/v1/inbound-routes/{phone_number}": {"get", "put", "delete"},
    "/v1/transfer-directory": {"get"},
    "/v1/transfer-directory/{name}": {"get", "put", "delete"},
    "/v1/answerers": {"get"},
    "/v1/answerers/{type}": {"get", "put", "delete"},
    "/v1/answerers/{type}/rotate-secret": {"post"},
    "/v1/webhooks": {"get"},
    "/v1/webhooks/{webhook_id}": {"get"},
    "/v1/calls": {"get"},
    "/v1/calls/{call_id}": {"get"},
    "/v1/limits": {"get"},
    "/v1/usage": {"get"},
    "/v1/invoices/current": {"get"},
    "/v1/admin/tenants": {"get", "post"},
    "/v1/admin/tenants/{tenant_id}": {"get", "patch"},
    "/v1/admin/tenants/{tenant_id}/suspend": {"post"},
    "/v1/admin/tenants/{tenant_id}/resume": {"post"},
    "/v1/admin/tenants/{tenant_id}/keys": {"get", "post"},
    "/v1/admin/tenants/{tenant_id}/keys/{key_id}": {"delete"},
    "/v1/admin/plans": {"get", "post"},
    "/v1/admin/switches": {"get", "put"},
    "/v1/admin/audit": {"get"},
    "/health/live": {"get"},
    "/health/ready": {"get"},
    "/metrics": {"get"},
}
QUERIES = {
    "/v1/messages": {"status", "to", "call_id", "limit", "cursor"},
    "/v1/dead-letters": {"error_class", "limit", "cursor"},
    "/v1/webhooks": {"type", "call_id", "state", "limit", "cursor"},
    "/v1/calls": {"state", "assistant_id", "from", "to", "limit", "cursor"},
    "/v1/assistants": {"limit", "cursor"},
    "/v1/tools": {"limit", "cursor"},
    "/v1/inbound-routes": {"limit", "cursor"},
    "/v1/transfer-directory": {"limit", "cursor"},
    "/v1/answerers": {"limit", "cursor"},
    "/v1/tools.json": {"caller_only", "credential_id"},
    "/v1/usage": {"from", "to", "group_by"},
    "/v1/limits": {"sender_id"},
    "/v1/admin/tenants": {"status", "limit", "cursor"},
    "/v1/admin/audit": {"tenant_id", "limit", "cursor"},
}


@pytest.fixture(scope="module")
async def document(http: httpx.AsyncClient) -> dict[str, Any]:
    answer = await http.get("/schema/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every operation by its method and address."""
    return {f"{method} {path}": operation for path, item in document["paths"].items() for method, operation in item.items()}


def test_every_address_of_the_contract_is_there(document: dict[str, Any]) -> None:
    listed = {path: set(item) for path, item in document["paths"].items()}
    assert {path: methods for path, methods in CONTRACT.items() if not methods <= listed.get(path, set())} == {}
    assert document["openapi"].startswith("3.1")


def test_queries_have_the_names_of_the_contract(document: dict[str, Any]) -> None:
    for path, names in QUERIES.items():
        parameters = document["paths"][path]["get"]["parameters"]
        assert {each["name"] for each in parameters if each["in"] == "query"} == names, path
    keyed = document["paths"]["/v1/messages"]["post"]["parameters"]
    assert [(each["name"], each["in"], each["required"]) for each in keyed] == [("Idempotency-Key", "header", False)]


def test_every_parameter_of_an_address_is_described(document: dict[str, Any]) -> None:
    for name, operation in operations(document).items():
        path = name.split(" ", 1)[1]
        listed = {each["name"] for each in operation.get("parameters", []) if each["in"] == "path"}
        assert listed == {part[1:-1] for part in path.split("/") if part.startswith("{")}, name


def test_every_operation_says_what_it_is_and_who_may(document: dict[str, Any]) -> None:
    schemes = {"/v1/admin": "adminKey", "/v1": "tenantKey", "/vapi-webhook": "webhookSecret"}
    assert set(document["components"]["securitySchemes"]) == set(schemes.values())
    ids = [operation["operationId"] for operation in operations(document).values()]
    assert len(ids) == len(set(ids))
    for name, operation in operations(document).items():
        path = name.split(" ", 1)[1]
        assert operation["summary"], name
        assert operation["tags"], name
        scheme = next((scheme for start, scheme in schemes.items() if path.startswith(start)), None)
        assert [set(each) for each in operation.get("security", [])] == ([{scheme}] if scheme else []), name


def test_a_post_that_creates_is_201_any_other_200_and_queued_work_202(document: dict[str, Any]) -> None:
    created = {
        "/v1/assistants",
        "/v1/senders",
        "/v1/opt-outs",
        "/v1/admin/tenants",
        "/v1/admin/tenants/{tenant_id}/keys",
        "/v1/admin/plans",
        "/v1/admin/tiers",
    }
    queued = {"/v1/messages", "/v1/messages/{message_id}/resend"}
    for name, operation in operations(document).items():
        method, path = name.split(" ", 1)
        good = {status for status in operation["responses"] if status.startswith("2")}
        expected = {"delete": "204"}.get(method, "200")
        if method == "post":
            expected = "201" if path in created else "202" if path in queued else "204" if path.startswith("/twilio") else "200"
        assert good == {expected}, name


def test_bodies_have_examples(document: dict[str, Any]) -> None:
    """Wherever somebody has to write something: in the schema of the body, or beside it."""
    without = []
    for name, operation in operations(document).items():
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        reference = content.get("schema", {}).get("$ref", "").rsplit("/", 1)[-1]
        fields = document["components"]["schemas"].get(reference, {}).get("properties", {})
        if content and not content.get("example") and fields and not any("examples" in field for field in fields.values()):
            without.append((name, reference))
    assert [each for each in without if each[1] not in ("Reason", "Nothing", "NewKey")] == []


def test_every_operation_tells_its_problems(document: dict[str, Any]) -> None:
    for name, operation in operations(document).items():
        path = name.split(" ", 1)[1]
        if not path.startswith(("/v1", "/vapi-webhook", "/twilio")):
            continue
        problems = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
        expected = {"403"} if path.startswith("/twilio") else {"401", "403", "503"}
        if path.startswith("/v1"):
            expected |= {"400"} if "requestBody" in operation or operation.get("parameters") else set()
            expected |= {"404"} if "{" in path else set()
            expected |= {"413", "415"} if "requestBody" in operation else set()
        assert expected <= set(problems), (name, sorted(problems))
        for status, answer in problems.items():
            assert set(answer["content"]) == {"application/problem+json"}, (name, status)
            assert answer["content"]["application/problem+json"]["schema"]["$ref"] == "#/components/schemas/Problem", (name, status)
            assert answer["description"], (name, status)


async def test_a_problem_is_as_its_schema_says(document: dict[str, Any], http: httpx.AsyncClient) -> None:
    schema = document["components"]["schemas"]["Problem"]
    problem = (await http.get("/v1/messages")).json()
    assert set(schema["required"]) == set(problem)
    assert set(schema["properties"]) - set(problem) == {"errors"}


async def test_the_page_answers(http: httpx.AsyncClient) -> None:
    page = await http.get("/schema")
    assert (page.status_code, page.headers["content-type"].split(";")[0]) == (200, "text/html")


async def test_health_and_metrics_answer_without_a_key(http: httpx.AsyncClient) -> None:
    assert (await http.get("/health/live")).json() == {"status": "ok"}
    assert (await http.get("/health/ready")).json()["status"] == "ok"
    metrics = await http.get("/metrics")
    assert metrics.status_code == 200
    assert "# TYPE trunkline_effects_total counter" in metrics.text

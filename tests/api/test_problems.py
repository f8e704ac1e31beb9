"""Errors of the API: problem documents (RFC 9457) with the id of the request, whatever went wrong."""

from typing import Any

import httpx
import pytest

from tests.api.effects import Effects
from tests.api.people import Person, Tenant

HI = {"to": "+12135550123", "body": "Hi"}


def assert_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert set(problem) - {"errors"} == {"type", "title", "status", "detail", "request_id"}
    assert (problem["status"], problem["request_id"]) == (status, answer.headers["x-request-id"])
    assert problem["title"]
    assert problem["detail"] != problem["title"]
    assert ("errors" in problem) == (status == 400)
    return problem


async def test_every_request_has_an_id_of_its_own(tenant: Tenant) -> None:
    answers = [await tenant.ask("GET", "/v1/senders", X_Request_Id="theirs") for _ in range(2)]
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids - {"theirs"}) == 2


async def test_nothing_there_is_404(tenant: Tenant) -> None:
    for path in ("/v1/nowhere", "/", "/v1/messages/x", "/vapi-webhook", "/vapi-webhook/", "/vapi-webhook/a/b", "/twilio/a/b"):
        assert_problem(await tenant.get(path), 404)


@pytest.mark.parametrize(("method", "path"), [("DELETE", "/v1/messages"), ("PUT", "/v1/assistants"), ("POST", "/health/live")])
async def test_another_method_is_405(method: str, path: str, tenant: Tenant) -> None:
    answer = await tenant.ask(method, path)
    assert_problem(answer, 405)
    assert "GET" in answer.headers["allow"]


async def test_a_large_body_is_413_also_when_its_length_is_not_told(tenant: Tenant, effects: Effects) -> None:
    large = b'{"to":"+12135550123","body":"' + b"x" * 70_000 + b'"}'

    async def chunks() -> Any:
        for start in range(0, len(large), 10_000):
            yield large[start : start + 10_000]

    headers = {"Authorization": f"Bearer {tenant.key}", "Content-Type": "application/json"}
    for content in (large, chunks()):
        assert_problem(await tenant.http.post("/v1/messages", content=content, headers=headers), 413)
    webhook = {"Authorization": f"Bearer {tenant.secret}"}

    async def many() -> Any:
        for _ in range(60):
            yield b"x" * 100_000

    assert_problem(await tenant.http.post(f"/vapi-webhook/{tenant.slug}", content=many(), headers=webhook), 413)
    assert await effects.counts(tenant) == {}


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "multipart/form-data; boundary=x"]
)
async def test_a_body_that_is_not_json_by_its_own_word_is_415(media_type: str, tenant: Tenant, effects: Effects) -> None:
    async def chunks() -> Any:
        yield b'{"to":"+12135550123","body":"Hi"}'

    headers = {"Authorization": f"Bearer {tenant.key}", "Content-Type": media_type}
    for content in (b'{"to":"+12135550123","body":"Hi"}', chunks()):
        assert_problem(await tenant.http.post("/v1/messages", content=content, headers=headers), 415)
    assert await effects.counts(tenant) == {}


@pytest.mark.parametrize("media_type", ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON"])
async def test_json_may_name_its_characters(media_type: str, tenant: Tenant) -> None:
    headers = {"Authorization": f"Bearer {tenant.key}", "Content-Type": media_type}
    assert (await tenant.http.post("/v1/messages", content=b'{"to":"+12135550123","body":"Hi"}', headers=headers)).status_code == 202


RAW = {
    "empty": b"",
    "not JSON": b"{",
    "array": b"[]",
    "null": b"null",
    "text": b'"x"',
    "invalid UTF-8": b'{"to":"+12135550123","body":"\xff"}',
    "lone surrogate": rb'{"to":"+12135550123","body":"\ud800"}',
    "nested too deeply": b'{"to":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "1e999": b'{"to":"+12135550123","body":1e999}',
    "NUL": rb'{"to":"+12135550123","body":"\u0000"}',
    "unknown field": b'{"to":"+12135550123","body":"Hi","colour":1}',
}


@pytest.mark.parametrize("raw", RAW.values(), ids=RAW)
@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/messages"), ("POST", "/v1/assistants"), ("PUT", "/v1/sender")])
async def test_a_bad_body_says_what_is_wrong_and_not_what_it_held(method: str, path: str, raw: bytes, tenant: Tenant) -> None:
    headers = {"Authorization": f"Bearer {tenant.key}", "Content-Type": "application/json"}
    problem = assert_problem(await tenant.http.request(method, path, content=raw, headers=headers), 400)
    for error in problem["errors"]:
        assert error["pointer"] == "" or error["pointer"].startswith("/")
        assert error["detail"]
    assert "2135550123" not in str(problem)


@pytest.mark.parametrize("raw", RAW.values(), ids=RAW)
@pytest.mark.parametrize(("method", "path"), [("POST", ""), ("PATCH", "/{id}"), ("POST", "/{id}/suspend"), ("POST", "/{id}/keys")])
async def test_the_operators_bodies_too(method: str, path: str, raw: bytes, admin: Person, tenant: Tenant) -> None:
    headers = {"Authorization": f"Bearer {admin.key}", "Content-Type": "application/json"}
    where = "/v1/admin/tenants" + path.format(id=tenant.id)
    assert_problem(await admin.http.request(method, where, content=raw, headers=headers), 400)


async def test_a_fault_of_ours_is_a_500_that_says_nothing_of_itself(tenant: Tenant, effects: Effects) -> None:
    """A sender's secret was sealed with a key that is gone: no request can cause it, and none can mend it."""
    await effects.owner.execute("UPDATE senders SET auth_token_sealed = 'gone:AAAA' WHERE tenant_id = $1", tenant.id)
    form = {"From": "+12135550123", "To": tenant.sender["from_number"], "AccountSid": tenant.sender["account_sid"], "Body": "Hi"}
    answer = await tenant.http.post(f"/twilio/{tenant.slug}/inbound", data=form)
    problem = assert_problem(answer, 500)
    assert problem["detail"] == "A fault on our side. Quote the request id."
    assert "seal" not in answer.text

"""The table of bad input: what each gets, that nothing of it is stored, and that none gets a 500."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.api.effects import Effects
from tests.api.people import CALLER, Person, Tenant, new_tenant, tool_item, tool_message

HANG = b'{"message":{"type":"hang","call":{"id":"c"},"x":%b}}'
REPORT = b'{"message":{"type":"end-of-call-report","call":{"id":"c"},%b}}'
DEEP = b"[" * 100_000 + b"]" * 100_000
NOT_JSON, DEEPLY = "The body is not JSON.", "The body is nested too deeply."

BODIES: dict[str, tuple[bytes, int, str]] = {
    "empty body": (b"", 400, NOT_JSON),
    "not JSON": (b"{", 400, NOT_JSON),
    "array": (b"[]", 400, "Expected `object`, got `array`"),
    "no message": (b"{}", 400, "missing required field `message`"),
    "null message": (b'{"message":null}', 400, "Expected `object`, got `null`"),
    "no type": (b'{"message":{}}', 400, '"message.type" is missing'),
    "type of number": (b'{"message":{"type":5}}', 400, '"message.type" is missing'),
    "call id of 257 characters": (b'{"message":{"type":"hang","call":{"id":"%b"}}}' % (b"c" * 257), 400, '"message.call.id" is not an id'),
    "tool calls of text": (b'{"message":{"toolCallList":"x"}}', 400, "toolCallList"),
    "6 MB": (HANG % (b'"' + b"a" * 6_000_000 + b'"'), 413, "5,000,000"),
    "NUL in the type": (b'{"message":{"type":"a\\u0000"}}', 400, '"message.type" is not an id'),
    "NUL in a call id": (b'{"message":{"type":"hang","call":{"id":"\\u0000"}}}', 400, '"message.call.id" is not an id'),
    "invalid UTF-8 in the type": (b'{"message":{"type":"\xff"}}', 400, '"message.type" is missing'),
    "invalid UTF-8 in a field's name": (b'{"message":{"type":"hang","\xff":1}}', 400, NOT_JSON),
    "100,000 deep in an ignored field": (HANG % DEEP, 400, DEEPLY),
    "100,000 deep in the arguments": (b'{"message":{"toolCallList":[{"id":"a","function":{"arguments":%b}}]}}' % DEEP, 400, DEEPLY),
    "100,000 deep in the envelope": (b'{"message":' + DEEP + b"}", 400, "Expected `object`"),
    "voice-request": (b'{"message":{"type":"voice-request"}}', 422, "no speech"),
}
TOLERATED: dict[str, bytes] = {
    "call of text": b'{"message":{"type":"hang","call":"c"}}',
    "call id of number": b'{"message":{"type":"hang","call":{"id":5}}}',
    "half a surrogate pair": HANG % rb'"\ud800"',
    "byte order mark": b"\xef\xbb\xbf" + HANG % b"1",
    "NUL in an ignored field": HANG % rb'"\u0000"',
    "NUL in the reason": REPORT % rb'"endedReason":"\u0000"',
    "invalid UTF-8 in an ignored field": HANG % b'"\xff"',
    "invalid UTF-8 in a report's messages": REPORT % b'"artifact":{"messages":[{"message":"\xff"}]}',
    "1e999 in an ignored field": HANG % b"1e999",
    "1e999 for a cost": REPORT % b'"cost":1e999',
    "1e-999999 for a cost": REPORT % b'"cost":1e-999999',
    "a cost of 50,000 digits": REPORT % (b'"cost":0.' + b"7" * 50_000),
    "1e999 for a time": REPORT % b'"startedAt":1e999,"endedAt":1e999',
    "the year 1 for a time": REPORT % b'"startedAt":"0001-01-01T00:00:00+14:00","endedAt":"0001-01-01T00:00:00+14:00"',
    "a number of 5,000 digits": REPORT % (b'"durationMs":' + b"9" * 5000),
    "repeated keys, the last one counts": b'{"message":{},"message":{"type":"tool-calls","type":"hang","call":{"id":"x","id":"c"}}}',
    "a status of list": b'{"message":{"type":"status-update","call":{"id":"c"},"status":[]}}',
    "a type nobody knows": b'{"message":{"type":"call.teleported","call":{"id":"c"}}}',
    "900 deep in an ignored field": HANG % (b"[" * 900 + b"]" * 900),
}
TOOLS: dict[str, tuple[Any, str]] = {
    "unknown tool": (tool_item("fly", {}), "no tool named fly"),
    "no name": ({"id": "a", "function": {"arguments": {}}}, "names no tool"),
    "missing arguments": ({"id": "a", "function": {"name": "send_sms"}}, "body is missing"),
    "arguments of list": (tool_item("send_sms", [1]), "JSON object"),
    "arguments that are not JSON": (tool_item("send_sms", "{"), "JSON object"),
    "1e999 in arguments of text": (tool_item("send_sms", '{"body":1e999}'), "JSON object"),
    "bad phone number": (tool_item("send_sms", {"to": "12", "body": "Hi"}), "phone number"),
    "phone number with a NUL": (tool_item("send_sms", {"to": "+1213555\x00", "body": "Hi"}), "phone number"),
    "text of 5,000 characters": (tool_item("send_sms", {"to": CALLER, "body": "x" * 5000}), "at most 1,600"),
    "empty text": (tool_item("send_sms", {"to": CALLER, "body": ""}), "empty"),
    "text with a NUL": (tool_item("send_sms", {"to": CALLER, "body": "a\x00b"}), "cannot be sent"),
    "text of number": (tool_item("send_sms", {"to": CALLER, "body": 5}), "should be text"),
    "name with a NUL": (tool_item("f\x00", {"a": "\x00"}), "no tool named"),
    "id with a NUL": (tool_item("fly", {}, "a\x00"), "no tool named"),
    "line breaks in the name": (tool_item("f\nly\u2028", {}), "no tool named f ly"),
}


def assert_problem(answer: httpx.Response, status: int, reason: str) -> None:
    assert answer.status_code == status, answer.text[:300]
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert reason in problem["detail"], problem
    assert problem["detail"].splitlines() == [problem["detail"]]
    assert (problem["status"], problem["request_id"]) == (status, answer.headers["x-request-id"])
    assert (status == 400) == ("errors" in problem)


@pytest.fixture(scope="module")
async def shared(admin: Person) -> Tenant:
    """One tenant for the whole table: nothing of it is stored."""
    return await new_tenant(admin)


@pytest.mark.parametrize(("body", "status", "reason"), BODIES.values(), ids=[f"{name} -> {row[1]}" for name, row in BODIES.items()])
async def test_a_bad_body_is_refused_and_nothing_of_it_stored(
    body: bytes, status: int, reason: str, shared: Tenant, effects: Effects
) -> None:
    assert_problem(await shared.webhook(body), status, reason)
    assert await effects.counts(shared) == {}


@pytest.mark.parametrize("body", [row[0] for row in BODIES.values()] + list(TOLERATED.values()), ids=[*BODIES, *TOLERATED])
async def test_with_a_wrong_key_every_body_gets_the_same_401(body: bytes, shared: Tenant, effects: Effects) -> None:
    assert_problem(await shared.webhook(body, secret="wrong"), 401, "A valid credential is needed.")
    assert await effects.counts(shared) == {}


@pytest.mark.parametrize("body", TOLERATED.values(), ids=TOLERATED)
async def test_what_concerns_no_field_of_ours_is_taken(body: bytes, tenant: Tenant, effects: Effects) -> None:
    answer = await tenant.webhook(body)
    assert (answer.status_code, answer.json()) == (200, {}), answer.text
    assert await effects.count(tenant, "processed_webhooks") == 1
    again = await tenant.webhook(body)
    assert again.headers.get("idempotent-replayed") == "true"


@pytest.mark.parametrize(("item", "says"), TOOLS.values(), ids=TOOLS)
async def test_a_bad_tool_call_is_answered_with_an_error_in_one_line(item: Any, says: str, tenant: Tenant, effects: Effects) -> None:
    answer = await tenant.webhook(tool_message([item]))
    assert answer.status_code == 200, answer.text
    (entry,) = answer.json()["results"]
    assert set(entry) == {"toolCallId", "name", "error"}
    assert entry["toolCallId"] == item.get("id", "")
    assert says in entry["error"]
    assert entry["error"].splitlines() == [entry["error"]]
    assert await effects.counts(tenant) == {"processed_webhooks": 1}  # nothing sent, nothing billed
    again = await tenant.webhook(tool_message([item]))
    assert (again.json(), again.headers.get("idempotent-replayed")) == (answer.json(), "true")
    assert (await tenant.webhook(tool_message([item]), secret="wrong")).status_code == 401


NESTED = {
    "information": lambda depth: HANG % (b"[" * depth + b"]" * depth),
    "report": lambda depth: REPORT % (b'"artifact":' + b"[" * depth + b"]" * depth),
    "arguments": lambda depth: (
        b'{"message":{"call":{"id":"c"},"toolCallList":[{"id":"a%d","function":{"name":"fly","arguments":%b}}]}}'
        % (depth, b'{"a":' * depth + b"1" + b"}" * depth)
    ),
}


@pytest.mark.parametrize("body", NESTED.values(), ids=NESTED)
async def test_no_depth_falls_between_two_readings(body: Callable[[int], bytes], tenant: Tenant) -> None:
    """A body is read more than once and written: what the first reading takes the others have to take too, or refuse."""
    taken, refused = 1, 2_000
    while refused - taken > 1:
        middle = (taken + refused) // 2
        answer = await tenant.webhook(body(middle))
        taken, refused = (middle, refused) if answer.status_code == 200 else (taken, middle)
    assert 500 < taken < 1_100
    around = [(await tenant.webhook(body(depth))).status_code for depth in range(taken - 12, taken + 12)]
    assert sorted(around) == around
    assert set(around) == {200, 400}


SAYING_NOBODY: dict[str, dict[str, str]] = {
    "no header": {},
    "empty bearer": {"Authorization": "Bearer "},
    "bare bearer": {"Authorization": "Bearer"},
    "empty authorization": {"Authorization": ""},
    "empty secret header": {"X-Vapi-Secret": ""},
    "blank secret header": {"X-Vapi-Secret": "   "},
    "both empty": {"Authorization": "Bearer ", "X-Vapi-Secret": ""},
    "wrong bearer": {"Authorization": "Bearer wrong"},
    "wrong secret header": {"X-Vapi-Secret": "wrong"},
    "another scheme": {"Authorization": "Basic d3Jvbmc6d3Jvbmc="},
    "no ASCII": {"Authorization": "Bearer \u00e9\u00e9"},
    "very long": {"X-Vapi-Secret": "x" * 10_000},
}


@pytest.mark.parametrize("known", [True, False], ids=["known tenant", "unknown tenant"])
@pytest.mark.parametrize("headers", SAYING_NOBODY.values(), ids=SAYING_NOBODY)
async def test_whoever_shows_no_secret_gets_the_same_401(headers: dict[str, str], known: bool, shared: Tenant, effects: Effects) -> None:
    slug = shared.slug if known else "nobody"
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    answer = await shared.http.post(f"/vapi-webhook/{slug}", content=json.dumps(tool_message([])), headers=raw)
    assert_problem(answer, 401, "A valid credential is needed.")
    assert await effects.counts(shared) == {}


@pytest.mark.parametrize("slug", ["nobody", "No%00body", "%ff", "x" * 300, "a-b-", "..%2f.."])
async def test_an_unknown_tenant_looks_like_a_wrong_secret(slug: str, shared: Tenant) -> None:
    answer = await shared.http.post(f"/vapi-webhook/{slug}", content=b"{}", headers={"Authorization": f"Bearer {shared.secret}"})
    known = await shared.webhook(b"{}", secret="wrong")
    assert answer.status_code in (401, 404)
    if answer.status_code == 401:
        assert {**answer.json(), "request_id": ""} == {**known.json(), "request_id": ""}


async def test_a_suspended_tenants_tools_say_so_and_nothing_is_stored(admin: Person, tenant: Tenant, effects: Effects) -> None:
    suspended = await admin.post(f"/v1/admin/tenants/{tenant.id}/suspend", {"reason": "unpaid"})
    assert suspended.status_code == 200
    answer = await tenant.tool("send_sms", {"body": "Hi"})
    assert answer.status_code == 200
    assert "paused" in answer.json()["results"][0]["error"]
    assert await effects.counts(tenant) == {}
    assert (await tenant.webhook(tool_message([]), secret="wrong")).status_code == 401
    assert (await tenant.webhook(b"{")).status_code == 400


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_only_posts_are_taken(method: str, shared: Tenant) -> None:
    answer = await shared.http.request(method, f"/vapi-webhook/{shared.slug}", headers={"Authorization": f"Bearer {shared.secret}"})
    assert_problem(answer, 405, "")
    assert "POST" in answer.headers["allow"]


async def test_another_tenants_assistant_is_refused_and_an_unknown_one_is_not(tenant: Tenant, other: Tenant, effects: Effects) -> None:
    def calling(assistant: str) -> dict[str, Any]:
        return tool_message([tool_item("current_time", {})], call={"id": "c", "assistantId": assistant})

    refused = await tenant.webhook(calling(other.assistant["vapi_assistant_id"]))
    assert_problem(refused, 403, "This assistant is not registered here.")
    assert await effects.counts(tenant) == {}
    assert (await tenant.webhook(calling(tenant.assistant["vapi_assistant_id"]))).status_code == 200
    assert (await tenant.webhook(calling("nobody's"))).status_code == 200


async def test_an_assistant_that_two_tenants_registered_serves_both(tenant: Tenant, other: Tenant) -> None:
    twice = await other.post("/v1/assistants", {"vapi_assistant_id": tenant.assistant["vapi_assistant_id"], "name": "The same"})
    assert twice.status_code == 201
    for each in (tenant, other):
        call = {"id": "c", "assistantId": tenant.assistant["vapi_assistant_id"]}
        assert (await each.webhook(tool_message([tool_item("current_time", {})], call=call))).status_code == 200

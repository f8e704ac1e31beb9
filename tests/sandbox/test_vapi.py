import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from sandbox import serving
from sandbox.vapi import VapiSandbox
from sandbox.vapi.bodies import end_of_call_report, freshened, real_size_tool_call, status_update
from tests.sandbox.parties import Answer, Application, Http

ARGUMENTS = {"to": "+12135550123", "body": "Grüße 👋"}


@pytest.fixture
def api(vapi: VapiSandbox, session: aiohttp.ClientSession) -> Http:
    return Http(session, vapi.url)


async def as_key(api: Http, key: str, method: str, path: str, **options: Any) -> Answer:
    return await api.ask(method, path, headers={"Authorization": f"Bearer {key}"}, **options)


async def deliver(api: Http, url: str, **more: Any) -> list[dict[str, Any]]:
    answer = await api.ask("POST", "/control/deliver", json={"url": url, **more})
    assert answer.status == 200, answer
    return list(answer.json["attempts"])


def big_body() -> dict[str, Any]:
    return real_size_tool_call("call-1", "assistant-1", "call_abc", "send_sms", ARGUMENTS, "+12135550111")


# -- the API -----------------------------------------------------------------------------------------------------------


async def test_an_assistant_is_created_read_and_replaced_field_by_field(api: Http) -> None:
    made = await as_key(
        api, "one", "POST", "/assistant", json={"name": "Desk", "server": {"url": "https://a.example", "timeoutSeconds": 5}}
    )
    assert made.status == 201
    assert {"id", "orgId", "createdAt", "updatedAt"} < set(made.json)
    path = f"/assistant/{made.json['id']}"
    patched = await as_key(api, "one", "PATCH", path, json={"server": {"url": "https://b.example"}, "serverMessages": ["tool-calls"]})
    assert patched.status == 200
    read = (await as_key(api, "one", "GET", path)).json
    assert read == patched.json
    assert read["server"] == {"url": "https://b.example"}  # replaced whole
    assert (read["name"], read["serverMessages"]) == ("Desk", ["tool-calls"])
    assert read["createdAt"] == made.json["createdAt"]


async def test_an_assistant_belongs_to_its_key(api: Http) -> None:
    made = await as_key(api, "one", "POST", "/assistant", json={"name": "Desk"})
    path = f"/assistant/{made.json['id']}"
    assert (await as_key(api, "two", "GET", path)).status == 404
    assert (await as_key(api, "two", "PATCH", path, json={"name": "Mine"})).status == 404
    assert (await as_key(api, "one", "GET", path)).json["name"] == "Desk"


async def test_a_request_without_a_key_is_refused(api: Http) -> None:
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Basic x"}):
        answer = await api.ask("GET", "/assistant/x", headers=headers)
        assert (answer.status, answer.json["error"]) == (401, "Unauthorized")
    assert (await api.ask("GET", "/call/x")).status == 401


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"name": "' + b"x" * 41 + b'"}', b'{"id": "x"}', b'{"orgId": "x"}'])
async def test_what_an_assistant_cannot_be(api: Http, body: bytes) -> None:
    answer = await as_key(api, "one", "POST", "/assistant", data=body)
    assert (answer.status, answer.json["statusCode"]) == (400, 400)


async def test_a_call_is_what_the_control_url_says(api: Http) -> None:
    assert (await as_key(api, "one", "GET", "/call/c1")).status == 404
    assert (await api.ask("PUT", "/control/calls/c1", json={"status": "ended", "cost": 0.0691})).status == 200
    assert (await as_key(api, "one", "GET", "/call/c1")).json == {"id": "c1", "status": "ended", "cost": 0.0691}


async def test_a_call_may_be_one_keys_own(api: Http) -> None:
    await api.ask("PUT", "/control/calls/c1?key=one", json={"cost": 1})
    assert (await as_key(api, "one", "GET", "/call/c1")).json == {"id": "c1", "cost": 1}
    assert (await as_key(api, "two", "GET", "/call/c1")).status == 404


async def test_asking_for_a_call_goes_wrong_as_told(api: Http) -> None:
    await api.ask("PUT", "/control/calls/c1", json={})
    fault = {"call_id": "c1", "status": 429, "headers": {"Retry-After": "7"}, "body": "{}"}
    assert (await api.ask("PUT", "/control/faults", json=fault)).status == 200
    answer = await as_key(api, "one", "GET", "/call/c1")
    assert (answer.status, answer.headers["retry-after"]) == (429, "7")
    assert (await as_key(api, "one", "GET", "/call/c2")).status == 404
    await api.ask("PUT", "/control/faults", json={"status": 500})
    assert [(await as_key(api, "one", "GET", f"/call/{name}")).status for name in ("c1", "c2")] == [429, 500]
    assert (await api.ask("DELETE", "/control/faults")).status == 204
    assert (await as_key(api, "one", "GET", "/call/c1")).status == 200
    assert (await api.ask("GET", "/control/asked")).json == {"asked": ["c1", "c2", "c1", "c2", "c1"]}
    assert (await api.ask("PUT", "/control/faults", json={"status": 99})).status == 400


# -- the bodies --------------------------------------------------------------------------------------------------------


def test_a_tool_call_is_of_real_size_and_stands_in_three_lists() -> None:
    body = big_body()
    message = body["message"]
    assert 50_000 < len(msgspec.json.encode(body)) < 53_000
    call = {"id": "call_abc", "type": "function", "function": {"name": "send_sms", "arguments": ARGUMENTS}}
    assert message["toolCalls"] == message["toolCallList"] == [call]
    assert [one["toolCall"] for one in message["toolWithToolCallList"]] == [call]
    assert message["toolWithToolCallList"][0]["function"]["name"] == "send_sms"
    assert (message["call"]["id"], message["call"]["assistantId"], message["assistant"]["id"]) == ("call-1", "assistant-1", "assistant-1")
    assert message["customer"]["number"] == message["call"]["customer"]["number"] == "+12135550111"
    assert message["call"]["status"] == "ringing"
    assert list(message)[:5] == ["timestamp", "type", "toolCalls", "toolCallList", "toolWithToolCallList"]


def test_the_history_holds_the_call_as_text_and_an_older_one() -> None:
    history = big_body()["message"]["artifact"]["messages"]
    asked = [call for entry in history for call in entry.get("toolCalls", [])]
    assert len(asked) == 2
    assert asked[0]["id"] != asked[1]["id"] == "call_abc"
    assert json.loads(asked[1]["function"]["arguments"]) == ARGUMENTS
    assert "call_yCCp" not in json.dumps(big_body())


def test_bodies_are_independent_of_each_other() -> None:
    first = big_body()
    first["message"]["call"]["id"] = "changed"
    first["message"]["toolCallList"][0]["function"]["arguments"]["to"] = "changed"
    assert big_body()["message"]["call"]["id"] == "call-1"
    transient = real_size_tool_call("c", None, "t", "n", {}, "+12135550111")["message"]
    assert "assistantId" not in transient["call"]


def test_a_report_agrees_with_itself() -> None:
    message = end_of_call_report("call-1", "assistant-1")["message"]
    assert (message["durationSeconds"], message["durationMs"], message["cost"]) == (58.72, 58720, 0.0691)
    assert sum(row["cost"] for row in message["costs"]) == pytest.approx(0.0691)
    assert message["costBreakdown"]["total"] == 0.0691
    assert (message["call"]["status"], message["call"]["cost"]) == ("ringing", 0)
    assert (message["call"]["id"], message["call"]["assistantId"]) == ("call-1", "assistant-1")
    started, ended = (msgspec.convert(message[name], datetime) for name in ("startedAt", "endedAt"))
    assert (ended - started).total_seconds() == pytest.approx(58.72, abs=0.0011)


def test_a_status_update_ends_with_a_reason() -> None:
    assert status_update("c")["message"]["status"] == "in-progress"
    assert "endedReason" not in status_update("c")["message"]
    ended = status_update("c", "a", "ended", "+12135550123")["message"]
    assert (ended["endedReason"], ended["customer"]) == ("customer-ended-call", {"number": "+12135550123"})


def test_presigned_urls_are_made_anew() -> None:
    report = end_of_call_report("c")
    again = freshened(report)
    assert again != report
    assert set(again["message"]["artifact"]) == set(report["message"]["artifact"])
    assert {**again["message"], "artifact": 0} == {**report["message"], "artifact": 0}
    assert freshened({"message": "x"}) == {"message": "x"}


# -- the player --------------------------------------------------------------------------------------------------------


async def test_a_delivery_looks_as_vapis(api: Http, application: Application) -> None:
    fixture = {"type": "tool-calls", "call_id": "call-1", "tool_call_id": "t1", "tool_name": "send_sms", "arguments": ARGUMENTS}
    attempts = await deliver(api, application.url + "/hook", fixture=fixture, credential={"mode": "bearer", "secret": "s3cret"})
    got = application.got[0]
    assert (got.headers["authorization"], got.headers["x-vapi-secret"]) == ("Bearer s3cret", "")
    assert (got.headers["user-agent"], got.headers["content-type"]) == ("axios/1.8.3", "application/json")
    assert (got.headers["x-call-id"], got.headers["cookie"]) == ("call-1", "callId=call-1")
    assert "Grüße 👋".encode() in got.body
    assert got.body == json.dumps(json.loads(got.body), separators=(",", ":"), ensure_ascii=False).encode()
    assert len(got.body) > 50_000
    assert len(attempts) == 1
    assert (attempts[0]["copy"], attempts[0]["attempt"], attempts[0]["status"], attempts[0]["error"]) == (1, 1, 204, None)
    assert 0 < attempts[0]["milliseconds"] < 2000
    assert "date" in attempts[0]["headers"]


@pytest.mark.parametrize(
    ("credential", "secret"), [({"mode": "x-vapi-secret", "secret": "s3cret"}, "s3cret"), ({"mode": "none"}, ""), ({}, "")]
)
async def test_the_secret_header_is_there_and_may_be_empty(
    api: Http, application: Application, credential: dict[str, str], secret: str
) -> None:
    await deliver(api, application.url + "/", body={"message": {"type": "hang"}}, credential=credential)
    assert application.got[0].headers["x-vapi-secret"] == secret
    assert "authorization" not in application.got[0].headers
    assert "x-call-id" not in application.got[0].headers
    assert application.got[0].body == b'{"message":{"type":"hang"}}'


async def test_without_a_plan_nothing_is_retried(api: Http, application: Application) -> None:
    application.statuses = [503, 200]
    assert [attempt["status"] for attempt in await deliver(api, application.url + "/", body={})] == [503]
    assert len(application.got) == 1


async def test_a_plan_retries_until_2xx(api: Http, application: Application) -> None:
    application.statuses = [503, 500, 200]
    backoff = {"type": "exponential", "maxRetries": 5, "baseDelaySeconds": 0.1}
    attempts = await deliver(api, application.url + "/", fixture={"type": "end-of-call-report", "call_id": "c"}, backoff=backoff)
    assert [(attempt["attempt"], attempt["status"]) for attempt in attempts] == [(1, 503), (2, 500), (3, 200)]
    pauses = [later.at - earlier.at for earlier, later in pairwise(application.got)]
    assert 0.095 < pauses[0] < 2
    assert 0.19 < pauses[1] < 2
    assert len({got.body for got in application.got}) == 3  # presigned URLs differ, the rest does not
    assert len({json.loads(got.body)["message"]["timestamp"] for got in application.got}) == 1


async def test_excluded_codes_and_the_end_of_the_plan_stop_retries(api: Http, application: Application) -> None:
    backoff = {"type": "fixed", "maxRetries": 2, "baseDelaySeconds": 0, "excludedStatusCodes": [401]}
    application.statuses = [500, 401, 200]
    assert [one["status"] for one in await deliver(api, application.url + "/", body={}, backoff=backoff)] == [500, 401]
    application.statuses = [302, 500, 500, 200]
    assert [one["status"] for one in await deliver(api, application.url + "/", body={}, backoff=backoff)] == [302, 500, 500]


async def test_no_answer_is_an_error_and_is_retried(api: Http) -> None:
    backoff = {"maxRetries": 1, "baseDelaySeconds": 0}
    attempts = await deliver(api, "http://127.0.0.1:9/", body={}, backoff=backoff)
    assert [attempt["status"] for attempt in attempts] == [None, None]
    assert "ConnectorError" in attempts[0]["error"]


@dataclass
class Slow:
    url: str = ""
    now: int = 0
    most: int = 0
    bodies: list[bytes] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        self.now += 1
        self.most = max(self.most, self.now)
        self.bodies.append(await request.read())
        await asyncio.sleep(0.2)
        self.now -= 1
        return web.json_response({"results": []}, headers={"Idempotent-Replayed": "true"})


@pytest.fixture
async def slow() -> AsyncIterator[Slow]:
    slow = Slow()
    app = web.Application()
    app.router.add_post("/", slow.take)
    async with serving.running(app) as slow.url:
        yield slow


async def test_copies_come_one_by_one_or_at_once(api: Http, slow: Slow) -> None:
    attempts = await deliver(api, slow.url + "/", body={"a": 1}, times=2)
    assert (slow.most, [attempt["copy"] for attempt in attempts]) == (1, [1, 2])
    attempts = await deliver(api, slow.url + "/", body={"a": 1}, times=4, at_once=True)
    assert (slow.most, [attempt["copy"] for attempt in attempts]) == (4, [1, 2, 3, 4])
    assert slow.bodies == [b'{"a":1}'] * 6
    assert attempts[0]["headers"]["idempotent-replayed"] == "true"
    assert json.loads(attempts[0]["body"]) == {"results": []}
    assert attempts[0]["milliseconds"] >= 199


async def test_a_slow_server_times_out(api: Http, slow: Slow) -> None:
    attempts = await deliver(api, slow.url + "/", body={}, timeout_seconds=0.05)
    assert attempts[0]["status"] is None
    assert "Timeout" in attempts[0]["error"]


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"url": "http://127.0.0.1:9/"}, "either a body or a fixture"),
        ({"url": "ftp://127.0.0.1/", "body": {}}, "url"),
        ({"body": {}}, "url"),
        ({"url": "http://127.0.0.1:9/", "fixture": {"type": "nothing"}}, "nothing"),
        ({"url": "http://127.0.0.1:9/", "body": {}, "credential": {"mode": "magic"}}, "mode"),
        ({"url": "http://127.0.0.1:9/", "body": {}, "backoff": {"maxRetries": 11}}, "maxRetries"),
        ({"url": "http://127.0.0.1:9/", "body": {}, "time": 2}, "time"),
    ],
)
async def test_a_wrong_delivery_gets_a_clear_400(api: Http, body: dict[str, Any], names: str) -> None:
    answer = await api.ask("POST", "/control/deliver", json=body)
    assert answer.status == 400
    assert names in answer.json["error"]

"""Whole calls: what a counting server saw is what stands in the books."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from sandbox import serving
from sandbox.vapi import VapiSandbox
from sandbox.vapi.order import running_order
from tests.sandbox.parties import Answer, Http

FAST = 1e6
SMS = {"name": "send_sms", "arguments": {"body": "See you at 3."}}


@dataclass
class CountingServer:
    """Counts what it gets and answers tool calls as a backend does; `statuses` are answered one after another first."""

    url: str = ""
    got: list[dict[str, Any]] = field(default_factory=list)
    accepted: list[dict[str, Any]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    now: int = 0
    most: int = 0

    async def take(self, request: web.Request) -> web.Response:
        self.now += 1
        self.most = max(self.most, self.now)
        message = (await request.json())["message"]
        self.got.append(message)
        await asyncio.sleep(0.005)
        self.now -= 1
        status = self.statuses.pop(0) if self.statuses else 200
        if status != 200:
            return web.Response(status=status)
        self.accepted.append(message)
        identity = identity_of(message)
        replayed = {"Idempotent-Replayed": "true"} if identity in self.seen else {}
        self.seen.add(identity)
        return web.json_response(answer_to(message), headers=replayed)

    def duplicates(self) -> int:
        return sum(times - 1 for times in Counter(map(identity_of, self.accepted)).values())


def identity_of(message: dict[str, Any]) -> str:
    """What a message is: everything but what is signed anew."""
    artifact = {name: value for name, value in message.get("artifact", {}).items() if not name.startswith("presigned")}
    return json.dumps({**message, "artifact": artifact}, sort_keys=True)


def answer_to(message: dict[str, Any]) -> dict[str, Any]:
    if message["type"] == "function-call":
        return {"result": "Queued."}
    calls = (
        message.get("toolCallList") or message.get("toolCalls") or [each["toolCall"] for each in message.get("toolWithToolCallList", [])]
    )
    return {"results": [{"toolCallId": call["id"], "name": "n", "result": "Queued."} for call in calls]} if calls else {}


@pytest.fixture
async def server() -> AsyncIterator[CountingServer]:
    server = CountingServer()
    app = web.Application(client_max_size=16 << 20)
    app.router.add_post("/", server.take)
    async with serving.running(app) as server.url:
        yield server


@pytest.fixture
def api(vapi: VapiSandbox, session: aiohttp.ClientSession) -> Http:
    return Http(session, vapi.url)


async def play(api: Http, server: CountingServer, **wanted: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The book and the deliveries of a played call."""
    answer = await api.ask("POST", "/control/play-call", json={"url": server.url + "/", "speed": FAST, **wanted})
    assert answer.status == 200, answer
    return answer.json["call"], answer.json["deliveries"]


async def told(api: Http, call_id: str, key: str = "any") -> Answer:
    return await api.ask("GET", f"/call/{call_id}", headers={"Authorization": f"Bearer {key}"})


def summed(book: dict[str, Any], name: str) -> int:
    return sum(counts[name] for counts in book["by_type"].values())


@pytest.mark.parametrize("seed", range(6))
async def test_the_books_are_what_a_counting_server_saw(api: Http, server: CountingServer, seed: int) -> None:
    server.statuses = [200, 503, 200, 500, 200, 200, 503]
    book, deliveries = await play(
        api, server, script="any", seed=seed, duplicates=0.4, reorder=0.2, backoff={"maxRetries": 3, "baseDelaySeconds": 0}
    )
    assert summed(book, "deliveries") == len(deliveries) == len(server.got)
    assert summed(book, "accepted") == len(server.accepted)
    assert summed(book, "messages") == summed(book, "answered") == len(set(map(identity_of, server.accepted)))
    assert summed(book, "accepted") - summed(book, "answered") == server.duplicates() == summed(book, "replayed")
    assert {kind: counts["accepted"] for kind, counts in book["by_type"].items()} == Counter(each["type"] for each in server.accepted)
    texts = {
        json.dumps(call["function"]["arguments"])
        for message in server.accepted
        for call in message.get("toolCallList", [])
        if call["function"]["name"] == "send_sms"
    } | {
        json.dumps(each["toolCall"]["parameters"])
        for message in server.accepted
        if "toolCallList" not in message
        for each in message.get("toolWithToolCallList", [])
        if each["name"] == "send_sms"
    }
    assert book["texts_asked"] == book["texts_promised"] == len(texts)
    reports = [message for message in server.accepted if message["type"] == "end-of-call-report"]
    assert {(str(one["durationSeconds"]), float(one["cost"])) for one in reports} == {(book["seconds"], float(book["cost"]))}
    listed = (await api.ask("GET", "/control/books", params={"call_id": book["call_id"]})).json
    assert (listed["calls"], listed["total"]["calls"], listed["total"]["seconds"]) == ([book], 1, book["seconds"])


async def test_the_same_seed_plays_the_same_call(api: Http, server: CountingServer) -> None:
    wanted = {"script": "any", "seed": "x", "duplicates": 0.5, "reorder": 0.3, "call_id": "call-1", "assistant_id": "a"}
    first = await play(api, server, **wanted)
    second = await play(api, server, **wanted)
    other = await play(api, server, **{**wanted, "seed": "y"})

    def shape(played: tuple[dict[str, Any], list[dict[str, Any]]]) -> Any:
        book, deliveries = played
        varying = {"milliseconds", "replayed"}
        counts = {kind: {**each, "replayed": 0} for kind, each in book["by_type"].items()}
        return {**book, "by_type": counts}, [{k: v for k, v in each.items() if k not in varying} for each in deliveries]

    assert shape(first) == shape(second) != shape(other)


async def test_duplicates_do_not_change_what_is_said(api: Http, server: CountingServer) -> None:
    plain, _ = await play(api, server, script="any", seed=3)
    repeated, deliveries = await play(api, server, script="any", seed=3, duplicates=1)
    assert (plain["script"], plain["seconds"], plain["cost"]) == (repeated["script"], repeated["seconds"], repeated["cost"])
    assert summed(plain, "messages") == summed(repeated, "messages") == len(deliveries) / 2
    assert server.most > 1  # some of them come while the first is being answered


async def test_amounts_are_not_round(api: Http, server: CountingServer) -> None:
    books = [(await play(api, server, script="question", seed=seed))[0] for seed in range(10)]
    assert all(not book["seconds"].endswith("0") and len(book["seconds"].partition(".")[2]) == 3 for book in books)
    assert len({book["cost"] for book in books}) == 10


async def test_a_call_stays_readable_with_the_figures_of_its_report(api: Http, server: CountingServer) -> None:
    book, _ = await play(api, server, script="booking", assistant_id="a1")
    report = next(message for message in server.got if message["type"] == "end-of-call-report")
    call = (await told(api, book["call_id"])).json
    for name in ("startedAt", "endedAt", "endedReason", "cost", "costBreakdown"):
        assert call[name] == report[name], name
    assert (call["status"], call["assistantId"], call["customer"]) == ("ended", "a1", {"number": "+12135550123"})


async def test_a_lost_report_leaves_the_call_readable(api: Http, server: CountingServer) -> None:
    book, deliveries = await play(api, server, script="booking", lost_report=True, key="owner")
    assert "end-of-call-report" not in {each["type"] for each in deliveries} | {each["type"] for each in server.got}
    assert book["report"] == "lost"
    call = (await told(api, book["call_id"], "owner")).json
    assert (call["status"], call["cost"]) == ("ended", float(book["cost"]))
    assert (await told(api, book["call_id"], "another")).status == 404


async def test_a_call_that_nobody_took_has_no_figures(api: Http, server: CountingServer) -> None:
    book, _ = await play(api, server, script="unanswered")
    report = server.got[-1]
    assert (book["seconds"], book["cost"], book["report"]) == (None, None, "answered")
    assert not {"startedAt", "cost", "durationMs", "durationSeconds"} & report.keys()
    assert report["endedReason"] == (await told(api, book["call_id"])).json["endedReason"] == "customer-did-not-answer"


async def test_a_message_is_retried_by_the_plan_and_no_further(api: Http, server: CountingServer) -> None:
    script = {"steps": [{"type": "status-update", "status": "in-progress"}, {"type": "end-of-call-report"}]}
    server.statuses = [503, 503, 503, 401]
    backoff = {"maxRetries": 2, "baseDelaySeconds": 0, "excludedStatusCodes": [401]}
    book, deliveries = await play(api, server, script=script, backoff=backoff)
    assert [(each["type"], each["attempt"], each["status"]) for each in deliveries] == [
        ("status-update", 1, 503),
        ("status-update", 2, 503),
        ("status-update", 3, 503),
        ("end-of-call-report", 1, 401),
    ]
    assert (book["report"], summed(book, "answered"), summed(book, "deliveries")) == ("unanswered", 0, 4)


async def test_a_server_that_is_away_leaves_everything_unanswered(api: Http) -> None:
    answer = await api.ask("POST", "/control/play-call", json={"url": "http://127.0.0.1:9/", "speed": FAST, "script": "booking"})
    book = answer.json["call"]
    assert (summed(book, "accepted"), book["report"], book["over"]) == (0, "unanswered", True)
    assert (book["texts_asked"], book["texts_promised"]) == (1, 0)
    assert {each["status"] for each in answer.json["deliveries"]} == {None}


async def test_the_same_text_is_one_and_an_error_promises_nothing(api: Http, server: CountingServer) -> None:
    twice = {"type": "tool-calls", "calls": [SMS, {**SMS}, {"name": "send_sms", "arguments": {"body": "Other."}}]}
    book, _ = await play(api, server, script={"steps": [twice]})
    assert (book["texts_asked"], book["texts_promised"], book["tool_calls"]) == (2, 2, 3)
    ids = [call["id"] for call in server.got[0]["toolCallList"]]
    assert len(set(ids)) == 3
    server.statuses = [500]
    book, _ = await play(api, server, script={"steps": [twice]})
    assert (book["texts_asked"], book["texts_promised"]) == (2, 0)


async def test_every_shape_of_a_tool_call_is_played(api: Http, server: CountingServer) -> None:
    await play(api, server, script="shapes", seed=1)
    by_shape = [message for message in server.got if message["type"] in {"tool-calls", "function-call"}]
    a, b, c, d, e, f, g, h = by_shape
    words = [message for message in by_shape if "toolCallList" in message]
    assert a["toolCallList"] == a["toolCalls"] == [each["toolCall"] for each in a["toolWithToolCallList"]]
    assert "(shape B)" in json.loads(b["toolCallList"][0]["function"]["arguments"])["body"]
    assert "(shape C)" in c["toolCallList"][0]["arguments"]["body"]
    assert "(shape D)" in d["toolCallList"][0]["parameters"]["body"]
    assert e.keys() & {"toolCalls", "toolCallList"} == set()
    assert e["toolWithToolCallList"][0]["name"] == "send_sms"
    assert "(shape E)" in e["toolWithToolCallList"][0]["toolCall"]["parameters"]["body"]
    assert f.keys() & {"toolCalls", "toolCallList", "toolWithToolCallList"} == {"toolCalls"}
    assert "(shape G)" in g["functionCall"]["parameters"]["body"]
    assert h["toolCallList"][0]["id"] == "hook-function-call"
    assert "(shape H)" in h["toolCallList"][0]["function"]["arguments"]["properties"]["body"]["value"]
    assert len(words) == 5


async def test_sizes_are_those_of_real_traffic(api: Http, server: CountingServer) -> None:
    _, deliveries = await play(api, server, script="long")
    assert max(each["bytes"] for each in deliveries) > 1_300_000
    _, deliveries = await play(api, server, script="booking")
    assert 50_000 < next(each["bytes"] for each in deliveries if each["type"] == "tool-calls") < 54_000


async def test_an_assistant_is_asked_for_where_the_number_has_none(api: Http, server: CountingServer) -> None:
    await play(api, server, script="inquiry", assistant_id="a1", phone_number={"id": "p9"})
    message = server.got[0]
    assert (message["type"], message["assistant"], message["call"]["assistantId"]) == ("assistant-request", None, None)
    assert message["phoneNumber"]["id"] == message["call"]["phoneNumberId"] == "p9"
    assert {each["call"].get("assistantId") for each in server.got[1:]} == {"a1"}


async def test_timestamps_grow_with_each_message(api: Http, server: CountingServer) -> None:
    await play(api, server, script="any", seed=5)
    assert all(earlier["timestamp"] < later["timestamp"] for earlier, later in pairwise(server.got))


async def test_deliveries_are_told_as_they_happen(api: Http, server: CountingServer) -> None:
    order = {"url": server.url + "/", "speed": FAST, "script": "booking", "stream": True}
    async with api.session.post(api.base + "/control/play-call", json=order) as response:
        assert response.content_type == "application/x-ndjson"
        lines = [json.loads(line) async for line in response.content]
    assert [set(line) for line in lines] == [{"delivery"}] * len(server.got) + [{"call"}]
    assert lines[-1]["call"]["over"] is True


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"script": "nosuch"}, "nosuch"),
        ({"script": {"steps": []}}, "steps"),
        ({"script": {"steps": [{"type": "song"}]}}, "song"),
        ({"duplicates": 2}, "duplicates"),
        ({"speed": 0}, "speed"),
        ({"tempo": 1}, "tempo"),
        ({"customer_number": "nobody"}, "customer_number"),
        ({"script": {"steps": [{"type": "tool-calls", "shape": "G", "calls": [SMS, SMS]}]}}, "shape G"),
    ],
)
async def test_a_call_that_cannot_be_played_gets_a_clear_400(
    api: Http, server: CountingServer, wrong: dict[str, Any], names: str, *, stream: bool
) -> None:
    answer = await api.ask("POST", "/control/play-call", json={"url": server.url + "/", "stream": stream, **wrong})
    assert (answer.status, names in answer.json["error"]) == (400, True), answer
    assert server.got == []


async def test_books_can_be_thrown_away(api: Http, server: CountingServer) -> None:
    book, _ = await play(api, server, script="question")
    assert (await api.ask("DELETE", "/control/books")).status == 204
    assert (await api.ask("GET", "/control/books")).json["calls"] == []
    assert (await told(api, book["call_id"])).status == 200


@given(st.lists(st.integers(1, 3), min_size=1, max_size=30), st.integers(), st.floats(0, 1), st.floats(0, 1))
def test_an_order_has_every_message_and_at_most_one_more_of_each(copies: list[int], seed: int, duplicates: float, reorder: float) -> None:
    rng = Random(seed)  # noqa: S311  a play, no secret
    order = running_order(copies, rng, duplicates=duplicates, reorder=reorder)
    times: Counter[int] = Counter()
    for sending in order:
        times[sending.place] += sending.copies
    assert times.keys() == set(range(len(copies)))
    assert all(times[place] - wanted in {0, 1} for place, wanted in enumerate(copies))
    if duplicates == 0 and reorder == 0:
        assert [(each.place, each.copies) for each in order] == list(enumerate(copies))

"""Calling a tenant's tool against a real server: what arrives, and what each way to fail means for whoever asked."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from runtime import clock
from runtime.addresses import AllowedHosts
from runtime.version import VERSION
from sandbox.tool import ToolSandbox
from sandbox.tool.faults import AcceptThenDelay, Delay, ResetAfter, ResetBefore, Status
from tenants.http_tools import COLUMN
from tests.sandbox.parties import eventually
from tests.webhooks.toolbox import (
    KEY,
    KEYRING,
    LOCAL,
    OLD_SECRET,
    OTHER,
    SECRET,
    TENANT,
    Endpoint,
    call,
    serving_tool,
    soon,
    tool,
    verified,
)
from webhooks.breaker import Breaker
from webhooks.tool_answer import DOUBTFUL
from webhooks.tool_http import LARGEST_ANSWER, TENANT_CALLS_PER_HOST, ToolHttp
from webhooks.tool_request import signature

NOT_REACHED = "The book table tool could not be reached, so nothing was done. Try again in a moment."
BUSY = "The book table tool is busy, so nothing was done. Try again in a moment."


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    async with ToolSandbox.running() as sandbox, ToolHttp(KEYRING, LOCAL) as http:
        yield Endpoint(sandbox, http)


@pytest.fixture
async def client() -> AsyncIterator[ToolHttp]:
    async with ToolHttp(KEYRING, LOCAL) as http:
        yield http


# -- what is sent ------------------------------------------------------------------------------------------------------


async def test_a_call_carries_what_the_tool_needs(endpoint: Endpoint) -> None:
    outcome = await endpoint.run()
    assert (outcome.kind, outcome.text, outcome.status, outcome.attempts) == ("done", "Done, number 1.", 200, 1)
    (delivery,) = endpoint.deliveries
    assert json.loads(delivery["text"]) == {
        "type": "tool-call",
        "tool": "book_table",
        "arguments": {"slot": "9 am", "people": 2},
        "call_id": "call-1",
        "tool_call_id": "tool-1",
        "assistant_id": "assistant-1",
        "customer": {"number": "+12135550123"},
        "timestamp": "2026-03-08T09:59:30.000Z",
        "local_time": "2026-03-08T01:59:30-08:00",  # half a minute before the clocks go forward
        "timezone": "America/Los_Angeles",
    }
    headers = delivery["headers"]
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"] == f"Trunkline/{VERSION}"
    assert headers["idempotency-key"] == f'"{KEY}"'
    assert headers["webhook-id"] == KEY
    assert abs(int(headers["webhook-timestamp"]) - clock.now().timestamp()) < 5
    assert verified(headers, delivery["text"], SECRET)
    assert not verified(headers, delivery["text"] + " ", SECRET)
    assert not verified(headers, delivery["text"], OLD_SECRET)


def test_a_signature_is_the_one_of_the_specification() -> None:
    made = signature("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_during_a_rotation_both_secrets_sign(endpoint: Endpoint) -> None:
    await endpoint.run(previous_secret_sealed=KEYRING.seal(OLD_SECRET, TENANT, COLUMN))
    (delivery,) = endpoint.deliveries
    assert delivery["headers"]["webhook-signature"].count("v1,") == 2
    assert all(verified(delivery["headers"], delivery["text"], secret) for secret in (SECRET, OLD_SECRET))


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_without_a_body_the_arguments_are_the_query(endpoint: Endpoint, method: str) -> None:
    arguments = {"day": "mon & tue", "n": 2, "open": True, "near": None, "tags": ["a", "ü"]}
    endpoint.path = "/look?lang=de"
    await endpoint.run(request=call(arguments=arguments), method=method)
    (delivery,) = endpoint.deliveries
    assert (delivery["method"], delivery["text"]) == (method, "")
    assert delivery["query"] == {"lang": "de", "day": "mon & tue", "n": "2", "open": "true", "tags": '["a","ü"]'}
    assert "content-type" not in delivery["headers"]
    assert verified(delivery["headers"], "", SECRET)


async def test_every_attempt_is_the_same_request_under_the_same_key(endpoint: Endpoint) -> None:
    endpoint.arm(Status(status=503, times=1), ResetBefore(times=1))
    assert (await endpoint.run(request=call(arguments={"b": 1, "a": 2}))).attempts == 3
    await endpoint.run(request=call(arguments={"a": 2, "b": 1}))  # a later run, with the arguments in another order
    assert len(endpoint.deliveries) == 4
    for same in ("text", "key"):
        assert len({delivery[same] for delivery in endpoint.deliveries}) == 1
    assert {delivery["headers"]["webhook-id"] for delivery in endpoint.deliveries} == {KEY}
    assert endpoint.effects == 1


async def test_no_cookie_is_kept(client: ToolHttp) -> None:
    seen = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Cookie"))
        response = web.Response(text="ok")
        response.set_cookie("session", "of another tenant")
        return response

    async with serving_tool(handler) as url:
        for _ in range(2):
            await client.run(tool(url.replace("127.0.0.1", "localhost")), call(), soon())  # a jar keeps none of a bare address anyway
    assert seen == [None, None]


# -- what an answer means ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_2xx_is_done(endpoint: Endpoint, status: int) -> None:
    endpoint.arm(Status(status=status, text="" if status == 204 else '"Booked."'))
    outcome = await endpoint.run()
    assert (outcome.kind, outcome.status, outcome.attempts) == ("done", status, 1)
    assert outcome.text == ("Done." if status == 204 else "Booked.")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422, 451])
async def test_4xx_is_final(endpoint: Endpoint, status: int) -> None:
    endpoint.arm(Status(status=status, text='{"error": "The slot is taken."}'))
    outcome = await endpoint.run()
    assert (outcome.kind, outcome.text, outcome.status, outcome.attempts) == ("refused", "The slot is taken.", status, 1)


@pytest.mark.parametrize("status", [408, 425, 429])
@pytest.mark.parametrize("repeatable", [True, False])
async def test_what_was_not_taken_is_asked_for_again(endpoint: Endpoint, status: int, repeatable: bool) -> None:
    endpoint.arm(Status(status=status, times=2))
    outcome = await endpoint.run(repeatable=repeatable)
    assert (outcome.kind, outcome.attempts, endpoint.effects) == ("done", 3, 1)
    endpoint.arm(Status(status=status))
    outcome = await endpoint.run(0.6, repeatable=repeatable)
    assert (outcome.kind, outcome.text, outcome.status) == ("not_reached", BUSY, status)


async def test_retry_after_is_honoured_where_it_fits(endpoint: Endpoint) -> None:
    endpoint.arm(Status(status=429, headers={"Retry-After": "1"}, times=1))
    assert (await endpoint.run()).kind == "done"
    first, second = (delivery["arrived_at"] for delivery in endpoint.deliveries)
    assert second - first >= 1.0
    endpoint.arm(Status(status=429, headers={"Retry-After": "60"}))
    began = clock.monotonic()
    assert (await endpoint.run()).attempts == 1
    assert clock.monotonic() - began < 1


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
async def test_5xx_is_doubtful_and_repeated_only_where_that_is_safe(endpoint: Endpoint, status: int) -> None:
    endpoint.arm(Status(status=status, accept=True, times=1))
    assert (await endpoint.run()).kind == "done"
    assert (len(endpoint.deliveries), endpoint.effects) == (2, 1)
    endpoint.arm(Status(status=status, text="<h1>Oops</h1>", content_type="text/html", accept=True))
    outcome = await endpoint.run(repeatable=False, request=call(idempotency_key="another"))
    assert (outcome.kind, outcome.text, outcome.status, outcome.attempts) == ("doubtful", DOUBTFUL, status, 1)
    assert endpoint.effects == 2


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 305])
async def test_other_redirects_are_no_answer(endpoint: Endpoint, status: int) -> None:
    endpoint.arm(Status(status=status, headers={"Location": "/elsewhere"}))
    outcome = await endpoint.run()
    assert (outcome.kind, outcome.attempts, len(endpoint.deliveries)) == ("doubtful", 1, 1)


# -- trouble on the way ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [ResetAfter(times=1), AcceptThenDelay(seconds=5, times=1)])
async def test_a_lost_answer_is_fetched_again_where_that_is_safe(endpoint: Endpoint, fault: Any) -> None:
    endpoint.arm(fault)
    outcome = await endpoint.run(timeout_ms=300)
    assert (outcome.kind, outcome.text, outcome.attempts) == ("done", "Done, number 1.", 2)
    assert (len(endpoint.deliveries), endpoint.effects) == (2, 1)


@pytest.mark.parametrize(
    ("fault", "effects"), [(ResetBefore(), 0), (ResetAfter(), 1), (Delay(seconds=5), 0), (AcceptThenDelay(seconds=5), 1)]
)
async def test_a_lost_answer_is_doubtful_otherwise(endpoint: Endpoint, fault: Any, effects: int) -> None:
    endpoint.arm(fault)
    outcome = await endpoint.run(timeout_ms=200, repeatable=False)
    assert (outcome.kind, outcome.text, outcome.attempts) == ("doubtful", DOUBTFUL, 1)
    assert (len(endpoint.deliveries), endpoint.effects) == (1, effects)


async def test_nobody_there_means_nothing_was_done(client: ToolHttp) -> None:
    for repeatable in (True, False):
        outcome = await client.run(tool("http://127.0.0.1:1/", repeatable=repeatable), call(), soon(0.7))
        assert (outcome.kind, outcome.text) == ("not_reached", NOT_REACHED)
        assert outcome.attempts > 1  # nothing was written, so trying again is safe for everybody


async def test_doubt_stays_when_the_next_attempt_is_not_reached() -> None:
    """Nothing may be called undone because the last attempt did nothing."""
    async with ToolHttp(KEYRING, LOCAL) as http:
        async with ToolSandbox.running() as sandbox:
            endpoint = Endpoint(sandbox, http)
            endpoint.arm(ResetAfter(times=1), Status(status=429))
            outcome = await endpoint.run(1.0)
            assert (outcome.kind, endpoint.effects) == ("doubtful", 1)
            assert outcome.attempts > 1
        outcome = await http.run(tool(sandbox.url), call(repeated=True), soon(0.5))  # a run after a crash, and nobody there
        assert outcome.kind == "doubtful"


async def test_while_an_earlier_attempt_is_worked_on_409_is_no_refusal(endpoint: Endpoint) -> None:
    endpoint.arm(AcceptThenDelay(seconds=5, times=1), Status(status=409, times=1))
    outcome = await endpoint.run(timeout_ms=200)
    assert (outcome.kind, outcome.text, outcome.attempts) == ("done", "Done, number 1.", 3)


async def test_what_may_have_run_is_not_run_again_unless_the_tool_knows_its_key(endpoint: Endpoint) -> None:
    outcome = await endpoint.run(request=call(repeated=True), repeatable=False)
    assert (outcome.kind, outcome.attempts, endpoint.deliveries) == ("doubtful", 0, [])
    assert (await endpoint.run(request=call(repeated=True))).kind == "done"


@pytest.mark.parametrize(("seconds", "timeout_ms"), [(0.3, 5_000), (1.2, 400)])
async def test_the_deadline_is_kept(endpoint: Endpoint, seconds: float, timeout_ms: int) -> None:
    endpoint.arm(Delay(seconds=10))
    began = clock.monotonic()
    outcome = await endpoint.run(seconds, timeout_ms=timeout_ms)
    assert clock.monotonic() - began < seconds + 0.5
    assert outcome.kind == "doubtful"
    assert (await endpoint.run(0.01)).attempts == 0


async def test_a_slow_answer_is_bounded_by_the_attempt(client: ToolHttp) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(100):
            await response.write(b"x")
            await asyncio.sleep(0.05)
        return response

    async with serving_tool(drip) as url:
        began = clock.monotonic()
        outcome = await client.run(tool(url, timeout_ms=300, repeatable=False), call(), soon())
        assert (outcome.kind, clock.monotonic() - began < 2) == ("doubtful", True)


# -- answers that are too much -----------------------------------------------------------------------------------------


async def test_only_so_much_of_an_answer_is_read(client: ToolHttp) -> None:
    written = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        for _ in range(1_000):
            await response.write(b"word " * 20_000)
            written += 100_000
        return response

    async with serving_tool(flood) as url:
        outcome = await client.run(tool(url), call(), soon())
        assert (outcome.kind, len(outcome.text)) == ("done", 1_000)
    assert written < 100 * LARGEST_ANSWER


async def test_a_compressed_answer_is_not_unpacked(client: ToolHttp) -> None:
    bomb = base64.b64decode("H4sIAAAAAAAAA0tMBAAlbfvAAgAAAA==")

    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip", "Content-Type": "text/plain"})

    async with serving_tool(handler) as url:
        assert (await client.run(tool(url), call(), soon())).text == "Done."


@pytest.mark.parametrize("charset", ["utf-8", "latin-1", "unicode_escape", "nonsense"])
async def test_bytes_that_are_no_text_do_no_harm(client: ToolHttp, charset: str) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=b"Caf\xe9\x00", headers={"Content-Type": f"text/plain; charset={charset}"})

    async with serving_tool(handler) as url:
        text = (await client.run(tool(url), call(), soon())).text
    assert text == ("Café" if charset == "latin-1" else "Caf\ufffd")


# -- the breaker -------------------------------------------------------------------------------------------------------


async def test_a_tool_that_keeps_failing_is_left_alone_then_tried_once() -> None:
    now = 100.0
    async with ToolSandbox.running() as sandbox, ToolHttp(KEYRING, LOCAL, breaker=Breaker(3, 10.0, lambda: now)) as http:
        endpoint = Endpoint(sandbox, http)
        endpoint.arm(Status(status=500))
        for _ in range(3):
            assert (await endpoint.run(repeatable=False)).kind == "doubtful"
        assert len(endpoint.deliveries) == 3
        outcome = await endpoint.run(repeatable=False)
        assert (outcome.kind, outcome.text, outcome.attempts, len(endpoint.deliveries)) == ("not_reached", NOT_REACHED, 0, 3)
        assert (await endpoint.run(request=call(repeated=True))).kind == "doubtful"
        theirs = tool(endpoint.url, secret_sealed=KEYRING.seal(SECRET, OTHER, COLUMN), repeatable=False)
        assert (await http.run(theirs, call(tenant=OTHER), soon())).attempts == 1  # another tenant's tool of that name is another one
        assert (await endpoint.run(name="other", repeatable=False)).attempts == 1
        now += 10.0
        sandbox.faults.disarm()
        endpoint.arm(Delay(seconds=0.3, times=1))
        together = [outcome.attempts for outcome in await asyncio.gather(*(endpoint.run() for _ in range(5)))]
        assert sorted(together) == [0, 0, 0, 0, 1]
        assert (await endpoint.run()).kind == "done"


async def test_refusals_do_not_open_it(endpoint: Endpoint) -> None:
    endpoint.arm(Status(status=404))
    assert {(await endpoint.run()).attempts for _ in range(8)} == {1}


async def test_a_call_that_is_cut_off_leaves_no_probe_behind() -> None:
    now = 100.0
    async with ToolSandbox.running() as sandbox, ToolHttp(KEYRING, LOCAL, breaker=Breaker(1, 10.0, lambda: now)) as http:
        endpoint = Endpoint(sandbox, http)
        endpoint.arm(Status(status=500, times=1), Delay(seconds=5, times=1))
        await endpoint.run(repeatable=False)
        now += 10.0
        probe = asyncio.create_task(endpoint.run())
        await asyncio.sleep(0.2)
        probe.cancel()
        await asyncio.gather(probe, return_exceptions=True)
        assert (await endpoint.run()).kind == "done"


# -- what is ours ------------------------------------------------------------------------------------------------------


async def test_a_secret_that_does_not_open_calls_nobody(endpoint: Endpoint) -> None:
    outcome = await endpoint.run(secret_sealed=KEYRING.seal(SECRET, OTHER, COLUMN))
    assert (outcome.kind, outcome.attempts, endpoint.deliveries) == ("not_reached", 0, [])


async def test_one_tenants_calls_to_a_host_leave_room_for_anothers(endpoint: Endpoint) -> None:
    endpoint.arm(Delay(seconds=3, path="/slow"))
    slow = tool(endpoint.sandbox.url + "/slow", timeout_ms=10_000)
    flood = [asyncio.create_task(endpoint.http.run(slow, call(idempotency_key=f"k{n}"), soon(10))) for n in range(40)]
    theirs = tool(endpoint.url, secret_sealed=KEYRING.seal(SECRET, OTHER, COLUMN))
    await eventually(lambda: len(endpoint.deliveries) >= TENANT_CALLS_PER_HOST, 2)
    assert (await endpoint.http.run(theirs, call(tenant=OTHER), soon(1))).kind == "done"
    assert len(endpoint.deliveries) == TENANT_CALLS_PER_HOST + 1
    for task in flood:
        task.cancel()
    await asyncio.gather(*flood, return_exceptions=True)


async def test_nothing_private_is_logged(endpoint: Endpoint, capsys: pytest.CaptureFixture[str]) -> None:
    endpoint.path = "/book?token=private"
    endpoint.arm(ResetAfter(times=1), Status(status=422, text='{"error": "private"}', times=1))
    await endpoint.run()
    await endpoint.http.run(tool("http://private.invalid/"), call(), soon(0.3))
    told = "".join(capsys.readouterr())
    assert "tool called" in told
    for private in ("private", SECRET, "5550123", "9 am", KEY):
        assert private not in told


async def test_it_has_to_be_open() -> None:
    with pytest.raises(RuntimeError, match="not open"):
        await ToolHttp(KEYRING, AllowedHosts.parse("127.0.0.1")).run(tool("http://127.0.0.1:1/"), call(), soon())

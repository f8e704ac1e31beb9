"""Vapi is away, busy or talks nonsense: nothing is lost, nobody is pestered, no connection of ours is held."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from runtime.clock import monotonic
from runtime.database import Database
from sandbox import serving
from sandbox.vapi import VapiSandbox
from sandbox.vapi.server import Fault
from tests.late.lines import BILLED, Line, MakeDuty
from webhooks.late_reports import Rules
from webhooks.vapi_client import MOST_BYTES, VapiClient

KEY = "key-of-the-tenant-1"
AWAY = [
    ({"status": 429, "headers": {"Retry-After": "1200"}}, 20),
    ({"status": 429}, 5),
    ({"status": 500}, 5),
    ({"status": 503, "headers": {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}}, 5),
    ({"status": 503, "headers": {"Retry-After": "99999999"}}, 60),
    ({"seconds": 5}, 5),
]
NONSENSE = [
    {"status": 200, "body": "<html>"},
    {"status": 200, "body": ""},
    {"status": 200, "body": "[]"},
    {"status": 200, "body": '{"status": "ended", "cost": 5}'},
    {"status": 200, "body": '{"id": "another", "status": "ended", "cost": 5}'},
    {"status": 200, "body": '{"id": 7, "status": "ended", "cost": 5}'},
    {"status": 200, "body": '{"id": "call-1", "status": "ended", "cost": 5', "headers": {}},
    {"status": 200, "body": '{"id": "call-1", "status": {}}'},
    {"status": 302, "headers": {"Location": "/call/call-1"}},
    {"status": 400},
]


@pytest.mark.parametrize(("fault", "minutes"), AWAY, ids=str)
async def test_vapi_away_costs_no_look_and_loses_nothing(fault: dict[str, Any], minutes: int, line: Line, make_duty: MakeDuty) -> None:
    await line.takes_key(KEY)
    await line.heard("call-1")
    line.told("call-1")
    line.vapi.faults[""] = Fault(**fault)
    duty = make_duty()
    for _ in range(8):
        await duty.reconcile()
        if "seconds" in fault:
            break
        await line.due_again()
    await line.due_again()
    await duty.reconcile()
    call = await line.call("call-1")
    assert (call["looks"], call["reported_at"], await line.pause("call-1"), await line.usage()) == (0, None, minutes, {})
    line.vapi.faults.clear()
    await line.due_again()
    await duty.reconcile()
    assert await line.usage() == BILLED


@pytest.mark.parametrize("fault", NONSENSE, ids=str)
async def test_nonsense_is_a_look_that_told_nothing(fault: dict[str, Any], line: Line, make_duty: MakeDuty) -> None:
    await line.takes_key(KEY)
    await line.heard("call-1")
    line.vapi.faults[""] = Fault(**fault)
    await make_duty().reconcile()
    call = await line.call("call-1")
    assert (call["looks"], call["reported_at"], call["cost_usd"], await line.usage()) == (1, None, None, {})


async def test_vapi_not_there_at_all(line: Line, make_duty: MakeDuty) -> None:
    await line.takes_key(KEY)
    await line.heard("call-1")
    duty = make_duty()
    async with VapiClient("http://127.0.0.1:9", total=1.0) as nowhere:
        duty._vapi, there = nowhere, duty._vapi
        await duty.reconcile()
    assert ((await line.call("call-1"))["looks"], await line.pause("call-1")) == (0, 5)
    duty._vapi = there
    line.told("call-1")
    await line.due_again()
    await duty.reconcile()
    assert await line.usage() == BILLED


async def test_after_a_week_of_silence_a_call_is_given_up(line: Line, make_duty: MakeDuty) -> None:
    await line.takes_key(KEY)
    await line.heard("call-1")
    await line.grows_old(timedelta(days=7, minutes=1))
    line.vapi.faults[""] = Fault(status=500)
    await make_duty().reconcile()
    assert (await line.call("call-1"))["reported_by"] == "nobody"


async def test_one_call_that_vapi_chokes_on_does_not_hold_up_the_others(line: Line, make_duty: MakeDuty) -> None:
    await line.takes_key(KEY)
    for number in range(5):
        await line.heard(f"call-{number}", ago=timedelta(hours=9 - number))
        line.told(f"call-{number}")
    line.vapi.faults["call-0"] = Fault(status=500)
    duty = make_duty()
    await duty.reconcile()
    assert line.vapi.asked == ["call-0"]
    await line.owner.execute(
        "UPDATE calls SET look_at = look_at - interval '5 minutes' WHERE tenant_id = $1 AND call_id <> 'call-0'", line.tenant
    )
    await duty.reconcile()
    assert (await line.usage())["calls"] == (4, 4.0)


async def test_a_slow_account_delays_no_other_tenant(line: Line, neighbour: Line, make_duty: MakeDuty) -> None:
    for each, key in ((line, KEY), (neighbour, "key-of-the-neighbour")):
        await each.takes_key(key)
        for number in range(3):
            await each.heard(f"{each.tenant}-{number}")
            each.told(f"{each.tenant}-{number}")
            if each is line:
                each.vapi.faults[f"{each.tenant}-{number}"] = Fault(seconds=0.8)
    running = asyncio.create_task(make_duty().reconcile())
    await asyncio.sleep(0.5)
    assert ((await neighbour.usage())["calls"], await line.usage()) == ((3, 3.0), {})
    await running
    assert (await line.usage())["calls"] == (3, 3.0)


async def test_no_connection_is_held_while_vapi_thinks(line: Line, make_duty: MakeDuty, database: Database) -> None:
    await line.takes_key(KEY)
    await line.heard("call-1")
    line.told("call-1")
    line.vapi.faults[""] = Fault(seconds=0.6)
    running = asyncio.create_task(make_duty().reconcile())
    await asyncio.sleep(0.35)
    assert line.vapi.asked == ["call-1"]
    held = database.pool.get_size() - database.pool.get_idle_size(), database.engine.pool.checkedout()  # type: ignore[attr-defined]  # a queue pool
    assert held == (0, 0)
    await running
    assert await line.usage() == BILLED


async def test_a_run_without_time_begins_no_question_and_goes_on_next_time(line: Line, make_duty: MakeDuty) -> None:
    await line.takes_key(KEY)
    for number in range(4):
        await line.heard(f"call-{number}")
        line.told(f"call-{number}")
    line.vapi.faults[""] = Fault(seconds=0.4)
    began, duty = monotonic(), make_duty(rules=Rules(seconds=0.6))
    await duty.reconcile()
    assert monotonic() - began < 1.5
    assert len(line.vapi.asked) < 4
    line.vapi.faults.clear()
    await line.due_again()
    await make_duty().reconcile()
    assert (await line.usage())["calls"] == (4, 4.0)


# -- the client --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def server() -> AsyncIterator[tuple[str, list[web.Request]]]:
    """Answers what an id asks for, and keeps the requests."""
    seen: list[web.Request] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request)
        if request.path.endswith("big"):
            return web.Response(body=b" " * (MOST_BYTES + 1), content_type="application/json")
        if request.path.endswith("squeezed"):
            response = web.json_response({"id": "squeezed"})
            response.enable_compression(web.ContentCoding.gzip)
            return response
        if request.path.endswith("drips"):
            stream = web.StreamResponse()
            await stream.prepare(request)
            for _ in range(40):
                await stream.write(b" ")
                await asyncio.sleep(0.1)
            return stream
        return web.json_response({"id": "x"}, headers={"Set-Cookie": "whose=the first tenant's; Path=/"})

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    async with serving.running(app) as url:
        yield url, seen


async def test_an_id_is_one_piece_of_the_path(server: tuple[str, list[web.Request]]) -> None:
    url, seen = server
    ids = ["a/b", "../assistant/1", "a?b=c#d", "a%2Fb", "ünï 👋", "a\tb", "*" * 256]
    async with VapiClient(url) as client:
        for call_id in ids:
            assert (await client.call(call_id, "key")).word == "found"
        for call_id in ("", ".", ".."):
            assert (await client.call(call_id, "key")).word == "absent"
    assert [request.match_info["tail"] for request in seen] == [f"call/{call_id}" for call_id in ids]
    assert all(request.raw_path.count("/") == 2 and "?" not in request.raw_path for request in seen)


async def test_a_cookie_of_one_tenants_answer_does_not_travel(server: tuple[str, list[web.Request]]) -> None:
    url, seen = server
    async with VapiClient(url) as client:
        for key in ("first", "second"):
            await client.call("x", key)
    assert [(request.headers["Authorization"], "Cookie" in request.headers) for request in seen] == [
        ("Bearer first", False),
        ("Bearer second", False),
    ]


@pytest.mark.parametrize(("call_id", "word"), [("big", "nonsense"), ("squeezed", "nonsense"), ("drips", "later")])
async def test_an_answer_is_bounded_in_size_and_time(call_id: str, word: str, server: tuple[str, list[web.Request]]) -> None:
    began = monotonic()
    async with VapiClient(server[0], total=1.0) as client:
        asked = await client.call(call_id, "key")
    assert (asked.word, asked.body) == (word, b"")
    assert monotonic() - began < 2.0


@pytest.mark.parametrize("key", ["", "kéy", "a\r\nX-Evil: 1", "\ud800"])
async def test_a_key_that_no_header_holds_is_a_wrong_one(key: str, vapi: VapiSandbox) -> None:
    async with VapiClient(vapi.url) as client:
        assert (await client.call("x", key)).word == "refused"
    assert vapi.asked == []

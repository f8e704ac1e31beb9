"""Sandbox Vapi's tools and its faults by path."""

from collections.abc import AsyncIterator

import httpx
import pytest

from sandbox.vapi import VapiSandbox

TOOL = {"type": "function", "function": {"name": "send_sms", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture
async def vapi() -> AsyncIterator[VapiSandbox]:
    async with VapiSandbox.running() as sandbox:
        yield sandbox


@pytest.fixture
async def mine(vapi: VapiSandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=vapi.url, headers={"Authorization": "Bearer one"}) as client:
        yield client


async def test_a_tool_belongs_to_its_organisation(vapi: VapiSandbox, mine: httpx.AsyncClient) -> None:
    made = (await mine.post("/tool", json=TOOL)).json()
    assert (await mine.get(f"/tool/{made['id']}")).json() == made
    assert (await mine.get("/tool", params={"limit": "1000"})).json() == [made]
    theirs = {"Authorization": "Bearer two"}
    assert (await mine.get("/tool", headers=theirs)).json() == []
    for method in ("GET", "PATCH", "DELETE"):
        assert (await mine.request(method, f"/tool/{made['id']}", headers=theirs, json={})).status_code == 404
    changed = (await mine.patch(f"/tool/{made['id']}", json={"async": True})).json()
    assert (changed["async"], changed["function"], changed["latestVersion"]) == (True, TOOL["function"], 2)
    assert (await mine.delete(f"/tool/{made['id']}")).status_code == 200
    assert vapi.tools == {}


@pytest.mark.parametrize("body", [[], {}, {"function": {"name": "x" * 65}}, {**TOOL, "id": "mine"}], ids=str)
async def test_what_is_no_tool_is_refused(body: object, mine: httpx.AsyncClient) -> None:
    assert (await mine.post("/tool", json=body)).status_code == 400


async def test_a_fault_comes_after_so_many_and_ends_after_so_many(vapi: VapiSandbox, mine: httpx.AsyncClient) -> None:
    fault = {"path": "/tool", "method": "POST", "skip": 1, "times": 2, "status": 500}
    assert (await mine.put("/control/path-faults", json=fault)).status_code == 200
    assert [(await mine.post("/tool", json=TOOL)).status_code for _ in range(4)] == [201, 500, 500, 201]
    assert len(vapi.tools) == 2
    assert (await mine.get("/tool")).status_code == 200
    await mine.put("/control/path-faults", json={**fault, "skip": 0, "times": None})
    assert (await mine.delete("/control/path-faults")).status_code == 204
    assert (await mine.post("/tool", json=TOOL)).status_code == 201


async def test_an_answer_may_be_lost_or_a_lie(vapi: VapiSandbox, mine: httpx.AsyncClient) -> None:
    await mine.put("/control/path-faults", json={"path": "/tool", "method": "POST", "times": 1, "done": True, "status": 502})
    assert ((await mine.post("/tool", json=TOOL)).status_code, len(vapi.tools)) == (502, 1)
    await mine.put("/control/path-faults", json={"path": "/tool", "method": "POST", "lies": True})
    assert ((await mine.post("/tool", json=TOOL)).json(), len(vapi.tools)) == (TOOL, 1)
    assert vapi.path_faults.seen == ["POST /tool", "POST /tool"]

"""The stand-in for a tenant's own endpoint: one effect per key, counted, and faults on demand."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from sandbox.tool import ToolSandbox
from tests.sandbox.parties import Answer, Http


@pytest.fixture
async def tool() -> AsyncIterator[ToolSandbox]:
    async with ToolSandbox.running() as sandbox:
        yield sandbox


@pytest.fixture
def endpoint(tool: ToolSandbox, session: aiohttp.ClientSession) -> Http:
    return Http(session, tool.url)


async def book(endpoint: Http, key: str | None = "k1", path: str = "/book", **body: Any) -> Answer:
    return await endpoint.ask("POST", path, json=body, headers={} if key is None else {"Idempotency-Key": f'"{key}"'})


async def effects(endpoint: Http, **query: str) -> list[dict[str, Any]]:
    return list((await endpoint.ask("GET", "/control/effects", params=query)).json["effects"])


async def arm(endpoint: Http, action: str, **more: Any) -> int:
    armed = await endpoint.ask("POST", "/control/faults", json={"action": action, **more})
    assert armed.status == 201, armed
    return int(armed.json["id"])


async def test_one_effect_per_key_and_the_same_answer(endpoint: Http) -> None:
    first, second, other = await book(endpoint, slot="9"), await book(endpoint, slot="9"), await book(endpoint, "k2")
    assert (first.status, first.json) == (200, {"result": "Done, number 1."})
    assert (second.json, other.json) == (first.json, {"result": "Done, number 2."})
    done = await effects(endpoint)
    assert [(one["key"], one["deliveries"], one["body"]) for one in done] == [("k1", 2, {"slot": "9"}), ("k2", 1, {})]
    assert done[0]["at"].endswith("Z")


async def test_a_key_is_one_address_s_own_and_no_key_is_an_effect_each_time(endpoint: Http) -> None:
    for path, key in (("/a", "k"), ("/b", "k"), ("/b", None), ("/b", None)):
        await book(endpoint, key, path)
    assert [len(await effects(endpoint, path=path)) for path in ("/a", "/b")] == [1, 3]
    assert len(await effects(endpoint, key="k")) == 2
    assert [one["number"] for one in await effects(endpoint, limit="1")] == [4]


async def test_a_get_is_known_by_its_query(endpoint: Http) -> None:
    await endpoint.ask("GET", "/look", params={"day": "monday"})
    (seen,) = (await endpoint.ask("GET", "/control/deliveries")).json["deliveries"]
    assert (seen["method"], seen["query"], seen["text"]) == ("GET", {"day": "monday"}, "")
    assert (await effects(endpoint))[0]["body"] == {"day": "monday"}


async def test_it_resets_before_and_after(endpoint: Http) -> None:
    for action, counted in (("reset_before", 0), ("reset_after", 1)):
        await arm(endpoint, action, times=1)
        with pytest.raises(aiohttp.ClientError):
            await book(endpoint)
        assert len(await effects(endpoint)) == counted
    assert (await book(endpoint)).json == {"result": "Done, number 1."}
    assert (await effects(endpoint))[0]["deliveries"] == 2


async def test_it_refuses_for_a_while_at_one_address(endpoint: Http) -> None:
    await arm(endpoint, "status", status=503, path="/book", times=2, headers={"Retry-After": "1"})
    refused = await book(endpoint)
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert (await book(endpoint, path="/else")).status == 200
    assert [(await book(endpoint)).status for _ in range(2)] == [503, 200]
    assert len(await effects(endpoint, path="/book")) == 1


async def test_it_fails_though_it_did(endpoint: Http) -> None:
    number = await arm(endpoint, "status", status=500, text="<h1>Oops</h1>", content_type="text/html", accept=True)
    assert [(await book(endpoint)).text for _ in range(2)] == ["<h1>Oops</h1>"] * 2
    assert (await endpoint.ask("GET", "/control/faults")).json["faults"][0]["hits"] == 2
    assert (await endpoint.ask("DELETE", f"/control/faults/{number}")).status == 204
    assert (await book(endpoint)).status == 200
    assert [one["deliveries"] for one in await effects(endpoint)] == [3]


@pytest.mark.parametrize(("action", "meanwhile"), [("delay", 0), ("accept_then_delay", 1)])
async def test_it_is_slow_before_or_after(endpoint: Http, action: str, meanwhile: int) -> None:
    await arm(endpoint, action, seconds=0.4, times=1)
    with pytest.raises(TimeoutError):
        await endpoint.ask("POST", "/book", headers={"Idempotency-Key": '"k1"'}, timeout=aiohttp.ClientTimeout(total=0.15))
    assert len(await effects(endpoint)) == meanwhile


async def test_it_forgets(endpoint: Http) -> None:
    await book(endpoint)
    assert (await endpoint.ask("DELETE", "/control/effects")).status == 204
    assert await effects(endpoint) == []
    assert (await endpoint.ask("GET", "/control/deliveries")).json["count"] == 0


@pytest.mark.parametrize("body", [{"action": "explode"}, {"action": "delay"}, {"action": "status", "status": 99}])
async def test_a_fault_that_is_none_is_refused(endpoint: Http, body: object) -> None:
    assert (await endpoint.ask("POST", "/control/faults", json=body)).status == 400
    assert (await endpoint.ask("DELETE", "/control/faults/7")).status == 400

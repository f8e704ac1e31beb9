import asyncio
import time
from typing import Any

import aiohttp
import pytest

from tests.sandbox.parties import PERSON, SENDER, Application, Control, Texter, eventually


async def attempts(control: Control) -> list[dict[str, Any]]:
    return list((await control.ask("GET", "/control/attempts")).json["attempts"])


async def test_a_status_fault_answers_its_code_as_often_as_told(texter: Texter, control: Control) -> None:
    await control.arm("status", status=429, times=2, headers={"Retry-After": "1"})
    await control.arm("status", status=500, code=20503, message="Down", times=1)
    answers = [await texter.create() for _ in range(4)]
    assert [(answer.status, answer.json.get("code")) for answer in answers] == [(429, 20429), (429, 20429), (500, 20503), (201, None)]
    assert answers[0].headers["retry-after"] == "1"
    assert answers[2].json["message"] == "Down"
    assert len(await control.messages()) == 1
    assert [(one["status"], one["code"]) for one in await attempts(control)] == [(429, 20429), (429, 20429), (500, 20503), (201, None)]
    assert (await control.ask("GET", "/control/faults")).json["faults"] == []


async def test_a_server_error_may_hide_an_accepted_message(texter: Texter, control: Control) -> None:
    await control.arm("status", status=500, accept=True, times=1)
    await control.arm("not_json", accept=True, times=1)
    assert (await texter.create()).json["code"] == 20500
    assert (await texter.create()).status == 503
    assert len(await control.messages()) == 2


async def test_a_proxy_answers_without_json(texter: Texter, control: Control) -> None:
    await control.arm("not_json", status=429, text="<h1>slow down</h1>", times=1)
    answer = await texter.create()
    assert (answer.status, answer.json, answer.text) == (429, None, "<h1>slow down</h1>")
    assert answer.headers["content-type"].startswith("text/html")
    assert await control.messages() == []


async def test_accepted_then_reset_leaves_one_message_that_calls_back(texter: Texter, control: Control, application: Application) -> None:
    await control.arm("accept_then_reset", times=1)
    with pytest.raises(aiohttp.ClientOSError):
        await texter.create(StatusCallback=application.url + "/")
    messages = await control.messages(to=PERSON)
    assert len(messages) == 1
    await eventually(lambda: "delivered" in application.told())
    assert application.got[0].form["MessageSid"] == messages[0]["sid"]
    listed = await texter.call("GET", texter.messages_path, params={"To": PERSON})
    assert [message["sid"] for message in listed.json["messages"]] == [messages[0]["sid"]]
    assert [(one["status"], one["sid"]) for one in await attempts(control)] == [(None, messages[0]["sid"])]


async def test_reset_before_leaves_nothing(texter: Texter, control: Control) -> None:
    await control.arm("reset_before", times=1)
    with pytest.raises(aiohttp.ClientOSError):
        await texter.create()
    assert await control.messages() == []
    assert [(one["status"], one["sid"]) for one in await attempts(control)] == [(None, None)]
    assert (await texter.create()).status == 201


async def test_accepted_then_late_leaves_one_message_whoever_still_waits(texter: Texter, control: Control) -> None:
    await control.arm("accept_then_delay", seconds=0.5)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await texter.create()
    assert len(await control.messages()) == 1
    began = time.monotonic()
    assert (await texter.create()).status == 201
    assert time.monotonic() - began >= 0.49


async def test_a_delay_comes_before_the_message_is_taken(texter: Texter, control: Control) -> None:
    await control.arm("delay", seconds=0.3, times=1)
    creating = asyncio.create_task(texter.create())
    await asyncio.sleep(0.1)
    assert await control.messages() == []
    assert (await creating).status == 201
    message = (await control.messages())[0]
    assert message["left_at"] - message["arrived_at"] >= 0.29


@pytest.mark.parametrize(
    ("match", "hit"),
    [
        ({}, True),
        ({"to": PERSON, "from": SENDER, "account": "AC" + "1" * 32}, True),
        ({"to": "+12135550100"}, False),
        ({"from": "+12025550100"}, False),
        ({"account": "AC" + "2" * 32}, False),
        ({"operation": "list"}, False),
    ],
)
async def test_a_fault_meets_whom_it_names(texter: Texter, control: Control, match: dict[str, str], hit: bool) -> None:
    await control.arm("status", status=503, match=match)
    assert (await texter.create()).status == (503 if hit else 201)
    fault = (await control.ask("GET", "/control/faults")).json["faults"][0]
    assert (fault["hits"], fault["action"], fault["match"]["to"]) == (int(hit), "status", match.get("to"))


async def test_reading_can_fail_too(texter: Texter, control: Control) -> None:
    sid = (await texter.create()).json["sid"]
    await control.arm("status", status=500, match={"operation": "list", "to": PERSON}, times=1)
    await control.arm("reset_before", match={"operation": "fetch"}, times=2)  # aiohttp repeats a GET once by itself
    assert (await texter.call("GET", texter.messages_path, params={"To": PERSON})).status == 500
    assert (await texter.call("GET", texter.messages_path, params={"To": PERSON})).status == 200
    with pytest.raises(aiohttp.ClientOSError):
        await texter.fetch(sid)
    assert (await texter.fetch(sid))["sid"] == sid


async def test_faults_are_disarmed_one_by_one_or_all(texter: Texter, control: Control) -> None:
    first, second = [await control.arm("status", status=503) for _ in range(2)]
    await control.arm("status", status=503)
    assert (await control.ask("DELETE", f"/control/faults/{first}")).status == 204
    assert [fault["id"] for fault in (await control.ask("GET", "/control/faults")).json["faults"]] == [second, second + 1]
    assert (await control.ask("DELETE", f"/control/faults/{first}")).status == 400
    assert (await control.ask("DELETE", "/control/faults")).status == 204
    assert (await texter.create()).status == 201

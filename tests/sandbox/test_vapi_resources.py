"""Assistants, phone numbers and calls over HTTP, as Vapi has them."""

from typing import Any

import aiohttp
import pytest

from sandbox.vapi import VapiSandbox
from tests.sandbox.parties import Answer, Http

TWILIO = {"provider": "twilio", "number": "+13035550142", "twilioAccountSid": "AC" + "1" * 32, "twilioAuthToken": "t"}


@pytest.fixture
def api(vapi: VapiSandbox, session: aiohttp.ClientSession) -> Http:
    return Http(session, vapi.url)


async def as_key(api: Http, key: str, method: str, path: str, **options: Any) -> Answer:
    return await api.ask(method, path, headers={"Authorization": f"Bearer {key}"}, **options)


async def made(api: Http, path: str, body: dict[str, Any], key: str = "one") -> dict[str, Any]:
    answer = await as_key(api, key, "POST", path, json=body)
    assert answer.status == 201, answer
    return dict(answer.json)


async def test_a_change_of_an_assistant_is_a_new_version(api: Http) -> None:
    assistant = await made(api, "/assistant", {"name": "Desk"})
    changed = await as_key(api, "one", "PATCH", f"/assistant/{assistant['id']}", json={"name": "Front desk"})
    assert changed.json["latestVersion"] == assistant["latestVersion"] + 1
    refused = await as_key(api, "one", "PATCH", f"/assistant/{assistant['id']}", json={"latestVersion": 9})
    assert refused.status == 400


async def test_lists_hold_an_organisations_own_the_newest_first(api: Http) -> None:
    names = ["a", "b", "c"]
    for name in names:
        await made(api, "/assistant", {"name": name, "createdAtOfTest": name})
    await made(api, "/assistant", {"name": "foreign"}, key="two")
    listed = (await as_key(api, "one", "GET", "/assistant")).json
    assert sorted(each["name"] for each in listed) == names
    assert [each["createdAt"] for each in listed] == sorted((each["createdAt"] for each in listed), reverse=True)
    assert len((await as_key(api, "one", "GET", "/assistant?limit=2")).json) == 2
    assert (await as_key(api, "one", "GET", "/assistant?createdAtGt=2999-01-01T00:00:00Z")).json == []
    assert len((await as_key(api, "one", "GET", "/assistant?createdAtLe=2999-01-01T00:00:00Z&limit=1000")).json) == 3
    for wrong in ("limit=-1", "limit=1001", "limit=x", "createdAtGt=tomorrow"):
        assert (await as_key(api, "one", "GET", f"/assistant?{wrong}")).status == 400, wrong
    assert (await api.ask("GET", "/assistant")).status == 401


async def test_a_phone_number_is_changed_by_naming_its_provider_again(api: Http) -> None:
    number = await made(api, "/phone-number", {**TWILIO, "server": {"url": "https://a.example", "timeoutSeconds": 5}})
    path = f"/phone-number/{number['id']}"
    assert (await as_key(api, "one", "PATCH", path, json={"assistantId": None})).status == 400
    assert (await as_key(api, "one", "PATCH", path, json={"provider": "vapi", "assistantId": None})).status == 400
    assert (await as_key(api, "one", "PATCH", path, json={"provider": "twilio", "number": "+13035550143"})).status == 400
    changed = await as_key(api, "one", "PATCH", path, json={"provider": "twilio", "server": {"url": "https://b.example"}})
    assert changed.status == 200
    read = (await as_key(api, "one", "GET", path)).json
    assert read == changed.json
    assert (read["server"], read["number"], read["assistantId"]) == ({"url": "https://b.example"}, TWILIO["number"], None)
    assert (await as_key(api, "two", "GET", path)).status == 404
    assert (await as_key(api, "two", "PATCH", path, json={"provider": "twilio"})).status == 404


async def test_a_number_of_vapis_own_is_given(api: Http) -> None:
    number = await made(api, "/phone-number", {"provider": "vapi", "name": "Desk"})
    assert number["number"].startswith("+13035550")
    assert [each["id"] for each in (await as_key(api, "one", "GET", "/phone-number")).json] == [number["id"]]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"provider": "pigeon"},
        {"provider": 1},
        {"provider": "twilio", "number": "+13035550142"},
        {"provider": "twilio", "twilioAccountSid": "AC"},
        {**TWILIO, "number": "3035550142"},
        {**TWILIO, "name": "x" * 41},
        {**TWILIO, "id": "mine"},
    ],
)
async def test_what_a_phone_number_cannot_be(api: Http, body: dict[str, Any]) -> None:
    answer = await as_key(api, "one", "POST", "/phone-number", json=body)
    assert (answer.status, answer.json["statusCode"]) == (400, 400)


async def test_an_outbound_call_is_queued_and_listed(api: Http) -> None:
    wanted = {"assistantId": "a1", "phoneNumberId": "p1", "customer": {"number": "+12135550123"}}
    call = await made(api, "/call", wanted)
    assert (call["status"], call["type"], call["cost"]) == ("queued", "outboundPhoneCall", 0)
    assert (await as_key(api, "one", "GET", f"/call/{call['id']}")).json == call
    await made(api, "/call", {**wanted, "assistantId": "a2"})
    listed = (await as_key(api, "one", "GET", "/call?assistantId=a1")).json
    assert [each["id"] for each in listed] == [call["id"]]
    assert len((await as_key(api, "one", "GET", "/call?phoneNumberId=p1")).json) == 2
    assert (await as_key(api, "two", "GET", "/call")).json == []


@pytest.mark.parametrize("missing", ["assistantId", "phoneNumberId", "customer"])
async def test_an_outbound_call_needs_both_ends(api: Http, missing: str) -> None:
    wanted = {"assistantId": "a1", "phoneNumberId": "p1", "customer": {"number": "+12135550123"}}
    del wanted[missing]
    assert (await as_key(api, "one", "POST", "/call", json=wanted)).status == 400

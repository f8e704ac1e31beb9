"""Vapi away, refusing or lying, a process dying: the answer is clear, and both ends are as they were, or it says what is not."""

import asyncio
from typing import Any

import pytest

from api.wiring import Wiring
from runtime.ids import TenantId
from tests.api.effects import Effects
from tests.api.processes import Process
from tests.api.vapi_side import Side, another

DOWN = {"status": 503, "body": "<html>"}
CASES: dict[str, tuple[dict[str, Any], int, str]] = {
    "key wrong": ({"status": 401}, 400, "/configure_vapi"),
    "key may not": ({"status": 403}, 400, "/configure_vapi"),
    "unknown": ({"status": 404}, 400, "/vapi_assistant_id"),
    "busy": ({"status": 429, "headers": {"Retry-After": "17"}}, 503, ""),
    "failing": ({"status": 500}, 502, ""),
    "away": ({"status": 503}, 502, ""),
    "redirecting": ({"status": 302, "headers": {"Location": "https://example.com/"}}, 502, ""),
    "no JSON": ({"status": 200, "body": "<html>"}, 502, ""),
    "another shape": ({"status": 200, "body": "[[1]]"}, 502, ""),
    "deep": ({"status": 200, "body": "[" * 100_000}, 502, ""),
    "too slow": ({"seconds": 1.5}, 504, ""),
}
REFUSING = {
    "conflict": ({"status": 409}, 409, ""),
    "not taken": ({"status": 400, "body": '{"message": ["no", "server"]}'}, 400, "/configure_vapi"),
}
READING = {"GET of the assistant": ("/assistant", "GET", 0), "GET of the tools": ("/tool", "GET", 0)}
CHANGING = {"first tool": ("/tool", "POST", 0), "second tool": ("/tool", "POST", 1), "change": ("/assistant", "PATCH", 0)}
BEFORE = [(step, CASES | ({} if step in READING else REFUSING)) for step in READING | CHANGING]


@pytest.fixture(autouse=True)
def impatient(beside_vapi: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside_vapi.wiring.vapi, "_total", 0.5)


async def nothing_is_left(side: Side, effects: Effects) -> None:
    assert side.untouched
    assert await side.mine() == []
    for table, of in (("assistants", 1), ("webhook_credentials", 1), ("control.assistant_routes", 1)):
        assert await effects.owner.fetchval(f"SELECT count(*) FROM {table} WHERE tenant_id = $1", side.tenant.id) == of  # its other one


@pytest.mark.parametrize(("step", "case"), [(step, case) for step, cases in BEFORE for case in cases])
async def test_at_every_step_nothing_is_left(step: str, case: str, side: Side, effects: Effects) -> None:
    path, method, skip = (READING | CHANGING)[step]
    fault, status, pointer = (CASES | REFUSING)[case]
    if path == "/tool" and case == "unknown":  # not the assistant
        status, pointer = 502, ""
    side.goes_wrong(path, method, skip=skip, times=1, **fault)
    answer = await side.register(install_tools=True)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert [each["pointer"] for each in answer.json().get("errors", [])] == ([pointer] if pointer else [])
    assert "could not be put back" not in answer.json()["detail"]
    assert answer.headers.get("retry-after") == ("17" if status == 503 else None)
    await nothing_is_left(side, effects)
    side.all_is_well()
    assert (await side.register(install_tools=True)).status_code == 201  # and it may be sent again


@pytest.mark.parametrize("case", ["failing", "no JSON", "too slow", "key wrong"])
async def test_when_it_cannot_be_read_back_it_is_put_back(case: str, side: Side, effects: Effects) -> None:
    fault, status, pointer = CASES[case]
    side.goes_wrong("/assistant", "GET", skip=2, times=1, **fault)
    answer = await side.register(install_tools=True)
    assert (answer.status_code, [each["pointer"] for each in answer.json().get("errors", [])]) == (status, [pointer] if pointer else [])
    await nothing_is_left(side, effects)


async def test_a_change_that_was_only_said_to_be_made_is_noticed(side: Side, effects: Effects) -> None:
    side.goes_wrong("/assistant", "PATCH", lies=True)
    answer = await side.register()
    assert (answer.status_code, "does not show it: server, serverMessages" in answer.json()["detail"]) == (502, True)
    await nothing_is_left(side, effects)


async def test_a_tool_that_was_only_said_to_be_made_is_noticed(side: Side, effects: Effects) -> None:
    side.goes_wrong("/tool", "POST", lies=True, status=201)
    assert (await side.register(install_tools=True)).status_code == 502
    await nothing_is_left(side, effects)


@pytest.mark.parametrize("fault", [{"done": True, "status": 500}, {"done": True, "seconds": 1.0}], ids=["failed", "lost"])
async def test_a_change_whose_answer_was_lost_is_taken_back(fault: dict[str, Any], side: Side, effects: Effects) -> None:
    side.goes_wrong("/assistant", "PATCH", times=1, **fault)
    assert (await side.register()).status_code in (502, 504)
    await nothing_is_left(side, effects)


async def test_what_could_not_be_put_back_is_told_and_goes_on_working(side: Side, effects: Effects) -> None:
    """The change is made, then Vapi goes away for good: calls come here with the new secret, so the registration stays."""
    side.goes_wrong("/assistant", "GET", skip=2, **DOWN)
    side.goes_wrong("/assistant", "PATCH", skip=1, **DOWN)
    answer = await side.register()
    assert (answer.status_code, "could not be put back" in answer.json()["detail"]) == (502, True)
    assert side.shown["server"]["url"] == side.url
    assert len(await side.mine()) == 1
    assert await side.delivery() == 200
    side.all_is_well()
    made = await side.registered()  # the same request takes it over
    assert len(await side.mine()) == 1
    assert side.shown["server"]["headers"]["Authorization"] == f"Bearer {made['auth']['secret']}"
    assert await side.delivery() == 200
    assert (await side.tenant.post(f"/v1/assistants/{made['id']}/restore", {})).json() == {"restored": True}
    assert side.untouched  # what stood there before the first try
    assert await effects.owner.fetchval("SELECT vapi_before_sealed FROM assistants WHERE id = $1", made["id"]) is None


async def test_what_could_not_be_put_back_can_be_put_back_later(side: Side) -> None:
    side.goes_wrong("/assistant", "GET", skip=2, **DOWN)
    side.goes_wrong("/assistant", "PATCH", skip=1, **DOWN)
    assert (await side.register()).status_code == 502
    side.all_is_well()
    (mine,) = await side.mine()
    assert (await side.tenant.ask("DELETE", f"/v1/assistants/{mine['id']}?restore_vapi=true")).status_code == 204
    assert side.untouched
    assert await side.mine() == []


@pytest.mark.parametrize("at", ["before the change", "after the change"])
async def test_whoever_comes_after_a_process_that_died_takes_over(at: str, side: Side, effects: Effects) -> None:
    where = ("PATCH", 0) if at == "before the change" else ("GET", 2)
    side.goes_wrong("/assistant", where[0], skip=where[1], seconds=5.0)
    dying = asyncio.create_task(side.tenant.post("/v1/assistants", side.body(), Idempotency_Key="k-1"))
    while f"PATCH /assistant/{side.vapi_id}" not in side.vapi.path_faults.seen:  # noqa: ASYNC110  the sandbox tells nobody
        await asyncio.sleep(0.02)
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    side.all_is_well()
    assert (await side.tenant.post("/v1/assistants", side.body(), Idempotency_Key="k-1")).status_code == 409  # its lease still runs
    assert len(await side.mine()) == 1
    await effects.owner.execute("UPDATE assistants SET vapi_lease_until = app.now() WHERE tenant_id = $1", side.tenant.id)
    answer = await side.tenant.post("/v1/assistants", side.body(), Idempotency_Key="k-1")
    assert answer.status_code == 201
    assert side.shown["server"]["headers"]["Authorization"] == f"Bearer {answer.json()['auth']['secret']}"
    assert len(await side.mine()) == 1
    assert (await side.tenant.post(f"/v1/assistants/{answer.json()['id']}/restore", {})).json() == {"restored": True}
    assert side.untouched


async def test_one_that_lost_its_lease_does_not_close_anothers_books(side: Side, effects: Effects) -> None:
    made = await side.registered()
    side.goes_wrong("/assistant", "PATCH", seconds=0.3)
    rotating = asyncio.create_task(side.tenant.post(f"/v1/assistants/{made['id']}/rotate-secret", {"configure_vapi": True}))
    await asyncio.sleep(0.1)
    await effects.owner.execute("UPDATE assistants SET vapi_owner = gen_random_uuid() WHERE tenant_id = $1", side.tenant.id)
    assert (await rotating).status_code == 409
    assert await side.delivery() == 200  # whichever secret Vapi has, it is one of ours


@pytest.mark.parametrize("echo", ["the key", "the secret"])
async def test_vapis_words_are_passed_on_but_no_secret(echo: str, side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    from sandbox.vapi import assistants  # noqa: PLC0415
    from sandbox.vapi.refusals import Refusal, object_in  # noqa: PLC0415

    async def refuses(request: Any) -> Any:
        server = (await object_in(request)).get("server") or {}
        told = request.headers["Authorization"] if echo == "the key" else server["headers"]["Authorization"]
        raise Refusal(400, [f"server.headers must not be\n{told}"])

    monkeypatch.setattr(assistants, "_wanted", refuses)
    answer = await side.register()
    assert answer.status_code == 400
    assert side.key not in answer.text
    assert "whs_" not in answer.text
    assert "they are not shown" in answer.json()["errors"][0]["detail"]
    side.all_is_well()


async def test_vapis_words_are_one_short_line(side: Side) -> None:
    side.goes_wrong("/assistant", "PATCH", status=400, body='{"message": ["server.url\\n must be\\u0007 an URL", "' + "x" * 5000 + '"]}')
    detail = (await side.register()).json()["errors"][0]["detail"]
    assert "server.url must be an URL" in detail
    assert len(detail) < 400
    assert detail.isprintable()


async def test_a_key_that_cannot_be_opened_is_told(side: Side, effects: Effects) -> None:
    await effects.owner.execute("UPDATE vapi_accounts SET api_key_sealed = 'gone:AAAA' WHERE tenant_id = $1", side.tenant.id)
    answer = await side.register()
    assert (answer.status_code, "PUT /v1/vapi" in answer.json()["detail"]) == (409, True)


async def test_a_rotation_that_vapi_does_not_take_leaves_the_old_secret(side: Side, effects: Effects, beside_vapi: Process) -> None:
    made = await side.registered()
    side.goes_wrong("/assistant", "PATCH", status=500, times=1)
    path = f"/v1/assistants/{made['id']}/rotate-secret"
    assert (await side.tenant.post(path, {"grace_seconds": 0, "configure_vapi": True})).status_code == 502
    assert side.shown["server"]["headers"]["Authorization"] == f"Bearer {made['auth']['secret']}"
    assert await side.delivery() == 200
    wiring: Wiring = beside_vapi.wiring
    snapshot = await wiring.tenants.by_id(TenantId(side.tenant.id))  # type: ignore[arg-type]  # as text
    assert snapshot is None or len(snapshot.credentials) >= 1
    live = "SELECT count(*) FROM webhook_credentials WHERE tenant_id = $1 AND assistant_id = $2 AND valid_until > app.now()"
    assert await effects.owner.fetchval(live, side.tenant.id, made["id"]) == 1


async def test_a_rotation_in_doubt_leaves_both_secrets(side: Side) -> None:
    made = await side.registered()
    side.goes_wrong("/assistant", "GET", skip=1, **DOWN)
    side.goes_wrong("/assistant", "PATCH", skip=1, **DOWN)
    path = f"/v1/assistants/{made['id']}/rotate-secret"
    answer = await side.tenant.post(path, {"grace_seconds": 0, "configure_vapi": True})
    assert (answer.status_code, "could not be put back" in answer.json()["detail"]) == (502, True)
    assert side.shown["server"]["headers"]["Authorization"] != f"Bearer {made['auth']['secret']}"
    assert await side.delivery() == 200
    assert (await side.tenant.webhook({}, made["auth"]["secret"])).status_code == 400
    more = await another(side.tenant, side.vapi, side.key)
    assert more.untouched

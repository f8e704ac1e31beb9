"""Registering an assistant and pointing it here at Vapi: what is ours changes, what is not stays, and only who may can."""

import asyncio
from copy import deepcopy
from typing import Any

import pytest

from runtime.fresh import OLDEST_SECONDS
from runtime.settings import Settings
from sandbox.vapi.refusals import organisation_of
from tests.api.effects import Effects
from tests.api.people import ADMIN_KEY, Person
from tests.api.processes import Process, running
from tests.api.vapi_side import OPERATORS, Side, another, new_side

MESSAGES = {"tool-calls", "status-update", "end-of-call-report", "transfer-destination-request", "handoff-destination-request"}


async def test_an_assistant_is_registered_and_points_here(side: Side) -> None:
    answer = await side.registered()
    assert answer["vapi"] == {"changed": ["server", "serverMessages"], "live": True}
    server = side.shown["server"]
    assert server["url"] == side.url == answer["webhook_url"]
    assert server["headers"]["Authorization"] == f"Bearer {answer['auth']['secret']}"
    assert server["timeoutSeconds"] == 20
    assert server["backoffPlan"] == {
        "type": "exponential",
        "maxRetries": 3,
        "baseDelaySeconds": 1,
        "excludedStatusCodes": [400, 401, 403, 404, 413, 422],
    }
    assert set(side.shown["serverMessages"]) == MESSAGES
    assert await side.delivery() == 200


async def test_what_is_not_ours_stays(side: Side) -> None:
    await side.registered()
    assert side.shown["server"]["headers"]["X-Theirs"] == "their own secret"
    assert "authorization" not in side.shown["server"]["headers"]
    for name in ("name", "firstMessage", "model", "hooks"):
        assert side.shown[name] == side.original[name]


async def test_a_longer_timeout_stays_and_slow_tools_make_it_longer(side: Side) -> None:
    side.shown["server"] = {**side.shown["server"], "timeoutSeconds": 120}
    await side.registered()
    assert side.shown["server"]["timeoutSeconds"] == 120
    slow = {"url": "https://tools.example.com/book", "timeout_ms": 15_000}
    assert (await side.tenant.ask("PUT", "/v1/tools/book", slow)).status_code == 200
    more = await another(side.tenant, side.vapi, side.key)
    await more.registered()
    assert more.shown["server"]["timeoutSeconds"] == 25


async def test_tools_are_made_once_and_joined_to_those_that_are_there(side: Side) -> None:
    side.shown["model"] = {**side.shown["model"], "toolIds": ["a-tool-of-theirs"]}
    answer = await side.registered(install_tools=True)
    assert answer["vapi"]["changed"] == ["server", "serverMessages", "model"]
    made = {tool["function"]["name"]: number for number, tool in side.tools.items()}
    assert {"send_sms", "current_time"} <= made.keys()
    assert side.shown["model"] == {**side.original["model"], "toolIds": ["a-tool-of-theirs", *made.values()]}
    assert all("server" not in tool for tool in side.tools.values())  # their calls go where the assistant's messages go
    second = await another(side.tenant, side.vapi, side.key)
    await second.registered(install_tools=True)
    assert second.shown["model"]["toolIds"] == list(made.values())
    assert len(second.tools) == len(made)


async def test_the_tenants_own_tools_that_are_described_are_joined_too(side: Side) -> None:
    book = {"url": "https://tools.example.com/book", "description": "Books a table."}
    assert (await side.tenant.ask("PUT", "/v1/tools/book", book)).status_code == 200
    assert (await side.tenant.ask("PUT", "/v1/tools/hidden", {"url": "https://tools.example.com/x"})).status_code == 200
    await side.registered(install_tools=True)
    joined = {side.tools[number]["function"]["name"] for number in side.shown["model"]["toolIds"]}
    assert "book" in joined
    assert "hidden" not in joined


async def test_a_tool_whose_description_changed_is_replaced_in_this_assistant(side: Side) -> None:
    await side.registered(install_tools=True)
    other = await another(side.tenant, side.vapi, side.key)
    await other.registered(install_tools=True)
    (old,) = [number for number, tool in side.tools.items() if tool["function"]["name"] == "send_sms"]
    side.tools[old]["function"]["description"] = "As it was described before."
    (mine,) = await side.mine()
    assert (await side.tenant.post(f"/v1/assistants/{mine['id']}/check", {"mend": True, "install_tools": True})).status_code == 200
    assert old not in side.shown["model"]["toolIds"]
    assert old in other.shown["model"]["toolIds"]
    names = [side.tools[number]["function"]["name"] for number in side.shown["model"]["toolIds"]]
    assert len(names) == len(set(names)) == len(side.shown["model"]["toolIds"])


@pytest.mark.parametrize("where", ["joined", "inline"])
async def test_a_tool_of_the_same_name_that_goes_elsewhere_stands_in_the_way(where: str, side: Side) -> None:
    tool: dict[str, Any] = {"type": "function", "function": {"name": "send_sms"}, "server": {"url": "https://else.example.com/x"}}
    if where == "joined":
        made = side.vapi.tools_api.shelf.add(organisation_of(side.key), tool)
        side.shown["model"] = {**side.shown["model"], "toolIds": [made["id"]]}
    else:
        side.shown["model"] = {**side.shown["model"], "tools": [tool]}
    before = deepcopy(side.shown)
    answer = await side.register(install_tools=True)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/install_tools")
    assert side.shown == before
    assert await side.mine() == []
    assert len(side.tools) == (where == "joined")


async def test_a_change_that_is_only_a_draft_is_told(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    await side.registered()
    monkeypatch.setattr(side.vapi.assistants_api, "publishes", False)
    more = await another(side.tenant, side.vapi, side.key)
    answer = await more.registered()
    assert answer["vapi"]["live"] is False
    found = (await side.tenant.post(f"/v1/assistants/{answer['id']}/check", {})).json()
    assert (found["ok"], found["findings"][0]["what"]) == (False, "latestVersion")
    more.shown["latestVersion"] += 1  # somebody published it
    assert (await side.tenant.post(f"/v1/assistants/{answer['id']}/check", {})).json() == {"ok": True, "findings": [], "changed": []}


async def test_without_a_key_nothing_is_asked(side: Side) -> None:
    assert (await side.tenant.ask("DELETE", "/v1/vapi")).status_code == 204
    answer = await side.register()
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/configure_vapi")
    assert side.vapi.path_faults.seen == []
    assert await side.mine() == []


async def test_another_tenant_cannot_point_it_elsewhere(side: Side, beside_vapi: Process) -> None:
    await side.registered()
    before = deepcopy(side.shown)
    other = await new_side(beside_vapi.http, side.vapi)
    answer = await other.tenant.post("/v1/assistants", side.body())
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/vapi_assistant_id")
    assert side.shown == before
    assert [each["vapi_assistant_id"] for each in (await other.tenant.get("/v1/assistants")).json()["items"]] == [
        other.tenant.assistant["vapi_assistant_id"]
    ]
    (mine,) = await side.mine()
    for path in ("check", "restore"):
        assert (await other.tenant.post(f"/v1/assistants/{mine['id']}/{path}", {})).status_code == 404
    assert (await other.tenant.ask("DELETE", f"/v1/assistants/{mine['id']}?restore_vapi=true")).status_code == 404
    assert (await other.tenant.post(f"/v1/assistants/{mine['id']}/rotate-secret", {"configure_vapi": True})).status_code == 404
    assert side.shown == before


async def test_the_operators_key_serves_the_operator_only(side: Side) -> None:
    operators = await another(side.tenant, side.vapi, OPERATORS)
    assert (await operators.register()).status_code == 400  # the tenant's own key does not see it
    assert (await side.tenant.ask("DELETE", "/v1/vapi")).status_code == 204
    assert (await operators.register()).status_code == 400  # and no other is used in its name
    assert operators.untouched
    admin = Person(side.tenant.http, ADMIN_KEY)
    answer = await admin.ask("POST", "/v1/assistants", operators.body(), X_Tenant=side.tenant.slug)
    assert answer.status_code == 201, answer.text
    assert operators.shown["server"]["url"] == operators.url


async def test_two_at_once_meet(side: Side) -> None:
    side.goes_wrong("/assistant", "PATCH", seconds=0.3)
    answers = await asyncio.gather(*(side.register(install_tools=True) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    (won,) = [answer.json() for answer in answers if answer.status_code == 201]
    assert side.shown["server"]["headers"]["Authorization"] == f"Bearer {won['auth']['secret']}"
    assert len({tool["function"]["name"] for tool in side.tools.values()}) == len(side.tools)
    assert await side.delivery() == 200


async def test_nobody_changes_what_is_being_configured(side: Side) -> None:
    made = await side.registered()
    side.goes_wrong("/assistant", "PATCH", seconds=0.5)
    path = f"/v1/assistants/{made['id']}"
    rotating = asyncio.create_task(side.tenant.post(f"{path}/rotate-secret", {"configure_vapi": True}))
    await asyncio.sleep(0.2)
    assert (await side.tenant.ask("DELETE", path)).status_code == 409
    assert (await side.tenant.post(f"{path}/rotate-secret", {})).status_code == 409
    assert (await side.tenant.post(f"{path}/check", {"mend": True})).status_code == 409
    assert (await rotating).status_code == 200


async def test_no_connection_is_held_while_vapi_is_asked(side: Side, beside_vapi: Process) -> None:
    side.goes_wrong("/assistant", "", seconds=0.3)
    registering = asyncio.create_task(side.tenant.post("/v1/assistants", side.body(), Idempotency_Key="k-1"))
    engine, held = beside_vapi.wiring.database.engine, []
    while not registering.done():
        await asyncio.sleep(0.1)
        held.append(engine.pool.checkedout())  # type: ignore[attr-defined]  # of a queue pool
    assert (await registering).status_code == 201
    assert held.count(0) > len(held) // 2


async def test_the_same_key_gets_the_same_answer(side: Side) -> None:
    first = await side.tenant.post("/v1/assistants", side.body(), Idempotency_Key="k-1")
    asked = len(side.vapi.path_faults.seen)
    again = await side.tenant.post("/v1/assistants", side.body(), Idempotency_Key="k-1")
    assert first.status_code == again.status_code == 201
    assert (first.content, again.headers["idempotent-replayed"]) == (again.content, "true")
    assert first.headers["content-type"] == again.headers["content-type"]
    assert len(side.vapi.path_faults.seen) == asked
    other = await side.tenant.post("/v1/assistants", side.body(name="Other"), Idempotency_Key="k-1")
    assert other.status_code == 422


async def test_a_refused_request_may_be_sent_again_under_its_key(side: Side) -> None:
    side.goes_wrong("/assistant", "PATCH", status=500)
    assert (await side.tenant.post("/v1/assistants", side.body(), Idempotency_Key="k-1")).status_code == 502
    side.all_is_well()
    assert (await side.tenant.post("/v1/assistants", side.body(), Idempotency_Key="k-1")).status_code == 201


async def test_a_secret_works_everywhere_before_vapi_learns_it(settings: Settings, beside_vapi: Process, side: Side) -> None:
    """Two processes; the other one has just looked the tenant up, and is asked the moment Vapi has the new secret."""
    async with running(settings) as elsewhere:
        made = await side.registered()
        beside_vapi.wiring.configuring.setup.settle = OLDEST_SECONDS
        path = f"/v1/assistants/{made['id']}/rotate-secret"
        await side.tenant.webhook({}, made["auth"]["secret"], elsewhere.http)
        rotating = asyncio.create_task(side.tenant.post(path, {"grace_seconds": 60, "configure_vapi": True}))
        before = deepcopy(side.shown["server"]["headers"])
        while side.shown["server"]["headers"] == before:
            await side.tenant.webhook({}, made["auth"]["secret"], elsewhere.http)
            await asyncio.sleep(0.02)
        secret = side.shown["server"]["headers"]["Authorization"].removeprefix("Bearer ")
        assert (await side.tenant.webhook({}, secret, elsewhere.http)).status_code == 400  # known; there is no envelope
        assert (await rotating).json()["auth"]["secret"] == secret


async def test_what_was_done_is_audited_and_no_secret_is_written_in_clear(side: Side, effects: Effects) -> None:
    made = await side.registered(install_tools=True)
    rows = await effects.owner.fetch("SELECT action, detail::text FROM control.audit WHERE tenant_id = $1 ORDER BY id", side.tenant.id)
    assert [row["action"] for row in rows][-2:] == ["assistant.registered", "assistant.configured"]
    stored = str(await effects.owner.fetch("SELECT to_jsonb(a)::text FROM assistants AS a WHERE tenant_id = $1", side.tenant.id))
    for text in (stored, str(rows)):
        for secret in (made["auth"]["secret"], side.key, "their own secret", "Basic abc"):
            assert secret not in text


@pytest.mark.parametrize(
    ("body", "pointer"),
    [({"install_tools": True, "configure_vapi": False}, "/install_tools"), ({"configure_vapi": "yes"}, "/configure_vapi")],
    ids=str,
)
async def test_a_wish_that_means_nothing_is_refused(body: dict[str, Any], pointer: str, side: Side) -> None:
    answer = await side.register(**body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, pointer)
    assert side.untouched


async def test_a_secret_of_the_users_own_goes_to_vapi(side: Side) -> None:
    answer = await side.registered(auth={"mode": "bearer", "secret": "a-secret-that-the-user-made"})
    assert answer["auth"]["secret"] == "a-secret-that-the-user-made"
    assert side.shown["server"]["headers"]["Authorization"] == "Bearer a-secret-that-the-user-made"
    assert await side.delivery() == 200


@pytest.mark.parametrize("auth", [{"mode": "hmac"}, {"header_name": "X-Proof"}, {"bearer_prefix": False}], ids=str)
async def test_a_credential_that_only_the_dashboard_makes_is_refused(auth: dict[str, Any], side: Side) -> None:
    answer = await side.register(auth=auth)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/configure_vapi")
    assert side.untouched
    assert await side.mine() == []


async def test_of_a_signing_assistant_all_but_the_credential_is_checked_and_mended(side: Side) -> None:
    body = {"vapi_assistant_id": side.vapi_id, "name": "Desk", "auth": {"mode": "hmac"}}
    made = (await side.tenant.post("/v1/assistants", body)).json()
    path = f"/v1/assistants/{made['id']}"
    mended = (await side.tenant.post(f"{path}/check", {"mend": True})).json()
    assert [each["what"] for each in mended["findings"]] == ["server.credentialId"]
    assert side.shown["server"]["url"] == side.url
    assert side.shown["server"]["headers"] == side.original["server"]["headers"]
    side.shown["server"] = {**side.shown["server"], "credentialId": "made in the dashboard"}
    assert (await side.tenant.post(f"{path}/check", {})).json()["ok"] is True
    assert (await side.tenant.post(f"{path}/rotate-secret", {"configure_vapi": True})).status_code == 400
    assert (await side.tenant.post(f"{path}/rotate-secret", {})).status_code == 200


async def test_a_secret_of_the_whole_tenant_is_as_good(side: Side) -> None:
    made = await side.registered()
    whole = await side.tenant.ask("PUT", "/v1/webhook-credential", {"auth": {"mode": "bearer"}})
    side.shown["server"] = {**side.shown["server"], "headers": {"Authorization": f"Bearer {whole.json()['auth']['secret']}"}}
    found = (await side.tenant.post(f"/v1/assistants/{made['id']}/check", {})).json()
    assert (found["ok"], [each["severity"] for each in found["findings"]]) == (True, ["warning"])
    assert await side.delivery() == 200

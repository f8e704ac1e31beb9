"""What is wrong with an assistant at Vapi today, mending it, putting back what stood there before, and new secrets."""

from copy import deepcopy
from typing import Any

import httpx
import pytest

from sandbox.vapi.refusals import organisation_of
from tests.api.effects import Effects
from tests.api.people import ADMIN_KEY, Person
from tests.api.vapi_side import ELSEWHERE, OPERATORS, Side, another


async def check(side: Side, made: dict[str, Any], **body: Any) -> dict[str, Any]:
    answer = await side.tenant.post(f"/v1/assistants/{made['id']}/check", body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def whats(found: dict[str, Any]) -> list[str]:
    return [each["what"] for each in found["findings"]]


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "goes elsewhere": ({"server": {"url": "https://user:pw@else.example.com/hook?token=hidden"}}, "server.url", "error"),
    "no header": ({"server": {"headers": {}}}, "server.headers.Authorization", "error"),
    "another header": ({"server": {"headers": {"AUTHORIZATION": "Bearer hidden"}}}, "server.headers.Authorization", "error"),
    "too little time": ({"server": {"timeoutSeconds": 5}}, "server.timeoutSeconds", "error"),
    "no plan": ({"server": {"backoffPlan": None}}, "server.backoffPlan", "error"),
    "a plan of no use": (
        {"server": {"backoffPlan": {"type": "fixed", "maxRetries": 0, "excludedStatusCodes": []}}},
        "server.backoffPlan",
        "error",
    ),
    "a plan that repeats refusals": (
        {"server": {"backoffPlan": {"maxRetries": 3, "excludedStatusCodes": [404]}}},
        "server.backoffPlan",
        "error",
    ),
    "nonsense for a plan": ({"server": {"backoffPlan": {"maxRetries": 3, "excludedStatusCodes": [{}, []]}}}, "server.backoffPlan", "error"),
    "subscribed to what takes over": (
        {"serverMessages": ["tool-calls", "status-update", "end-of-call-report", "phone-call-control"]},
        "serverMessages.phone-call-control",
        "error",
    ),
    "subscribed to too little": ({"serverMessages": ["tool-calls"]}, "serverMessages", "error"),
    "subscribed to nothing in particular": ({"serverMessages": None}, "serverMessages", "warning"),
    "no server at all": ({"server": None}, "server.url", "error"),
}


def spoiled(shown: dict[str, Any], change: dict[str, Any]) -> None:
    for name, value in change.items():
        shown[name] = {**shown[name], **value} if isinstance(value, dict) else value


@pytest.mark.parametrize("case", WRONG)
async def test_what_is_wrong_is_found_and_mended(case: str, side: Side) -> None:
    made = await side.registered()
    assert await check(side, made) == {"ok": True, "findings": [], "changed": []}
    change, what, severity = WRONG[case]
    spoiled(side.shown, change)
    before = deepcopy(side.shown)
    found = await check(side, made)
    assert side.shown == before  # looking changes nothing
    (finding,) = [each for each in found["findings"] if each["what"] == what]
    assert (finding["severity"], finding["mendable"]) == (severity, True)
    assert found["ok"] is (severity == "warning")
    for secret in ("hidden", "user:pw", "their own secret", made["auth"]["secret"], side.key):
        assert secret not in str(found)
    mended = await check(side, made, mend=True)
    assert mended == {"ok": True, "findings": [], "changed": list(change)}
    assert await side.delivery() == 200
    assert await check(side, made, mend=True) == {"ok": True, "findings": [], "changed": []}


async def test_what_cannot_be_mended_from_here_is_told(side: Side) -> None:
    made = await side.registered()
    tool = {"type": "function", "function": {"name": "send_sms"}, "server": {"url": "https://else.example.com/x?key=hidden"}}
    joined = side.vapi.tools_api.shelf.add(organisation_of(side.key), tool)
    side.shown.update(name="x" * 41, model={**side.shown["model"], "toolIds": [joined["id"]]})
    side.shown["server"] = {**side.shown["server"], "encryptedPaths": ["a"]}
    found = await check(side, made)
    assert sorted(whats(found)) == ["name", "server.encryptedPaths", "tool send_sms server.url"]
    assert not any(each["mendable"] for each in found["findings"])
    assert "hidden" not in str(found)
    assert found["ok"] is True


async def test_an_assistant_that_was_registered_by_hand_is_configured_by_mending(side: Side) -> None:
    answer = await side.tenant.post("/v1/assistants", {"vapi_assistant_id": side.vapi_id, "name": "Front desk"})
    made = answer.json()
    assert "server.url" in whats(await check(side, made))
    assert (await check(side, made, mend=True, install_tools=True))["changed"] == ["server", "serverMessages", "model"]
    assert await side.delivery() == 200
    assert (await side.tenant.post(f"/v1/assistants/{made['id']}/restore", {})).json() == {"restored": True}
    assert side.shown["server"] == side.original["server"]


async def test_a_check_of_what_vapi_does_not_know_or_show_is_a_problem(side: Side) -> None:
    own = side.tenant.assistant
    unknown = await side.tenant.post(f"/v1/assistants/{own['id']}/check", {})
    assert (unknown.status_code, unknown.json()["errors"][0]["pointer"]) == (400, "")
    made = await side.registered()
    side.goes_wrong("/tool", "GET", status=500)
    assert (await side.tenant.post(f"/v1/assistants/{made['id']}/check", {})).status_code == 502
    assert (await side.tenant.post(f"/v1/assistants/{made['id']}/check", {"install_tools": True})).status_code == 400
    assert (await side.tenant.ask("DELETE", "/v1/vapi")).status_code == 204
    assert (await side.tenant.post(f"/v1/assistants/{made['id']}/check", {})).status_code == 400
    admin = Person(side.tenant.http, ADMIN_KEY)
    side.all_is_well()
    theirs = await admin.ask("POST", f"/v1/assistants/{made['id']}/check", {}, X_Tenant=side.tenant.slug)
    assert theirs.status_code == 400  # the operator's organisation does not have it


async def test_a_failed_mending_changes_nothing(side: Side) -> None:
    made = await side.registered()
    side.shown["serverMessages"] = ["tool-calls"]
    before = deepcopy(side.shown)
    side.goes_wrong("/assistant", "GET", skip=1, times=1, status=500)
    answer = await side.tenant.post(f"/v1/assistants/{made['id']}/check", {"mend": True, "install_tools": True})
    assert answer.status_code == 502
    counted = ("updatedAt", "latestVersion")
    assert {k: v for k, v in side.shown.items() if k not in counted} == {k: v for k, v in before.items() if k not in counted}
    assert side.tools == {}
    assert (await check(side, made, mend=True))["ok"] is True


async def test_a_mending_under_a_key_is_done_once(side: Side) -> None:
    made = await side.registered()
    side.shown["serverMessages"] = ["tool-calls"]
    path = f"/v1/assistants/{made['id']}/check"
    first = await side.tenant.post(path, {"mend": True}, Idempotency_Key="k-1")
    asked = len(side.vapi.path_faults.seen)
    again = await side.tenant.post(path, {"mend": True}, Idempotency_Key="k-1")
    assert (first.content, again.headers["idempotent-replayed"]) == (again.content, "true")
    assert len(side.vapi.path_faults.seen) == asked


async def restore(side: Side, made: dict[str, Any], **headers: str) -> httpx.Response:
    return await side.tenant.post(f"/v1/assistants/{made['id']}/restore", {}, **headers)


async def test_what_stood_there_is_put_back(side: Side) -> None:
    """What others changed in the meantime, in fields that are not ours or among its tools, stays."""
    side.shown["model"] = {**side.shown["model"], "toolIds": ["theirs"]}
    made = await side.registered(install_tools=True)
    side.shown["model"] = {**side.shown["model"], "toolIds": [*side.shown["model"]["toolIds"], "later"], "temperature": 1}
    side.shown["firstMessage"] = "Good day."
    answer = await restore(side, made, Idempotency_Key="k-1")
    assert (answer.status_code, answer.json()) == (200, {"restored": True})
    assert side.shown["server"] == side.original["server"]
    assert side.shown["serverMessages"] == side.original["serverMessages"]
    assert side.shown["model"] == {**side.original["model"], "toolIds": ["theirs", "later"], "temperature": 1}
    assert side.shown["firstMessage"] == "Good day."
    again = await restore(side, made, Idempotency_Key="k-1")
    assert (again.content, again.headers["idempotent-replayed"]) == (answer.content, "true")
    assert (await restore(side, made)).status_code == 409  # there is nothing more to put back
    assert len(await side.mine()) == 1


async def test_an_assistant_without_any_server_has_none_again(side: Side) -> None:
    bare = await another(side.tenant, side.vapi, side.key)
    for name in ("server", "serverMessages"):
        del bare.shown[name]
    made = await bare.registered()
    assert (await restore(bare, made)).json() == {"restored": True}
    assert not bare.shown["server"]
    assert not bare.shown["serverMessages"]


async def test_what_points_elsewhere_by_now_is_left_alone(side: Side) -> None:
    made = await side.registered()
    side.shown["server"] = {"url": ELSEWHERE + "/new"}
    before = deepcopy(side.shown)
    assert (await restore(side, made)).json() == {"restored": False}
    assert side.shown == before


async def test_removing_with_restoring_is_both_or_neither(side: Side) -> None:
    made = await side.registered()
    path = f"/v1/assistants/{made['id']}?restore_vapi=true"
    side.goes_wrong("/assistant", "PATCH", status=429, headers={"Retry-After": "9"})
    refused = await side.tenant.ask("DELETE", path)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "9")
    assert await side.delivery() == 200
    side.all_is_well()
    removed = [await side.tenant.ask("DELETE", path, Idempotency_Key="k-1") for _ in range(2)]
    assert [(each.status_code, each.content) for each in removed] == [(204, b"")] * 2
    assert removed[1].headers["idempotent-replayed"] == "true"
    assert side.untouched
    assert await side.mine() == []


async def test_a_new_secret_reaches_vapi_and_the_old_one_ends(side: Side) -> None:
    made = await side.registered()
    first = made["auth"]["secret"]
    path = f"/v1/assistants/{made['id']}/rotate-secret"
    answer = await side.tenant.post(path, {"grace_seconds": 60, "configure_vapi": True}, Idempotency_Key="k-1")
    assert (answer.status_code, answer.json()["vapi"]) == (200, {"changed": ["server"], "live": True})
    second = answer.json()["auth"]["secret"]
    assert side.shown["server"]["headers"]["Authorization"] == f"Bearer {second}" != f"Bearer {first}"
    assert side.shown["server"]["headers"]["X-Theirs"] == "their own secret"
    assert await side.delivery() == 200
    assert (await side.tenant.webhook({}, first)).status_code == 400  # within its grace
    again = await side.tenant.post(path, {"grace_seconds": 60, "configure_vapi": True}, Idempotency_Key="k-1")
    assert again.content == answer.content
    third = await side.tenant.post(path, {"grace_seconds": 0, "configure_vapi": True})
    assert third.status_code == 200
    for secret, status in ((first, 401), (second, 401), (third.json()["auth"]["secret"], 400)):
        assert (await side.tenant.webhook({}, secret)).status_code == status


async def test_a_secret_that_was_rotated_here_only_is_a_finding(side: Side) -> None:
    made = await side.registered()
    await side.tenant.post(f"/v1/assistants/{made['id']}/rotate-secret", {"grace_seconds": 600})
    (finding,) = (await check(side, made))["findings"]
    assert (finding["what"], finding["severity"]) == ("server.headers.Authorization", "warning")
    assert (await check(side, made, mend=True))["findings"] == []


async def test_the_operator_mends_for_a_tenant_with_its_own_key(side: Side, effects: Effects) -> None:
    operators = await another(side.tenant, side.vapi, OPERATORS)
    made = (await side.tenant.post("/v1/assistants", {"vapi_assistant_id": operators.vapi_id, "name": "Desk"})).json()
    assert (await side.tenant.ask("DELETE", "/v1/vapi")).status_code == 204
    assert (await side.tenant.post(f"/v1/assistants/{made['id']}/check", {"mend": True})).status_code == 400
    admin = Person(side.tenant.http, ADMIN_KEY)
    answer = await admin.ask("POST", f"/v1/assistants/{made['id']}/check", {"mend": True}, X_Tenant=side.tenant.slug)
    assert answer.json()["ok"] is True
    audit = await effects.owner.fetch("SELECT actor FROM control.audit WHERE action = 'assistant.configured' AND target = $1", made["id"])
    assert [row["actor"] for row in audit] == ["admin"]

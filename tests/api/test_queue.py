"""Bounds of a queue over HTTP: the operator sets them, a tenant sees them, a full queue answers 429 and a spoken sentence."""

from tests.api.people import Person, Tenant, new_tenant, tool_item, tool_message

TEXT = {"to": "+12135550123", "body": "See you Tuesday."}


async def test_a_full_queue_is_told_and_mends_itself(admin: Person, tenant: Tenant) -> None:
    other = await new_tenant(admin)
    path = f"/v1/admin/tenants/{tenant.id}/queue"
    assert (await admin.get(path)).json()["bounds"] == {"most_messages": 100_000, "most_seconds": 36_000, "policy": "refuse"}
    assert (await admin.ask("PUT", path, {"most_messages": 1})).status_code == 200
    assert (await tenant.post("/v1/messages", TEXT)).status_code == 202
    refused = await tenant.post("/v1/messages", TEXT)
    assert (refused.status_code, refused.headers["content-type"]) == (429, "application/problem+json")
    assert int(refused.headers["retry-after"]) >= 1
    assert "this tenant's queue may hold 1" in refused.json()["detail"]
    assert (await other.post("/v1/messages", TEXT)).status_code == 202
    shown = (await tenant.get("/v1/queue")).json()
    assert shown["bounds"]["most_messages"] == 1
    assert shown["due"] == {"otp": 0, "transactional": 1, "marketing": 0}
    assert (await admin.ask("PUT", path, {"policy": "drop_oldest_marketing"})).json()["most_messages"] == 100_000
    assert (await tenant.post("/v1/messages", TEXT)).status_code == 202


async def test_bounds_that_cannot_be_are_refused_with_their_place(admin: Person, tenant: Tenant) -> None:
    path = f"/v1/admin/tenants/{tenant.id}/queue"
    for body, pointer in [({"most_messages": 0}, "/most_messages"), ({"policy": "drop_all"}, "/policy")]:
        answer = await admin.ask("PUT", path, body)
        assert answer.status_code == 400
        assert [each["pointer"] for each in answer.json()["errors"]] == [pointer]
    assert (await tenant.ask("PUT", path, {})).status_code in (401, 403)
    assert (await admin.get("/v1/admin/tenants/01900000-0000-7000-8000-00000000dead/queue")).status_code == 404


async def test_a_model_is_told_politely_and_may_ask_again(admin: Person, tenant: Tenant) -> None:
    assert (await admin.ask("PUT", f"/v1/admin/tenants/{tenant.id}/queue", {"most_messages": 1})).status_code == 200
    assert (await tenant.post("/v1/messages", TEXT)).status_code == 202
    call = tool_message([tool_item("send_sms", {"body": "See you."})])
    told = (await tenant.webhook(call)).json()["results"][0]
    assert told["error"] == "Too many texts are waiting to leave just now, so this one was not accepted."
    assert (await admin.ask("PUT", f"/v1/admin/tenants/{tenant.id}/queue", {})).status_code == 200
    assert "result" in (await tenant.webhook(call)).json()["results"][0], "nothing was stored, so the same call runs now"

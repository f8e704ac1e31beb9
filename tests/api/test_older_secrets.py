"""Which secret ends when Vapi gets another: none that live calls may still use."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from runtime.fresh import OLDEST_SECONDS
from runtime.ids import TenantId
from runtime.settings import Settings
from tenants import assistants, vapi_setups
from tests.api.effects import Effects
from tests.api.processes import Process, running
from tests.api.test_half_configured import LIVE, acting
from tests.api.vapi_side import Side, another

OWN = "a-secret-that-the-user-made"


async def rotated(side: Side, made: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = await side.tenant.post(f"/v1/assistants/{made['id']}/rotate-secret", more)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def check(side: Side, made: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = await side.tenant.post(f"/v1/assistants/{made['id']}/check", more)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def knows(side: Side, secret: str) -> bool:
    """Whether we take a secret: the body is none, so that what is known is a 400."""
    return (await side.tenant.webhook({}, secret)).status_code == 400


async def test_a_failed_rotation_to_the_same_secret_leaves_it(side: Side) -> None:
    auth = {"mode": "bearer", "secret": OWN}
    made = await side.registered(auth=auth)
    side.shown["serverMessages"] = []
    side.goes_wrong("/assistant", "PATCH", status=500, times=1)
    body = {"grace_seconds": 0, "configure_vapi": True, "auth": auth}
    assert (await side.tenant.post(f"/v1/assistants/{made['id']}/rotate-secret", body)).status_code == 502
    assert await side.delivery() == 200


@pytest.mark.parametrize("mend", [True, False], ids=["mend", "check"])
async def test_a_rotation_that_is_a_draft_leaves_the_secret_that_calls_use(
    mend: bool, side: Side, effects: Effects, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await side.registered()
    first = made["auth"]["secret"]
    monkeypatch.setattr(side.vapi.assistants_api, "publishes", False)
    answer = await rotated(side, made, grace_seconds=0, configure_vapi=True)
    assert answer["vapi"]["live"] is False
    second = answer["auth"]["secret"]
    assert await knows(side, first)
    assert await knows(side, second)
    assert (await check(side, made, mend=mend))["findings"][0]["what"] == "latestVersion"  # it waits still
    endless = "SELECT count(*) FROM webhook_credentials WHERE tenant_id = $1 AND assistant_id = $2 AND valid_until = 'infinity'"
    assert await effects.owner.fetchval(endless, side.tenant.id, made["id"]) == 2
    side.shown["latestVersion"] += 1  # somebody published it
    assert (await check(side, made, mend=mend))["ok"] is True
    assert await effects.owner.fetchval(endless, side.tenant.id, made["id"]) == 1
    assert await knows(side, first)  # for an hour
    ends = "SELECT count(*) FROM webhook_credentials WHERE tenant_id = $1 AND assistant_id = $2 AND valid_until < app.now() + '61 min'"
    assert await effects.owner.fetchval(ends, side.tenant.id, made["id"]) == 1
    assert await knows(side, second)
    assert (await check(side, made))["ok"] is True
    audited = "SELECT count(*) FROM control.audit WHERE tenant_id = $1 AND action = 'assistant.published'"
    assert await effects.owner.fetchval(audited, side.tenant.id) == (0 if mend else 1)


async def test_a_published_draft_with_another_secret_ends_none(side: Side, effects: Effects, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await side.registered()
    old = side.shown["server"]
    monkeypatch.setattr(side.vapi.assistants_api, "publishes", False)
    await rotated(side, made, grace_seconds=0, configure_vapi=True)
    side.shown.update(latestVersion=side.shown["latestVersion"] + 1, server=old)
    assert [each["severity"] for each in (await check(side, made))["findings"]] == ["warning"]
    assert await effects.owner.fetchval(LIVE, side.tenant.id, made["id"]) == 2
    assert await side.delivery() == 200


async def test_a_take_over_that_is_a_draft_leaves_the_secret_from_before(
    side: Side, effects: Effects, monkeypatch: pytest.MonkeyPatch
) -> None:
    side.goes_wrong("/assistant", "GET", skip=2, status=503)
    side.goes_wrong("/assistant", "PATCH", skip=1, status=503)
    assert (await side.register()).status_code == 502
    side.all_is_well()
    before = side.shown["server"]["headers"]["Authorization"].removeprefix("Bearer ")
    monkeypatch.setattr(side.vapi.assistants_api, "publishes", False)
    assert (await side.registered())["vapi"]["live"] is False
    (mine,) = await side.mine()
    endless = "SELECT count(*) FROM webhook_credentials WHERE tenant_id = $1 AND assistant_id = $2 AND valid_until = 'infinity'"
    assert await effects.owner.fetchval(endless, side.tenant.id, mine["id"]) == 2
    assert await knows(side, before)


async def test_secrets_that_cannot_be_opened_are_passed_over(side: Side, effects: Effects) -> None:
    made = await side.registered()
    gone = "UPDATE webhook_credentials SET secret_sealed = 'gone:AAAA' WHERE tenant_id = $1 AND assistant_id = $2"
    await effects.owner.execute(gone, side.tenant.id, made["id"])
    assert [each["what"] for each in (await check(side, made))["findings"]] == ["server.headers.Authorization"]
    answer = await side.tenant.post(f"/v1/assistants/{made['id']}/check", {"mend": True})
    assert (answer.status_code, "Rotate it first" in answer.json()["detail"]) == (409, True)
    new = await rotated(side, made, grace_seconds=60, configure_vapi=True)
    assert new["vapi"]["live"] is True
    assert (await check(side, made))["ok"] is True
    await rotated(side, made, grace_seconds=60)
    last = "UPDATE webhook_credentials SET secret_sealed = 'gone:AAAA' WHERE tenant_id = $1 AND valid_until = 'infinity'"
    await effects.owner.execute(last, side.tenant.id)
    assert (await side.tenant.post(f"/v1/assistants/{made['id']}/check", {"mend": True})).status_code == 409  # what can be opened ends soon
    assert await side.delivery() == 200


async def test_what_stood_before_and_cannot_be_opened_is_told(side: Side, effects: Effects) -> None:
    made = await side.registered()
    await effects.owner.execute("UPDATE assistants SET vapi_before_sealed = 'gone:AAAA' WHERE tenant_id = $1", side.tenant.id)
    for path, body in (("restore", {}), ("check", {"mend": True}), ("rotate-secret", {"configure_vapi": True})):
        answer = await side.tenant.post(f"/v1/assistants/{made['id']}/{path}", body)
        assert (answer.status_code, "TRUNKLINE_SECRET_KEYS" in answer.json()["detail"]) == (409, True)
    assert await side.delivery() == 200
    assert (await side.tenant.ask("DELETE", f"/v1/assistants/{made['id']}")).status_code == 204
    assert (await side.register()).status_code == 201


async def test_mending_gives_vapi_the_secret_that_is_valid_when_it_begins(side: Side, beside_vapi: Process, effects: Effects) -> None:
    """A rotation here holds the assistant while the mending asks for it."""
    made, wiring = await side.registered(), beside_vapi.wiring
    tenant = TenantId(await effects.owner.fetchval("SELECT tenant_id FROM assistants WHERE id = $1", UUID(made["id"])))
    waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted"
    async with wiring.database.tenant_scope(tenant) as connection:
        await vapi_setups.refuse_if_taken(connection, tenant, made["id"])
        mending = asyncio.create_task(check(side, made, mend=True))
        while not await effects.owner.fetchval(waits):  # noqa: ASYNC110  the database tells nobody
            await asyncio.sleep(0.01)
        new = await assistants.rotate_secret(connection, wiring.keyring, tenant, made["id"], 0, "test")
    wiring.tenants.forget(side.tenant.slug)
    assert (await mending)["ok"] is True
    assert side.shown["server"]["headers"]["Authorization"] == f"Bearer {new.secret}"
    assert await side.delivery() == 200


async def test_mending_waits_until_a_new_secret_is_known_everywhere(settings: Settings, beside_vapi: Process, side: Side) -> None:
    """Two processes; the other one has just looked the tenant up, and is asked the moment Vapi has the new secret."""
    async with running(settings) as elsewhere:
        made = await side.registered()
        first = made["auth"]["secret"]
        beside_vapi.wiring.configuring.setup.settle = OLDEST_SECONDS
        await side.tenant.webhook({}, first, elsewhere.http)
        second = (await rotated(side, made, grace_seconds=600))["auth"]["secret"]
        mending = asyncio.create_task(check(side, made, mend=True))
        while side.shown["server"]["headers"]["Authorization"] != f"Bearer {second}":
            await side.tenant.webhook({}, first, elsewhere.http)
            await asyncio.sleep(0.02)
        assert (await side.tenant.webhook({}, second, elsewhere.http)).status_code == 400  # known; there is no envelope
        assert (await mending)["ok"] is True


async def test_what_points_to_an_older_address_of_ours_is_put_back(side: Side, beside_vapi: Process) -> None:
    made, asks = await side.registered(), await acting(side, beside_vapi)
    moved = replace(asks, url=f"https://moved.example.com/vapi-webhook/{side.tenant.slug}")

    async def nothing(*_: object) -> None:
        """Nothing more to do."""

    assert await beside_vapi.wiring.configuring.restore(moved, UUID(made["id"]), nothing) is True
    assert side.untouched


async def test_what_was_left_alone_can_still_be_put_back_later(side: Side) -> None:
    made = await side.registered()
    ours, theirs = side.shown["server"], {"url": "https://else.example.com/hook"}
    side.shown["server"] = theirs
    restore = f"/v1/assistants/{made['id']}/restore"
    for _ in range(2):
        assert (await side.tenant.post(restore, {})).json() == {"restored": False}
    assert side.shown["server"] == theirs
    side.shown["server"] = ours
    assert (await side.tenant.post(restore, {})).json() == {"restored": True}
    assert side.untouched
    assert (await side.tenant.post(restore, {})).status_code == 409
    assert (await another(side.tenant, side.vapi, side.key)).untouched

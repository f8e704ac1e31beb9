"""What a request left half done at Vapi goes on working, whatever the next one meets; and nothing is asked inside a transaction."""

import asyncio
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.ids import TenantId
from tenants.vapi_setups import New
from tests.api.effects import Effects
from tests.api.processes import Process
from tests.api.vapi_side import Side
from webhooks import vapi_setup
from webhooks.vapi_configuring import Acting, Done

DOWN: dict[str, Any] = {"status": 503, "body": "<html>"}
DEEP: dict[str, Any] = {"status": 400, "body": '{"message":' + "[" * 20_000}
LIVE = "SELECT count(*) FROM webhook_credentials WHERE tenant_id = $1 AND assistant_id = $2 AND valid_until > app.now()"


async def half_configured(side: Side, **more: Any) -> dict[str, Any]:
    """The change is made, then Vapi goes away: it could not be put back."""
    side.goes_wrong("/assistant", "GET", skip=2, **DOWN)
    side.goes_wrong("/assistant", "PATCH", skip=1, **DOWN)
    assert (await side.register(**more)).status_code == 502
    side.all_is_well()
    assert await side.delivery() == 200
    (mine,) = await side.mine()
    return mine


async def acting(side: Side, process: Process) -> Acting:
    tenant = await process.wiring.tenants.by_slug(side.tenant.slug)
    assert tenant is not None
    return Acting(tenant, "test", side.key, side.url)


async def fails(_connection: AsyncConnection, _done: Done) -> None:
    raise RuntimeError("a bug of ours")


@pytest.mark.parametrize("secret", [None, "a-secret-that-the-user-made"])
async def test_a_take_over_that_fails_keeps_what_vapi_posts_with(secret: str | None, side: Side, effects: Effects) -> None:
    more: dict[str, Any] = {"auth": {"mode": "bearer", "secret": secret}} if secret else {}
    mine = await half_configured(side, **more)
    side.goes_wrong("/assistant", "PATCH", status=500, times=1)
    answer = await side.register(**({**more, "name": "Desk"}))
    if answer.status_code != 201:  # with the same secret Vapi is as it should be already
        assert (answer.status_code, "could not be put back" in answer.json()["detail"]) == (502, True)
        assert await effects.owner.fetchval(LIVE, side.tenant.id, mine["id"]) == 1  # the one that nobody was told is gone
    assert await side.delivery() == 200
    side.all_is_well()
    assert (await side.tenant.post(f"/v1/assistants/{mine['id']}/restore", {})).json() == {"restored": True}
    assert side.untouched


async def test_a_take_over_with_the_same_secret_that_fails_leaves_it(side: Side) -> None:
    more: dict[str, Any] = {"auth": {"mode": "bearer", "secret": "a-secret-that-the-user-made"}}
    await half_configured(side, **more)
    side.goes_wrong("/tool", "POST", status=500)
    assert (await side.register(**more, install_tools=True)).status_code == 502
    assert await side.delivery() == 200


async def test_after_a_process_that_died_past_the_change_a_failed_take_over_leaves_it(side: Side, effects: Effects) -> None:
    side.goes_wrong("/assistant", "GET", skip=2, seconds=5.0)
    dying = asyncio.create_task(side.register())
    while not side.shown["server"]["url"].startswith(side.url):  # noqa: ASYNC110  the sandbox tells nobody
        await asyncio.sleep(0.02)
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    await effects.owner.execute("UPDATE assistants SET vapi_lease_until = app.now() WHERE tenant_id = $1", side.tenant.id)
    side.all_is_well()
    side.goes_wrong("/assistant", "PATCH", status=500, times=1)
    assert (await side.register()).status_code == 502
    assert await side.delivery() == 200
    assert (await side.register()).status_code == 201


async def test_a_deep_answer_to_a_change_is_a_refusal_like_any_other(side: Side) -> None:
    side.goes_wrong("/assistant", "PATCH", **DEEP)
    answer = await side.register()
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/configure_vapi")
    assert side.untouched
    assert await side.mine() == []


@pytest.mark.parametrize("back", [True, False], ids=["put back", "not put back"])
async def test_a_bug_of_ours_leaves_nothing_or_what_works(back: bool, side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> bool:
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr(vapi_setup, "is_draft", breaks)
    if not back:
        side.goes_wrong("/assistant", "PATCH", skip=1, **DOWN)
    assert (await side.register()).status_code == 500
    assert len(await side.mine()) == (0 if back else 1)
    assert side.untouched if back else await side.delivery() == 200
    monkeypatch.undo()
    side.all_is_well()
    assert (await side.register()).status_code == 201  # no lease is in the way
    assert await side.delivery() == 200


@pytest.mark.parametrize("back", [True, False], ids=["put back", "not put back"])
async def test_a_bug_of_ours_in_a_rotation_leaves_what_vapi_has(
    back: bool, side: Side, effects: Effects, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> bool:
        raise RuntimeError("a bug of ours")

    made = await side.registered()
    path = f"/v1/assistants/{made['id']}/rotate-secret"
    monkeypatch.setattr(vapi_setup, "is_draft", breaks)
    if not back:
        side.goes_wrong("/assistant", "PATCH", skip=1, **DOWN)
    assert (await side.tenant.post(path, {"grace_seconds": 0, "configure_vapi": True})).status_code == 500
    assert await effects.owner.fetchval(LIVE, side.tenant.id, made["id"]) == (1 if back else 2)
    assert await side.delivery() == 200
    monkeypatch.undo()
    side.all_is_well()
    assert (await side.tenant.post(path, {"grace_seconds": 0, "configure_vapi": True})).status_code == 200


async def test_books_that_cannot_be_closed_leave_what_vapi_posts_with(side: Side, beside_vapi: Process) -> None:
    asks, configuring = await acting(side, beside_vapi), beside_vapi.wiring.configuring
    with pytest.raises(RuntimeError, match="a bug of ours"):
        await configuring.register(asks, New(side.vapi_id, "Desk"), None, fails)
    assert await side.delivery() == 200
    made = await side.registered()
    with pytest.raises(RuntimeError, match="a bug of ours"):
        await configuring.rotate(asks, made["id"], 0, None, fails)
    assert await side.delivery() == 200
    side.shown["serverMessages"] = []
    with pytest.raises(RuntimeError, match="a bug of ours"):
        await configuring.mend(asks, made["id"], None, fails)
    answer = await side.tenant.post(f"/v1/assistants/{made['id']}/check", {"mend": True})  # no lease is in the way
    assert answer.json()["ok"] is True
    assert await side.delivery() == 200


async def test_a_registration_that_another_took_over_is_not_removed(side: Side, effects: Effects) -> None:
    side.goes_wrong("/assistant", "GET", skip=1, seconds=0.3)
    registering = asyncio.create_task(side.register())
    taken = "UPDATE assistants SET vapi_owner = gen_random_uuid() WHERE tenant_id = $1 AND vapi_owner IS NOT NULL"
    while await effects.owner.execute(taken, side.tenant.id) != "UPDATE 1":  # noqa: ASYNC110  the database tells nobody
        await asyncio.sleep(0.01)
    assert (await registering).status_code == 409
    assert len(await side.mine()) == 1


@pytest.mark.parametrize("query", ["restore_vapi=false&restore_vapi=true", "restore_vapi=true&restore_vapi=false"])
@pytest.mark.parametrize("key", [{}, {"Idempotency_Key": "k-1"}], ids=["no key", "key"])
async def test_a_wish_that_comes_twice_is_asked_outside_of_a_transaction_or_refused(query: str, key: dict[str, str], side: Side) -> None:
    made = await side.registered()
    answer = await side.tenant.ask("DELETE", f"/v1/assistants/{made['id']}?{query}", **key)
    if query.endswith("true"):
        assert answer.status_code == 204
        assert side.untouched
    else:
        assert (answer.status_code, await side.delivery()) == (400, 200)


async def test_nothing_is_asked_inside_a_unit(side: Side, beside_vapi: Process) -> None:
    made = await side.registered()
    asks, wiring = await acting(side, beside_vapi), beside_vapi.wiring
    seen = len(side.vapi.path_faults.seen)

    async def nothing(*_: object) -> None:
        """Nothing more to do."""

    for ask in (
        lambda: wiring.configuring.register(asks, New("another", "Desk"), None, nothing),
        lambda: wiring.configuring.rotate(asks, made["id"], 0, None, nothing),
        lambda: wiring.configuring.mend(asks, made["id"], None, nothing),
        lambda: wiring.configuring.check(asks, made["id"]),
        lambda: wiring.configuring.restore(asks, made["id"], nothing),
    ):
        async with wiring.database.unit(TenantId(asks.tenant.id)):
            with pytest.raises(RuntimeError, match="inside a unit"):
                await ask()
    assert len(side.vapi.path_faults.seen) == seen

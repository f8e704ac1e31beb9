"""A registration paces each number once, a cap slows it at once, and a sender's secrets can always be renewed."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.wiring import Wiring
from messaging.callback_urls import callback_token
from messaging.signature import sign
from runtime import clock
from runtime.crypto import Keyring, new_master_key
from runtime.ids import TenantId
from tests.api.effects import Effects
from tests.api.people import AUTH_TOKEN, CALLER, PUBLIC, Person, Tenant, sender_body

HI = {"to": CALLER, "body": "Hi"}


async def put(tenant: Tenant, body: dict[str, Any]) -> dict[str, Any]:
    answer = await tenant.ask("PUT", "/v1/sender", body)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


def campaign() -> str:
    return f"CM{uuid4().hex}"


def again(tenant: Tenant, **changes: Any) -> dict[str, Any]:
    """The tenant's first sender, declared once more."""
    first = tenant.sender
    same = {"account_sid": first["account_sid"], "from_number": first["from_number"], "tier": first["tier"]}
    return {**same, "auth_token": AUTH_TOKEN, **changes}


async def waiting(effects: Effects, tenant: Tenant) -> dict[str, list[str]]:
    """By registration: the statuses of its texts."""
    found: dict[str, list[str]] = {}
    for row in sorted(await effects.rows(tenant, "messages"), key=lambda row: row["status"]):
        found.setdefault(str(row["registration_id"]), []).append(row["status"])
    return found


async def arrived(effects: Effects, tenant: Tenant) -> dict[str, list[int]]:
    """By registration: the segments that the schedule was told of."""
    query = "SELECT registration_id, segments FROM control.arrivals WHERE tenant_id = $1 ORDER BY segments"
    found: dict[str, list[int]] = {}
    for row in await effects.owner.fetch(query, tenant.id):
        found.setdefault(str(row["registration_id"]), []).append(row["segments"])
    return found


async def test_a_sender_that_gets_a_campaign_keeps_its_registration(tenant: Tenant, effects: Effects) -> None:
    await tenant.post("/v1/messages", HI)
    before, named = tenant.sender["registration_id"], campaign()
    renewed = await put(tenant, again(tenant, campaign_sid=named))
    assert (renewed["id"], renewed["registration_id"], renewed["campaign_sid"]) == (tenant.sender["id"], before, named)
    assert await arrived(effects, tenant) == {before: [1]}
    assert (await put(tenant, again(tenant)))["registration_id"] == before  # and stays with it when the campaign is left out


async def test_a_sender_that_shares_its_registration_leaves_it_to_the_others(tenant: Tenant, effects: Effects) -> None:
    shared = campaign()
    one, two = [sender_body(campaign_sid=shared) for _ in range(2)]
    first, second = await put(tenant, one), await put(tenant, two)
    assert first["registration_id"] == second["registration_id"]
    await effects.owner.execute("UPDATE registrations SET campaign_sid = NULL WHERE id = $1", UUID(first["registration_id"]))
    moved = await put(tenant, {**two, "campaign_sid": campaign()})
    assert moved["registration_id"] != first["registration_id"]


async def test_a_registration_of_one_campaign_does_not_become_anothers(tenant: Tenant) -> None:
    body = sender_body(campaign_sid=campaign())
    first, second = await put(tenant, body), await put(tenant, {**body, "campaign_sid": campaign()})
    assert first["registration_id"] != second["registration_id"]


async def test_what_waits_goes_along_to_the_registration_that_a_sender_joins(tenant: Tenant, effects: Effects) -> None:
    named, later = campaign(), clock.rfc3339(clock.now() + timedelta(days=1))
    joined = await put(tenant, sender_body(campaign_sid=named))
    old, new, sender = tenant.sender["registration_id"], joined["registration_id"], tenant.sender["id"]
    for body in ({**HI, "sender_id": sender}, {**HI, "sender_id": sender, "send_at": later}, {**HI, "sender_id": sender}):
        sent = await tenant.post("/v1/messages", body)
        assert sent.status_code == 202, sent.text
    gone = sent.json()["id"]
    await effects.owner.execute("UPDATE messages SET status = 'sent' WHERE tenant_id = $1 AND id = $2", tenant.id, gone)
    assert await waiting(effects, tenant) == {old: ["queued", "scheduled", "sent"]}

    assert (await put(tenant, again(tenant, campaign_sid=named)))["registration_id"] == new

    assert await waiting(effects, tenant) == {new: ["queued", "scheduled"], old: ["sent"]}  # what left stays where it was paced
    assert await arrived(effects, tenant) == {old: [-1, -1, 1, 1, 1], new: [1, 1]}
    dues = "SELECT due_at FROM messages WHERE tenant_id = $1 AND registration_id = $2 ORDER BY due_at"
    told = "SELECT due_at FROM control.arrivals WHERE tenant_id = $1 AND registration_id = $2 ORDER BY due_at"
    assert await effects.owner.fetch(dues, tenant.id, new) == await effects.owner.fetch(told, tenant.id, new)


async def test_another_senders_texts_stay_when_one_moves(tenant: Tenant, effects: Effects) -> None:
    shared, elsewhere = campaign(), campaign()
    stays, moves = [sender_body(campaign_sid=shared) for _ in range(2)]
    staying, moving, target = await put(tenant, stays), await put(tenant, moves), await put(tenant, sender_body(campaign_sid=elsewhere))
    for sender in (staying, moving):
        await tenant.post("/v1/messages", {**HI, "sender_id": sender["id"]})
    await put(tenant, {**moves, "campaign_sid": elsewhere})
    assert await waiting(effects, tenant) == {staying["registration_id"]: ["queued"], target["registration_id"]: ["queued"]}


async def pace(tenant: Tenant) -> list[tuple[str, str, str]]:
    return [(each["tier"], each["tier_source"], each["segments_per_second"]) for each in (await tenant.get("/v1/senders")).json()["items"]]


async def test_a_cap_slows_senders_at_once_and_lifting_it_gives_back_what_was_claimed(admin: Person, tenant: Tenant, other: Tenant) -> None:
    path, before = f"/v1/admin/tenants/{tenant.id}", await pace(tenant)
    await put(tenant, sender_body("sole_proprietor"))
    capped, free = ("toll_free", "capped", "3"), ("short_code", "tenant", "100")
    for cap, expected in (("toll_free", capped), ("short_code", free), ("toll_free", capped), (None, free)):
        assert (await admin.ask("PATCH", path, {"max_tier": cap})).status_code == 200
        assert await pace(tenant) == [expected, ("sole_proprietor", "tenant", "1")]
    assert await pace(other) == before == [free]


async def test_a_token_whose_key_is_gone_can_be_replaced(tenant: Tenant, wiring: Wiring, effects: Effects) -> None:
    sender = UUID(tenant.sender["id"])
    lost = Keyring.parse(new_master_key("lost")).seal(AUTH_TOKEN, UUID(tenant.id), "senders.auth_token")
    await effects.owner.execute("UPDATE senders SET auth_token_sealed = $2 WHERE id = $1", sender, lost)
    assert (await put(tenant, again(tenant, auth_token="renewed")))["id"] == tenant.sender["id"]
    wiring.senders._credentials.forget((TenantId(UUID(tenant.id)), sender))
    assert (await wiring.senders.credentials(TenantId(UUID(tenant.id)), sender)).auth_tokens == ("renewed",)


@pytest.mark.parametrize(("ended", "expected"), [(False, 204), (True, 403)], ids=["for a day", "not after"])
async def test_the_token_before_signs_for_a_day(ended: bool, expected: int, tenant: Tenant, wiring: Wiring, effects: Effects) -> None:
    owner, sender = TenantId(UUID(tenant.id)), UUID(tenant.sender["id"])
    await put(tenant, again(tenant, auth_token="renewed"))
    left = await effects.owner.fetchval("SELECT previous_token_until - app.now() FROM senders WHERE id = $1", sender)
    assert timedelta(hours=23, minutes=59) < left <= timedelta(days=1)
    if ended:
        await effects.owner.execute("UPDATE senders SET previous_token_until = app.now() - interval '1 second' WHERE id = $1", sender)
    wiring.senders._credentials.forget((owner, sender))  # the two seconds that a process may take to follow
    for token, status in ((AUTH_TOKEN, expected), ("renewed", 204)):
        message = (await tenant.post("/v1/messages", HI)).json()["id"]
        path = f"/twilio/{tenant.slug}/status/{message}?s={callback_token(wiring.keyring, owner, UUID(message))}"
        form = {"MessageSid": f"SM{uuid4().hex}", "MessageStatus": "delivered"}
        signed = {"X-Twilio-Signature": sign(token, PUBLIC + path, form.items())}
        assert (await tenant.http.post(path, data=form, headers=signed)).status_code == status

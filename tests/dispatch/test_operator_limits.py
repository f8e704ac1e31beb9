"""What the operator grants holds for what is queued: rates in both directions, and the caps of a day, shared by whoever shares them."""

import asyncio
from dataclasses import replace
from uuid import uuid4

from messaging.day_counts import brand_count
from runtime.crypto import Keyring
from runtime.database import Database
from runtime.ids import TenantId
from tenants import own_tiers
from tenants.own_tiers import TierTerms
from tenants.registrations import Override, override_registration
from tests.dispatch.desk import Desk, MakeDispatcher, at_work, until

FAST, SLOW = 13_500, 1  # segments per minute


async def grant(database: Database, desk: Desk, per_minute: int | None = None, day_cap: int | None = None) -> None:
    """The operator's word for a desk's registration."""
    async with database.tenant_scope(desk.tenant) as connection:
        await override_registration(connection, desk.tenant, desk.registration, Override(per_minute, day_cap, ""), "admin")


async def branded(database: Database, desks: list[Desk], brand: str, day_cap: int) -> str:
    """A tier of the operator's with a cap of the brand's day, given to these desks."""
    name, terms = (
        f"tier_{uuid4().hex[:12]}",
        TierTerms(
            description="",
            segments_per_second=None,
            segments_per_minute=FAST,
            day_cap=day_cap,
            day_cap_scope="brand",
            blocked_destinations=(),
        ),
    )
    async with database.unscoped() as connection:
        await own_tiers.make_tier(connection, name, terms, "admin")
    for desk in desks:
        sql = "UPDATE registrations SET claimed_tier = $3, claimed_source = 'operator', brand_sid = $4 WHERE tenant_id = $1 AND id = $2"
        await desk.owner.execute(sql, desk.tenant, desk.registration, name, brand)
        async with database.tenant_scope(desk.tenant) as connection:
            await own_tiers.held_tiers(connection, desk.tenant)
            await own_tiers.settle(connection, [desk.tenant], "admin")
    return name


async def second_sender(desk: Desk, keyring: Keyring, registration: object = None) -> Desk:
    """One more number of the same tenant, of the same registration or another."""
    sender = uuid4()
    await desk.owner.execute(
        "INSERT INTO senders (tenant_id, id, registration_id, account_sid, auth_token_sealed, from_number)"
        " VALUES ($1, $2, $3, $4, $5, '+15005550006')",
        desk.tenant, sender, registration or desk.registration, f"AC{uuid4().hex}",
        keyring.seal("token of a desk", desk.tenant, "senders.auth_token"),
    )  # fmt: skip
    return replace(desk, sender=sender)


async def second_registration(desk: Desk, keyring: Keyring) -> Desk:
    """One more registration of the same tenant, with a number of its own."""
    registration = uuid4()
    await desk.owner.execute(
        "INSERT INTO registrations (tenant_id, id, tier, tier_source, segments_per_minute) VALUES ($1, $2, 'short_code', 'tenant', 6000)",
        desk.tenant, registration,
    )  # fmt: skip
    return replace(await second_sender(desk, keyring, registration), registration=registration)


async def left(desk: Desk) -> int:
    """How many texts of the tenant have left."""
    found = await desk.statuses()
    return sum(count for status, count in found.items() if status not in ("queued", "scheduled", "sending"))


async def all_left(desk: Desk, count: int) -> None:
    async def enough() -> bool:
        return await left(desk) >= count

    await until(enough, seconds=60.0)


async def test_a_faster_rate_reaches_what_is_queued(
    desk: Desk, neighbour: Desk, database: Database, make_dispatcher: MakeDispatcher
) -> None:
    await grant(database, desk, SLOW)
    await grant(database, neighbour, SLOW)
    for _ in range(30):
        await desk.text()
        await neighbour.text()
    async with at_work(await make_dispatcher()):
        await all_left(desk, 1)
        await asyncio.sleep(2.5)  # the next slot lies a minute ahead: without the change nobody would look before
        assert await left(desk) == 1
        await grant(database, desk, FAST)
        await all_left(desk, 30)
        assert await left(neighbour) == 1


async def test_a_slower_rate_reaches_what_is_queued(
    desk: Desk, neighbour: Desk, database: Database, make_dispatcher: MakeDispatcher
) -> None:
    await grant(database, desk, 600)
    await grant(database, neighbour, 600)
    for _ in range(150):
        await desk.text()
        await neighbour.text()
    async with at_work(await make_dispatcher()):
        await all_left(desk, 5)
        await grant(database, desk, SLOW)
        await asyncio.sleep(3.0)  # what had a slot by then leaves within its second
        before, others = await left(desk), await left(neighbour)
        await asyncio.sleep(3.0)
        assert before < 150
        assert await left(desk) <= before + 1
        assert await left(neighbour) > others


async def test_two_senders_of_a_campaign_share_its_rate_and_its_day(
    desk: Desk, neighbour: Desk, database: Database, keyring: Keyring, make_dispatcher: MakeDispatcher
) -> None:
    twin = await second_sender(desk, keyring)
    await grant(database, desk, FAST, day_cap=10)
    for _ in range(8):
        await desk.text()
        await twin.text()
        await neighbour.text()
    async with at_work(await make_dispatcher()):
        await all_left(neighbour, 8)
        await all_left(desk, 9)  # a tenth of the cap is kept for codes
        first, second = await desk.text(kind="otp"), await twin.text(kind="otp")
        await all_left(desk, 10)
        await asyncio.sleep(1.0)
        codes = [(await desk.message(message))["status"] for message in (first, second)]
        assert sorted(status in ("queued", "sending") for status in codes) == [False, True]
        assert await left(desk) == 10
        await grant(database, desk, FAST, day_cap=None)
        await all_left(desk, 18)


async def test_a_brands_day_is_shared_by_a_tenants_registrations_and_by_no_other_tenants(
    desk: Desk, neighbour: Desk, database: Database, keyring: Keyring, make_dispatcher: MakeDispatcher
) -> None:
    brand = f"BN{uuid4().hex}|{{x}}"
    other = await second_registration(desk, keyring)
    name = await branded(database, [desk, other, neighbour], brand, 20)
    for _ in range(14):
        await desk.text()
        await other.text()
        await neighbour.text()
    dispatcher = await make_dispatcher()
    async with at_work(dispatcher):
        await all_left(desk, 18)
        await all_left(neighbour, 14)
        await asyncio.sleep(1.0)
        assert await left(desk) == 18
        counted = await dispatcher._pacer.peek(desk.tenant, desk.registration, FAST, [brand_count(brand)])
        assert counted.days == {brand_count(brand).name: 18}
        async with database.unscoped() as connection:
            terms = TierTerms(
                description="",
                segments_per_second=None,
                segments_per_minute=FAST,
                day_cap=40,
                day_cap_scope="brand",
                blocked_destinations=(),
            )
            await own_tiers.change_tier(connection, name, terms, "admin")
        await all_left(desk, 28)


async def test_what_a_brand_sent_before_it_was_capped_counts(
    desk: Desk, neighbour: Desk, database: Database, make_dispatcher: MakeDispatcher
) -> None:
    brand = f"BN{uuid4().hex}"
    await desk.owner.execute("UPDATE registrations SET brand_sid = $2 WHERE tenant_id = $1", desk.tenant, brand)
    dispatcher = await make_dispatcher()
    for _ in range(6):
        await desk.text()
    await dispatcher.dispatch_once()
    assert await left(desk) == 6
    await branded(database, [desk], brand, 10)
    for _ in range(6):
        await desk.text()
    await neighbour.text()
    await dispatcher.dispatch_once()
    assert (await left(desk), await left(neighbour)) == (9, 1)


async def test_a_worker_that_asked_by_the_old_rate_sends_nothing_by_it(desk: Desk, neighbour: Desk, database: Database) -> None:
    for each in (desk, neighbour):
        await each.text()
        await each.owner.execute("SELECT app.fold_arrivals_v1(100)")
        sql = "UPDATE control.schedule SET picked_by = $2, picked_until = app.now() + interval '1 minute' WHERE tenant_id = $1"
        await each.owner.execute(sql, each.tenant, TenantId(uuid4()))
    await grant(database, desk, SLOW)
    mine, theirs = await desk.schedule(), await neighbour.schedule()
    assert (mine["picked_by"], mine["has_work"]) == (None, True)
    assert theirs["picked_by"] is not None

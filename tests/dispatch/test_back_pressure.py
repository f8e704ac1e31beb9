"""When a text will leave is told rightly, and a queue that is full is full for its own tenant only."""

from datetime import timedelta
from uuid import UUID

import pytest

from messaging.acceptance import AcceptedText, QueueFull, accept_text
from messaging.making_room import make_room
from runtime import clock
from runtime.database import Database
from tenants.snapshot import Snapshot, TenantBook
from tests.dispatch.desk import Desk, MakeDesk, MakeDispatcher, at_work, until

TO = "+12025550123"
PER_MINUTE = 720  # twelve a second


async def seen(database: Database, desk: Desk) -> Snapshot:
    """The tenant as a process that never saw it sees it."""
    found = await TenantBook(database).by_slug(desk.slug)
    assert found is not None
    return found


async def bound(desk: Desk, most: int, seconds: int = 36_000, policy: str = "refuse") -> None:
    await desk.owner.execute("INSERT INTO control.queue_bounds VALUES ($1, $2, $3, $4)", desk.tenant, most, seconds, policy)


async def folded(database: Database) -> None:
    await database.call_for_many("SELECT app.fold_arrivals_v1(100000)")


async def store(desk: Desk, text: AcceptedText) -> UUID:
    return await desk.text(to=text.recipient, kind=text.message_class, segments=text.segments)


def wait_of(tenant: Snapshot, kind: str) -> float:
    return accept_text(tenant, TO, "Your table is booked.", message_class=kind).wait


async def test_each_class_waits_for_those_before_it(make_desk: MakeDesk, database: Database) -> None:
    desk, neighbour = await make_desk(PER_MINUTE), await make_desk(PER_MINUTE)
    for kind, count, segments in [("marketing", 30, 1), ("transactional", 10, 2), ("otp", 4, 1)]:
        for _ in range(count):
            await desk.text(kind=kind, segments=segments)
    tenant = await seen(database, desk)
    waits = [wait_of(tenant, kind) for kind in ("otp", "transactional")]
    assert waits == pytest.approx([4 / 12, 24 / 12], abs=0.3)
    line = tenant.line_of(tenant.senders[0])
    assert line.wait(2, tenant.taken_at) == pytest.approx(54 / 12)
    assert wait_of(await seen(database, neighbour), "transactional") == 0


async def test_what_leaves_tomorrow_is_not_before_what_leaves_today(make_desk: MakeDesk, database: Database) -> None:
    desk = await make_desk(PER_MINUTE)
    for _ in range(40):
        await desk.text()
    await desk.owner.execute(
        "UPDATE messages SET status = 'scheduled', due_at = app.now() + interval '1 day' WHERE tenant_id = $1", desk.tenant
    )
    await folded(database)
    assert (await desk.schedule())["queued_segments"] == 40
    assert wait_of(await seen(database, desk), "transactional") == 0


async def test_the_texts_leave_when_they_were_said_to(make_desk: MakeDesk, make_dispatcher: MakeDispatcher, database: Database) -> None:
    """Two texts join a queue of three classes; each leaves within 10 % or a second of what it was told, and a busy machine's share."""
    desk = await make_desk(PER_MINUTE)
    for kind, count, segments in [("marketing", 60, 1), ("transactional", 36, 2), ("otp", 6, 1)]:
        for _ in range(count):
            await desk.text(kind=kind, segments=segments)
    tenant, told = await seen(database, desk), dict[UUID, float]()
    began = clock.now()
    for kind in ("transactional", "otp"):
        text = accept_text(tenant, TO, "Your table is booked.", message_class=kind)
        tenant.note_accepted(text.as_effect())
        told[await store(desk, text)] = text.wait
    dispatcher = await make_dispatcher()
    async with at_work(dispatcher):

        async def left() -> bool:
            return all([(await desk.message(message))["sent_at"] for message in told])

        await until(left, 60)
    for message, wait in told.items():
        row = await desk.message(message)
        took = (row["sent_at"] - began).total_seconds()
        assert abs(took - wait) <= max(1.0, 0.1 * wait) + 1.5, (row["class"], took, wait)


async def test_a_text_that_was_accepted_since_counts_by_its_class(make_desk: MakeDesk, database: Database) -> None:
    tenant = await seen(database, await make_desk(60))
    for _ in range(5):
        tenant.note_accepted(accept_text(tenant, TO, "Ten percent off.", message_class="transactional").as_effect())
    assert wait_of(tenant, "otp") == 0
    assert wait_of(tenant, "transactional") == pytest.approx(5, abs=0.5)
    later = accept_text(tenant, TO, "See you.", send_at=clock.now() + timedelta(hours=3))
    tenant.note_accepted(later.as_effect())
    assert wait_of(tenant, "transactional") == pytest.approx(5, abs=0.5)


async def test_a_full_queue_refuses_its_own_tenant_only(make_desk: MakeDesk, database: Database) -> None:
    desk, neighbour = await make_desk(PER_MINUTE), await make_desk(PER_MINUTE)
    await bound(desk, 3)
    for each in (desk, neighbour):
        for _ in range(3):
            await each.text()
    await folded(database)
    tenant = await seen(database, desk)
    with pytest.raises(QueueFull, match="Too many texts are waiting") as refused:
        wait_of(tenant, "transactional")
    assert refused.value.detail.startswith("3 texts wait; this tenant's queue may hold 3.")
    assert not refused.value.final
    assert wait_of(tenant, "otp") == 0, "a one-time code is refused by the wait alone"
    assert wait_of(await seen(database, neighbour), "transactional") > 0


async def test_what_this_process_accepted_fills_the_queue_too(make_desk: MakeDesk, database: Database) -> None:
    desk = await make_desk(PER_MINUTE)
    await bound(desk, 2)
    tenant = await seen(database, desk)
    for _ in range(2):
        tenant.note_accepted(accept_text(tenant, TO, "Hi").as_effect())
    with pytest.raises(QueueFull):
        accept_text(tenant, TO, "Hi")


@pytest.mark.parametrize("kind", ["otp", "transactional"])
async def test_a_queue_that_lasts_too_long_refuses_every_class(kind: str, make_desk: MakeDesk, database: Database) -> None:
    desk = await make_desk(60)
    await bound(desk, 100_000, seconds=5)
    for _ in range(10):
        await desk.text(kind="otp")
    with pytest.raises(QueueFull) as refused:
        wait_of(await seen(database, desk), kind)
    assert refused.value.retry_after >= 4


async def test_the_oldest_marketing_makes_room_and_nothing_else(make_desk: MakeDesk, database: Database) -> None:
    desk, neighbour = await make_desk(PER_MINUTE), await make_desk(PER_MINUTE)
    await bound(desk, 6, policy="drop_oldest_marketing")
    marketing = [await desk.text(kind="marketing") for _ in range(5)]
    for each in (desk, neighbour):
        for _ in range(3):
            await each.text()
    theirs = await neighbour.text(kind="marketing")
    await folded(database)
    assert wait_of(await seen(database, desk), "transactional") > 0, "accepted: there is marketing that makes room"
    assert await make_room(database) == 2
    assert await make_room(database) == 0, "before the schedule has heard of it too"
    rows = [await desk.message(each) for each in marketing]
    assert [row["status"] for row in rows] == ["failed"] * 2 + ["queued"] * 3
    assert rows[0]["error_class"] == "dropped"
    assert await desk.events(marketing[0]) == ["failed"]
    assert (await neighbour.message(theirs))["status"] == "queued"
    await folded(database)
    assert (await desk.schedule())["queued_messages"] == 6


async def test_without_marketing_a_full_queue_refuses_under_either_policy(make_desk: MakeDesk, database: Database) -> None:
    desk = await make_desk(PER_MINUTE)
    await bound(desk, 2, policy="drop_oldest_marketing")
    for _ in range(3):
        await desk.text()
    await folded(database)
    assert await make_room(database) == 0
    assert await desk.statuses() == {"queued": 3}
    with pytest.raises(QueueFull):
        wait_of(await seen(database, desk), "transactional")


async def test_what_is_being_leased_is_not_dropped(make_desk: MakeDesk, database: Database) -> None:
    desk = await make_desk(PER_MINUTE)
    await bound(desk, 1, policy="drop_oldest_marketing")
    marketing = [await desk.text(kind="marketing") for _ in range(3)]
    await folded(database)
    async with desk.owner.transaction():
        await desk.owner.execute("SELECT 1 FROM messages WHERE id = $1 FOR UPDATE", marketing[0])
        assert await make_room(database) == 2
    assert [(await desk.message(each))["status"] for each in marketing] == ["queued", "failed", "failed"]

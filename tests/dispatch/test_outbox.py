from uuid import uuid4

import asyncpg
import pytest

from messaging.outbox import cancel_message, get_message, list_messages
from runtime.database import Database
from runtime.refusals import Conflict, NotFound
from tests.dispatch.desk import Desk, MakeDispatcher

Owner = asyncpg.Connection


async def test_a_message_is_shown_as_the_contract_says(desk: Desk, database: Database, make_dispatcher: MakeDispatcher) -> None:
    message = await desk.text()
    async with database.tenant_scope(desk.tenant) as connection:
        waiting = await get_message(connection, desk.tenant, message)
    assert set(waiting) == {"id", "to", "body", "class", "segments", "status", "sender_id", "expected_at", "created_at", "history"}
    assert (waiting["id"], waiting["status"], waiting["class"]) == (str(message), "queued", "transactional")
    await (await make_dispatcher()).dispatch_once()
    async with database.tenant_scope(desk.tenant) as connection:
        sent = await get_message(connection, desk.tenant, message)
    assert [step["status"] for step in sent["history"]] == ["queued", "sending", "sent"]
    assert sent["sent_at"].endswith("Z")
    assert sent["twilio_sid"].startswith("SM")


async def test_a_failed_message_says_why_and_what_to_do(
    desk: Desk, database: Database, make_dispatcher: MakeDispatcher, owner: Owner
) -> None:
    refused, doubtful = await desk.text(to="+15005550001"), await desk.text()
    await owner.execute("UPDATE messages SET status = 'failed', error_class = 'ambiguous' WHERE id = $1", doubtful)
    await (await make_dispatcher()).dispatch_once()
    async with database.tenant_scope(desk.tenant) as connection:
        shown = await get_message(connection, desk.tenant, refused)
        doubted = await get_message(connection, desk.tenant, doubtful)
    assert shown["error"]["code"] == 21211
    assert shown["error"]["reason"]
    assert doubted["error"]["code"] is None
    assert "neither of two looks" in doubted["error"]["reason"]


async def test_lists_are_filtered_paged_and_the_tenants_own(desk: Desk, neighbour: Desk, database: Database, owner: Owner) -> None:
    ours = sorted([await desk.text(to=f"+1202555010{number}") for number in range(5)])  # by id, which is nearly by time
    await neighbour.text(to="+12025550103")
    await owner.execute("UPDATE messages SET call_id = 'call-1' WHERE id = ANY ($1)", ours[:2])
    await owner.execute("UPDATE messages SET status = 'sent' WHERE id = $1", ours[4])
    async with database.tenant_scope(desk.tenant) as connection:

        async def ids(**filters: object) -> list[str]:
            return [one["id"] for one in await list_messages(connection, desk.tenant, **filters)]  # type: ignore[arg-type]  # by name

        newest = [str(message) for message in reversed(ours)]
        assert await ids() == newest
        assert await ids(limit=2) == newest[:2]
        assert await ids(limit=2, before=ours[3]) == newest[2:4]
        assert len(await ids(to="+12025550103")) == 1
        assert await ids(call_id="call-1") == newest[3:]
        assert await ids(status="queued") == newest[1:]
        assert await ids(status="sent") == newest[:1]
        assert await ids(status="held") == []


async def test_what_waits_under_a_hold_is_shown_as_held(
    desk: Desk, database: Database, make_dispatcher: MakeDispatcher, owner: Owner
) -> None:
    message = await desk.text()
    await owner.execute("UPDATE control.tenants SET status = 'suspended' WHERE id = $1", desk.tenant)
    await (await make_dispatcher()).dispatch_once()
    async with database.tenant_scope(desk.tenant) as connection:
        shown = await get_message(connection, desk.tenant, message)
        held = await list_messages(connection, desk.tenant, status="held")
        queued = await list_messages(connection, desk.tenant, status="queued")
        canceled = await cancel_message(connection, desk.tenant, message)
    assert (shown["status"], [one["id"] for one in held], queued) == ("held", [str(message)], [])
    assert "suspended" in shown["error"]["reason"]
    assert canceled["status"] == "canceled"


async def test_canceling_twice_is_canceling_once_and_leaves_no_segments_behind(desk: Desk, database: Database, owner: Owner) -> None:
    message = await desk.text(segments=3)
    await desk.text(segments=2)
    for _ in range(2):
        async with database.tenant_scope(desk.tenant) as connection:
            assert (await cancel_message(connection, desk.tenant, message))["status"] == "canceled"
    assert await desk.events(message) == ["canceled"]
    await owner.execute("SELECT app.fold_arrivals_v1(100)")
    row = await desk.schedule()
    assert (row["queued_segments"], row["queued_messages"], row["has_work"]) == (2, 1, True)


@pytest.mark.parametrize("status", ["sending", "unknown", "sent", "delivered", "failed"])
async def test_what_is_on_its_way_cannot_be_canceled(status: str, desk: Desk, database: Database, owner: Owner) -> None:
    message = await desk.text()
    await owner.execute("UPDATE messages SET status = $1 WHERE id = $2", status, message)
    with pytest.raises(Conflict, match=status):
        async with database.tenant_scope(desk.tenant) as connection:
            await cancel_message(connection, desk.tenant, message)


async def test_anothers_message_is_not_found(desk: Desk, neighbour: Desk, database: Database) -> None:
    message = await desk.text()
    for wanted in (message, uuid4()):
        for act in (get_message, cancel_message):
            with pytest.raises(NotFound):
                async with database.tenant_scope(neighbour.tenant) as connection:
                    await act(connection, neighbour.tenant, wanted)
    assert (await desk.message(message))["status"] == "queued"

import asyncio
from uuid import UUID, uuid4

import asyncpg
import pytest

from messaging.callback_urls import callback_token, callback_url, check_callback_token
from messaging.receipts import record_inbound, record_receipt
from runtime.crypto import Keyring, new_master_key
from runtime.database import Database
from runtime.ids import TenantId
from runtime.refusals import NotFound
from sandbox.twilio import TwilioSandbox
from sandbox.twilio.faults import ReorderCallbacks, RepeatCallback, Undelivered
from tests.dispatch.desk import Desk, MakeDesk, MakeDispatcher, at_work, until

Owner = asyncpg.Connection


def form(status: str, sid: str = "SM1", **more: str) -> dict[str, str]:
    return {"MessageSid": sid, "MessageStatus": status, **more}


async def receive(database: Database, desk: Desk, message: UUID, *forms: dict[str, str]) -> list[str]:
    """Callbacks, each in a transaction of its own."""
    outcomes = []
    for each in forms:
        async with database.tenant_scope(desk.tenant) as connection:
            outcomes.append(await record_receipt(connection, desk.tenant, message, each))
    return outcomes


async def test_a_state_only_rises_and_the_first_final_one_stands(desk: Desk, database: Database) -> None:
    message = await desk.text()
    statuses = ["sent", "sending", "delivered", "undelivered", "sent", "read"]
    outcomes = await receive(database, desk, message, *map(form, statuses))
    assert outcomes == ["moved", "late", "moved", "late", "repeated", "moved"]
    row = await desk.message(message)
    assert (row["status"], row["twilio_status"], row["error_code"]) == ("delivered", "read", None)
    assert await desk.billed() == 1


async def test_the_same_receipt_many_times_at_once_is_stored_and_billed_once(desk: Desk, database: Database) -> None:
    message = await desk.text()
    outcomes = await asyncio.gather(*(receive(database, desk, message, form("delivered")) for _ in range(8)))
    assert sorted(outcome for [outcome] in outcomes) == ["moved"] + ["repeated"] * 7
    assert (await desk.events(message), await desk.billed()) == (["delivered"], 1)


async def test_a_receipt_before_our_own_record_proves_acceptance(
    desk: Desk, database: Database, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox
) -> None:
    message = await desk.text()
    assert await receive(database, desk, message, form("sent", "SM9")) == ["moved"]
    await (await make_dispatcher()).dispatch_once()
    assert len(twilio.attempts) == 0  # Twilio has it already
    assert ((await desk.message(message))["status"], await desk.billed()) == ("sent", 1)
    assert (await desk.schedule())["queued_segments"] == 0


async def test_a_failure_keeps_its_code_and_its_class(desk: Desk, database: Database) -> None:
    message = await desk.text()
    await receive(database, desk, message, form("sent"), form("undelivered", ErrorCode="30003"))
    row = await desk.message(message)
    assert (row["status"], row["error_code"], row["error_class"]) == ("undelivered", 30003, "soft")


@pytest.mark.parametrize(("tier", "code", "stops"), [
    ("standard_75_100", "21610", True),
    ("toll_free", "30004", True),
    ("standard_75_100", "30004", False),
    ("toll_free", "30003", False),
])  # fmt: skip
async def test_an_error_that_means_stop_is_kept_as_an_opt_out(
    tier: str, code: str, stops: bool, make_desk: MakeDesk, database: Database, owner: Owner
) -> None:
    desk = await make_desk(tier=tier)
    message = await desk.text()
    await receive(database, desk, message, form("failed", ErrorCode=code))
    rows = await owner.fetch("SELECT recipient, source FROM opt_outs WHERE tenant_id = $1", desk.tenant)
    assert [tuple(row) for row in rows] == ([("+12025550101", "twilio")] if stops else [])


async def test_a_message_that_was_given_up_lives_again_when_twilio_reports_it(desk: Desk, database: Database, owner: Owner) -> None:
    message = await desk.text()
    await owner.execute("UPDATE messages SET status = 'failed', error_class = 'ambiguous' WHERE tenant_id = $1", desk.tenant)
    await receive(database, desk, message, form("delivered"))
    row = await desk.message(message)
    assert (row["status"], row["error_class"], await desk.billed()) == ("delivered", None, 1)


async def test_once_sent_again_the_older_text_is_only_noted(desk: Desk, database: Database, owner: Owner) -> None:
    message = await desk.text()
    await owner.execute("UPDATE messages SET status = 'sent', resent = true, twilio_sid = 'SM2' WHERE tenant_id = $1", desk.tenant)
    assert await receive(database, desk, message, form("delivered", "SM1"), form("delivered", "SM2")) == ["late", "moved"]
    assert (await desk.message(message))["twilio_sid"] == "SM2"


async def test_a_sid_that_a_list_gave_to_the_wrong_twin_goes_to_its_owner(desk: Desk, database: Database, owner: Owner) -> None:
    first, second = await desk.text(), await desk.text()
    await owner.execute("UPDATE messages SET status = 'sent', twilio_sid = 'SM1' WHERE id = $1", first)
    await owner.execute("UPDATE messages SET status = 'sent', twilio_sid = 'SM2' WHERE id = $1", second)
    assert await receive(database, desk, second, form("delivered", "SM1")) == ["moved"]
    assert ((await desk.message(first))["twilio_sid"], (await desk.message(second))["twilio_sid"]) == ("SM2", "SM1")
    third = await desk.text()
    await receive(database, desk, third, form("delivered", "SM2"))
    assert ((await desk.message(first))["status"], (await desk.message(first))["twilio_sid"]) == ("unknown", None)


async def test_anothers_message_is_nobodys(desk: Desk, neighbour: Desk, database: Database) -> None:
    message = await desk.text()
    with pytest.raises(NotFound):
        await receive(database, neighbour, message, form("delivered"))
    assert (await desk.message(message))["status"] == "queued"


async def test_what_is_no_receipt_changes_nothing(desk: Desk, database: Database) -> None:
    message = await desk.text()
    assert await receive(database, desk, message, {}, form("receiving"), form("delivered", ""), form("sent\x00")) == ["ignored"] * 4
    assert await desk.events(message) == []


async def test_receipts_repeated_and_reordered_by_the_sandbox_end_right(
    desk: Desk, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox, callbacks: str
) -> None:
    for fault in (ReorderCallbacks(), RepeatCallback(copies=3), Undelivered(error_code=30005)):
        twilio.faults.arm(fault)
    message = await desk.text()

    async def ended() -> bool:
        return (await desk.message(message))["status"] == "undelivered"

    async with at_work(await make_dispatcher(public=callbacks)):
        await until(ended)
    assert (await desk.message(message))["error_code"] == 30005
    assert await desk.billed() == 1


def test_a_callback_token_is_of_one_message_of_one_tenant_and_survives_rotation() -> None:
    older, newer = new_master_key("old"), new_master_key("new")
    tenant, message = TenantId(uuid4()), uuid4()
    token = callback_token(Keyring.parse(older), tenant, message)
    assert check_callback_token(Keyring.parse(f"{newer},{older}"), tenant, message, token)
    assert not check_callback_token(Keyring.parse(newer), tenant, message, token)
    ring = Keyring.parse(older)
    for forged in (token[:-1], token + "A", "", "é", "\ud800"):
        assert not check_callback_token(ring, tenant, message, forged)
    assert not check_callback_token(ring, TenantId(uuid4()), message, token)
    assert not check_callback_token(ring, tenant, uuid4(), token)
    url = callback_url("https://hooks.example.com/", "desk", ring, tenant, message)
    assert url == f"https://hooks.example.com/twilio/desk/status/{message}?s={token}#rc=5&rp=ct,rt,5xx"


async def inbound(database: Database, desk: Desk, body: str, sid: str, **more: str) -> str:
    async with database.tenant_scope(desk.tenant) as connection:
        return await record_inbound(
            connection, desk.tenant, {"MessageSid": sid, "From": "+12025550101", "Body": body, "NumSegments": "2", **more}
        )


async def test_stop_and_start_are_obeyed_once_and_for_their_tenant_only(
    desk: Desk, neighbour: Desk, database: Database, owner: Owner
) -> None:
    async def opted_out(one: Desk) -> bool:
        return bool(await owner.fetchval("SELECT count(*) FROM opt_outs WHERE tenant_id = $1", one.tenant))

    assert await inbound(database, desk, "Stop please", "SM1") == "stop"
    assert (await opted_out(desk), await opted_out(neighbour)) == (True, False)
    assert await inbound(database, desk, "HELP", "SM2") == "help"
    assert await inbound(database, desk, "start", "SM3") == "start"
    assert await inbound(database, desk, "Stop please", "SM1") == "repeated"
    assert not await opted_out(desk)
    assert await inbound(database, desk, "See you at noon", "SM4") == "other"
    assert await inbound(database, desk, "whatever they call it", "SM5", OptOutType="STOP") == "stop"
    assert await desk.billed("sms_segments_in") == 10
    # what Twilio decided holds against the words of the text; what it does not say is read from them
    assert await inbound(database, desk, "STOP", "SM6", OptOutType="HELP") == "help"
    assert await opted_out(desk)
    assert await inbound(database, desk, "stop", "SM7", OptOutType="START") == "start"
    assert not await opted_out(desk)
    assert await inbound(database, desk, "Revoke!", "SM8", OptOutType="") == "stop"
    assert await inbound(database, desk, "unstop", "SM9", OptOutType="SOMETHING_NEW") == "start"
    assert not await opted_out(desk)
    assert await inbound(database, neighbour, "stop", "SM1") == "stop"  # the same Sid is another event of another tenant

"""What Twilio charged for a text is on its tenant's ledger once, whatever the list does in between."""

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from messaging.prices import Prices
from messaging.receipts import record_receipt
from messaging.twilio_client import Twilio
from messaging.twilio_http import TwilioHttp
from runtime.crypto import Keyring
from runtime.database import Database
from sandbox.twilio import TwilioSandbox
from sandbox.twilio.faults import Match, Status, Undelivered
from tenants.senders import SenderBook
from tests.dispatch.conftest import CALL_SECONDS
from tests.dispatch.desk import Desk, MakeDispatcher, until

COST = "SELECT coalesce(sum(quantity), 0) FROM usage_events WHERE tenant_id = $1 AND meter = 'sms_cost_usd'"
EVENTS = "SELECT count(*) FROM usage_events WHERE tenant_id = $1 AND meter = 'sms_cost_usd'"
DUE = "SELECT count(*) FROM messages WHERE tenant_id = $1 AND price_due IS NOT NULL"
NOW = "UPDATE messages SET price_due = app.now() WHERE tenant_id = $1 AND price_due IS NOT NULL"


@pytest.fixture
async def prices(database: Database, keyring: Keyring, twilio: TwilioSandbox) -> AsyncIterator[Prices]:
    async with TwilioHttp(twilio.url, total=CALL_SECONDS) as http:
        yield Prices(database, Twilio(http), SenderBook(database, keyring))


async def delivered(desk: Desk, count: int, *statuses: str) -> None:
    async def ended() -> bool:
        found = await desk.statuses()
        return sum(found.get(status, 0) for status in statuses or ("delivered",)) == count

    await until(ended, 20)


async def test_each_text_costs_its_own_tenant_what_twilio_says_and_once(
    prices: Prices, desk: Desk, neighbour: Desk, make_dispatcher: MakeDispatcher, callbacks: str
) -> None:
    for _ in range(3):
        await desk.text(segments=1)
    await neighbour.text()
    await (await make_dispatcher(public=callbacks)).dispatch_once()
    await delivered(desk, 3)
    await delivered(neighbour, 1)
    assert await prices.ask() == 0, "not before a minute has passed"
    for each in (desk, neighbour):
        assert await each.owner.fetchval(DUE, each.tenant) > 0
        await each.owner.execute(NOW, each.tenant)
    assert await prices.ask() == 4
    assert await prices.ask() == 0
    mine, theirs = await desk.owner.fetchval(COST, desk.tenant), await desk.owner.fetchval(COST, neighbour.tenant)
    assert mine == 3 * theirs > 0
    assert isinstance(mine, Decimal)
    assert await desk.owner.fetchval(DUE, desk.tenant) == 0
    # asked again by mistake, it is not charged again
    await desk.owner.execute("UPDATE messages SET price_due = app.now() WHERE tenant_id = $1", desk.tenant)
    await prices.ask()
    assert (await desk.owner.fetchval(COST, desk.tenant), await desk.owner.fetchval(EVENTS, desk.tenant)) == (mine, 3)


async def test_a_list_that_fails_is_asked_again_and_no_other_tenant_waits_for_it(
    prices: Prices, desk: Desk, neighbour: Desk, make_dispatcher: MakeDispatcher, callbacks: str, twilio: TwilioSandbox
) -> None:
    for each in (desk, neighbour):
        await each.text()
    await (await make_dispatcher(public=callbacks)).dispatch_once()
    for each in (desk, neighbour):
        await delivered(each, 1)
        await each.owner.execute(NOW, each.tenant)
    outage = twilio.faults.arm(Status(status=503, match=Match(operation="list", account=desk.account)))
    assert await prices.ask() == 1
    assert (await desk.owner.fetchval(COST, desk.tenant), await desk.owner.fetchval(DUE, desk.tenant)) == (0, 1)
    twilio.faults.disarm(outage)
    await desk.owner.execute(NOW, desk.tenant)
    assert await prices.ask() == 1


async def test_a_text_without_a_price_is_asked_about_later_and_not_for_ever(
    prices: Prices, desk: Desk, make_dispatcher: MakeDispatcher, callbacks: str, twilio: TwilioSandbox
) -> None:
    twilio.faults.arm(Undelivered(error_code=30007, status="failed"))
    await desk.text()
    await (await make_dispatcher(public=callbacks)).dispatch_once()
    await delivered(desk, 1, "failed")
    await desk.owner.execute(NOW, desk.tenant)
    assert await prices.ask() == 0
    assert await desk.owner.fetchval(DUE, desk.tenant) == 1
    old = "UPDATE messages SET price_due = app.now(), updated_at = app.now() - interval '4 days' WHERE tenant_id = $1"
    await desk.owner.execute(old, desk.tenant)
    assert await prices.ask() == 0
    assert await desk.owner.fetchval(DUE, desk.tenant) == 0


async def test_a_text_that_is_sent_again_has_no_price_yet(database: Database, desk: Desk) -> None:
    text = await desk.text()
    await desk.owner.execute("UPDATE messages SET expires_at = app.now() + interval '1 day' WHERE id = $1", text)
    form = {"MessageSid": "SM" + "0" * 32, "MessageStatus": "failed", "ErrorCode": "30022"}
    async with database.tenant_scope(desk.tenant) as connection:
        assert await record_receipt(connection, desk.tenant, text, form) == "moved"
    row = await desk.message(text)
    assert (row["status"], row["price_due"], row["retries"]) == ("queued", None, 1)

"""Texts that wait for the morning, from the request to Twilio: whoever accepted them, whatever changed meanwhile."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from prometheus_client import REGISTRY

from messaging.pacer import Pacer
from runtime.database import Database, open_database
from runtime.settings import Settings
from sandbox.twilio import TwilioSandbox
from tests.api.people import ADMIN_KEY, PUBLIC, Person, Tenant, new_tenant
from tests.api.processes import running
from tests.conftest import Servers, migrated
from tests.dispatch.desk import Desk, MakeDesk, MakeDispatcher
from tests.dispatch.night import Owner, Travel, old_id, say_hours, turn
from trunkline.dev.databases import DatabaseUrls

NIGHT, MORNING = (datetime.fromisoformat(f"2027-01-01T{hour}:00-05:00") for hour in ("03", "08"))
NOON, EVENING = NIGHT + timedelta(hours=9), NIGHT + timedelta(hours=18)
NEW_YORK = "+12125550101"
OFFER = {"to": NEW_YORK, "body": "Ten percent off today. Reply STOP to opt out.", "class": "marketing"}
AFTERNOONS = '{"hours": {"week": {"friday": [{"opens": "14:00", "closes": "17:00"}]}}, "classes": ["transactional"]}'


@pytest.fixture(scope="module")
async def own_urls(servers: Servers) -> DatabaseUrls:
    made = await servers.new_database(f"night{uuid4().hex[:8]}")
    await migrated(made)
    return made


@pytest.fixture(scope="module")
async def database(own_urls: DatabaseUrls) -> AsyncIterator[Database]:
    opened = await open_database(own_urls.app_url)
    yield opened
    await opened.close()


@pytest.fixture
async def owner(own_urls: DatabaseUrls) -> AsyncIterator[Owner]:
    connection = await asyncpg.connect(own_urls.owner_url)
    yield connection
    await connection.close()


@pytest.fixture
async def travel(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Travel]:
    travel = Travel(owner, monkeypatch)
    yield travel
    await travel.home()
    await owner.execute("DELETE FROM control.switches")


@pytest.fixture
async def admin(own_urls: DatabaseUrls, redis_url: str, master_key: str) -> AsyncIterator[Person]:
    settings = Settings(
        database_url=own_urls.app_url,
        redis_url=redis_url,
        public_base_url=PUBLIC,
        secret_keys=master_key,
        admin_key=ADMIN_KEY,
        environment="test",
    )
    async with running(settings) as process:
        yield Person(process.http, ADMIN_KEY)


def taken(twilio: TwilioSandbox, account: str) -> list[str]:
    return [message.to for message in twilio.box if message.account_sid == account]


async def waiting(desk: Desk, kind: str = "marketing") -> UUID:
    """A text that was accepted long ago and is due now."""
    message = await desk.text(to=NEW_YORK, kind=kind)
    changed = old_id()
    await desk.owner.execute("UPDATE messages SET id = $3 WHERE tenant_id = $1 AND id = $2", desk.tenant, message, changed)
    return changed


async def test_an_offer_accepted_at_night_leaves_in_the_morning(
    admin: Person, travel: Travel, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox
) -> None:
    tenant, dispatcher = await new_tenant(admin, timezone="America/New_York"), await make_dispatcher()
    await travel.to(NIGHT)
    put = await tenant.ask("PUT", "/v1/sender", sender_of(tenant))
    account = put.json()["account_sid"]
    offered = (await tenant.post("/v1/messages", OFFER)).json()
    assert (offered["status"], offered["expected_at"]) == ("scheduled", "2027-01-01T13:00:00.000Z")
    told = (await tenant.post("/v1/messages", {**OFFER, "class": "transactional", "to": "+12125550102"})).json()
    assert told["status"] == "queued"
    await dispatcher.dispatch_once()
    assert taken(twilio, account) == ["+12125550102"]
    await travel.to(MORNING - timedelta(seconds=1))
    await dispatcher.dispatch_once()
    assert taken(twilio, account) == ["+12125550102"]
    await travel.to(MORNING + timedelta(seconds=1))
    await dispatcher.dispatch_once()
    assert taken(twilio, account) == ["+12125550102", NEW_YORK]
    assert (await tenant.get(f"/v1/messages/{offered['id']}")).json()["status"] == "sent"


def sender_of(tenant: Tenant) -> dict[str, Any]:
    number = {name: tenant.sender[name] for name in ("account_sid", "from_number", "tier")}
    return {**number, "auth_token": "token-of-the-suite"}


async def test_a_tenants_own_hours_hold_for_it_alone(
    admin: Person, travel: Travel, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox
) -> None:
    own, other = await new_tenant(admin, timezone="America/New_York"), await new_tenant(admin, timezone="America/New_York")
    week = {"friday": [{"opens": "14:00", "closes": "17:00"}]}
    put = await own.ask("PUT", "/v1/quiet-hours", {"hours": {"week": week}, "classes": ["transactional"]})
    assert put.status_code == 200, put.text
    await travel.to(NOON)
    call = {"body": "See you on Tuesday.", "to": NEW_YORK}
    said = [(await each.tool("send_sms", call)).json()["results"][0]["result"] for each in (own, other)]
    assert said == ["Scheduled, leaves on Friday, January 1, 2027, 2:00 PM.", "Queued, leaves now."]
    dispatcher = await make_dispatcher()
    await dispatcher.dispatch_once()
    assert (taken(twilio, own.sender["account_sid"]), taken(twilio, other.sender["account_sid"])) == ([], [NEW_YORK])
    await travel.to(NOON + timedelta(hours=2))
    await dispatcher.dispatch_once()
    assert taken(twilio, own.sender["account_sid"]) == [NEW_YORK]


async def test_what_waited_into_the_night_is_put_off_uncounted_and_its_slot_is_free(
    make_desk: MakeDesk, travel: Travel, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox, redis_url: str
) -> None:
    desk, pacer = await make_desk(per_minute=1), Pacer.at(redis_url, quarantine=0.0)
    await travel.to(EVENING)
    offer, dispatcher = await waiting(desk), await make_dispatcher()
    await dispatcher.dispatch_once()
    row, morning = await desk.message(offer), MORNING + timedelta(days=1)
    assert (row["status"], row["attempt"], row["due_at"], row["expected_at"]) == ("scheduled", 0, morning, morning)
    assert (row["lease_owner"], row["sending_at"], row["error_code"], await desk.events(offer)) == (None, None, None, ["scheduled"])
    assert (taken(twilio, desk.account), await desk.billed()) == ([], 0)
    assert (await pacer.peek(desk.tenant, desk.registration, 1)).next_in < 1.0  # a slot that is used leaves the next one a minute away
    await pacer.close()
    await travel.to(morning)
    await dispatcher.dispatch_once()
    assert taken(twilio, desk.account) == [NEW_YORK]
    assert (await desk.message(offer))["attempt"] == 1


async def test_a_code_leaves_at_any_hour(desk: Desk, travel: Travel, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox) -> None:
    await travel.to(NIGHT)
    await say_hours(desk.owner, desk.tenant, AFTERNOONS)
    await waiting(desk, "otp")
    await (await make_dispatcher()).dispatch_once()
    assert taken(twilio, desk.account) == [NEW_YORK]


async def test_rules_that_changed_since_it_was_accepted_hold(
    desk: Desk, neighbour: Desk, travel: Travel, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox
) -> None:
    await travel.to(NOON)
    ours, _ = await waiting(desk, "transactional"), await waiting(neighbour, "transactional")
    await say_hours(desk.owner, desk.tenant, AFTERNOONS)
    await (await make_dispatcher()).dispatch_once()
    assert (taken(twilio, desk.account), taken(twilio, neighbour.account)) == ([], [NEW_YORK])
    assert (await desk.message(ours))["due_at"] == NOON + timedelta(hours=2)


async def test_a_worker_whose_clock_is_behind_waits_without_end_of_the_message(
    desk: Desk, travel: Travel, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox
) -> None:
    await travel.to(MORNING, worker=MORNING - timedelta(seconds=3))
    offer, dispatcher = await waiting(desk), await make_dispatcher()
    await dispatcher.dispatch_once()
    row = await desk.message(offer)
    assert (row["status"], row["attempt"], row["due_at"]) == ("scheduled", 0, MORNING + timedelta(seconds=1))
    await travel.to(MORNING + timedelta(seconds=3))
    await dispatcher.dispatch_once()
    assert taken(twilio, desk.account) == [NEW_YORK]


@pytest.mark.parametrize("everybody", [True, False])
@pytest.mark.parametrize("mode", ["observe", "off"])
async def test_under_observe_and_off_it_leaves_and_is_counted_or_not(
    mode: str, everybody: bool, desk: Desk, neighbour: Desk, travel: Travel, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox
) -> None:
    await travel.to(NIGHT)
    await turn(desk.owner, mode, None if everybody else desk.tenant)
    await waiting(desk)
    await waiting(neighbour)
    before = counted("observed"), counted("put_off")
    await (await make_dispatcher()).dispatch_once()
    assert taken(twilio, desk.account) == [NEW_YORK]
    assert taken(twilio, neighbour.account) == ([NEW_YORK] if everybody else [])
    observed = (2 if everybody else 1) if mode == "observe" else 0
    assert (counted("observed") - before[0], counted("put_off") - before[1]) == (observed, 0 if everybody else 1)


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("trunkline_quiet_hours_total", {"outcome": outcome}) or 0.0


PUT_OFF = "SELECT app.put_off_v1($1, $2, $3, $4, $5, $6, 'outside')"
LEASE = """
UPDATE messages SET status = 'sending', attempt = attempt + 1, lease_owner = $3, lease_until = app.now() + interval '15 s'
WHERE tenant_id = $1 AND id = $2
"""


async def test_putting_off_again_does_not_reach_the_next_lease(desk: Desk, neighbour: Desk, travel: Travel, database: Database) -> None:
    """Its answer was lost, and the same worker has leased the message again under the same number."""
    await travel.to(NIGHT)
    offer, worker = await waiting(desk), uuid4()
    await desk.owner.execute(LEASE, desk.tenant, offer, worker)
    row = await desk.message(offer)
    values = (desk.tenant, offer, row["attempt"], row["due_at"], MORNING)
    assert await database.call_for_many(PUT_OFF, uuid4(), *values) == [(False,)]  # another worker's
    assert await database.call_for_many(PUT_OFF, worker, neighbour.tenant, *values[1:]) == [(False,)]
    assert await database.call_for_many(PUT_OFF, worker, *values) == [(True,)]
    assert await database.call_for_many(PUT_OFF, worker, *values) == [(False,)]
    await travel.to(MORNING)
    await desk.owner.execute(LEASE, desk.tenant, offer, worker)
    assert await database.call_for_many(PUT_OFF, worker, *values) == [(False,)]
    assert (await desk.message(offer))["status"] == "sending"

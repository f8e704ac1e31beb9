"""STOP and START reach the sender or the tenant, as the tenant says, and nobody is texted against their last word."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from messaging import opt_outs
from messaging.receipts import record_receipt
from runtime.database import Database
from tests.dispatch.consenting import ANNA, BEN, FIRST_NUMBER, NOWHERE, POOL, SECOND_NUMBER, SERVICE, LastWords, Office
from tests.dispatch.desk import MakeDesk, MakeDispatcher

MakeOffice = Callable[[], Awaitable[Office]]


@pytest.fixture
def make_office(make_desk: MakeDesk, database: Database) -> MakeOffice:
    async def make() -> Office:
        return await Office.of(await make_desk(), database)

    return make


@pytest.fixture
async def office(make_office: MakeOffice) -> Office:
    return await make_office()


@pytest.fixture
async def next_door(make_office: MakeOffice) -> Office:
    return await make_office()


async def agreed(*offices: Office) -> None:
    for each in offices:
        assert await each.stored() == each.expected()


async def test_a_stop_covers_the_tenant_unless_it_says_otherwise(office: Office, next_door: Office) -> None:
    await office.hears("STOP", ANNA, SECOND_NUMBER)
    assert await office.stored() == ({ANNA}, set())
    await next_door.covers_now("sender")
    for sender in (SECOND_NUMBER, POOL):
        await next_door.hears("STOP", ANNA, sender)
    assert await next_door.stored() == (set(), {(ANNA, SECOND_NUMBER), (ANNA, POOL)})
    await next_door.hears("START", ANNA, POOL)
    assert await next_door.stored() == (set(), {(ANNA, SECOND_NUMBER)})
    assert await office.stored() == ({ANNA}, set())


async def test_a_text_reaches_the_pool_that_took_it_and_the_number_where_that_is_a_sender_too(office: Office) -> None:
    await office.covers_now("sender")
    await office.hears("STOP", ANNA, FIRST_NUMBER, MessagingServiceSid=SERVICE)
    assert await office.stored() == (set(), {(ANNA, FIRST_NUMBER), (ANNA, POOL)})
    await office.hears("STOP", BEN, FIRST_NUMBER, MessagingServiceSid="MG" + "9" * 32)  # a pool that is no sender of ours
    assert (BEN, FIRST_NUMBER) in (await office.stored())[1]


@pytest.mark.parametrize("more", [{"AccountSid": "AC" + "9" * 32}, {"To": ""}, {"To": "+19075550100"}], ids=str)
async def test_where_the_sender_is_not_known_the_tenant_is_meant(more: dict[str, str], office: Office, next_door: Office) -> None:
    for each in (office, next_door):
        await each.covers_now("sender")
    await office.hears("STOP", ANNA, FIRST_NUMBER, **more)
    assert (await office.stored(), await next_door.stored()) == (({ANNA}, set()), (set(), set()))
    await office.hears("START", ANNA, FIRST_NUMBER, **more)
    assert await office.stored() == (set(), set())


async def test_widening_takes_all_along_and_the_way_back_undoes_nothing(office: Office, next_door: Office) -> None:
    for each in (office, next_door):
        await each.covers_now("sender")
        await each.hears("STOP", ANNA, POOL)
        await each.lists(BEN, SECOND_NUMBER)
        await each.hears("STOP", BEN, FIRST_NUMBER)
    await office.covers_now("tenant")
    assert await office.stored() == ({ANNA, BEN}, {(ANNA, POOL), (BEN, SECOND_NUMBER), (BEN, FIRST_NUMBER)})
    assert (await next_door.stored())[0] == set()
    await office.covers_now("sender")
    assert (await office.stored())[0] == {ANNA, BEN}
    await office.covers_now("tenant")
    await office.hears("START", ANNA, POOL)
    await office.hears("START", BEN, FIRST_NUMBER)  # BEN is on the tenant's own list
    assert await office.stored() == ({BEN}, {(BEN, SECOND_NUMBER)})


async def test_the_tenants_own_entry_stays_its_own_when_it_is_widened(office: Office, next_door: Office) -> None:
    for each in (office, next_door):
        await each.covers_now("sender")
        await each.hears("STOP", ANNA, NOWHERE)  # for the tenant, by the person
    await office.lists(ANNA, POOL)
    for each in (office, next_door):
        await each.covers_now("tenant")
        await each.hears("START", ANNA, FIRST_NUMBER)
    assert (await office.stored(), await next_door.stored()) == (({ANNA}, {(ANNA, POOL)}), (set(), set()))


async def test_no_start_lifts_what_the_tenant_put_on_its_list(office: Office, next_door: Office) -> None:
    for covers in ("tenant", "sender"):
        await office.covers_now(covers)
        await office.lists(ANNA, None)
        await office.lists(ANNA, POOL)
        await office.hears("START", ANNA, POOL)
        await office.hears("START", ANNA, NOWHERE)
        assert await office.stored() == ({ANNA}, {(ANNA, POOL)})
    await next_door.hears("STOP", ANNA, POOL)
    await next_door.lists(ANNA, None)  # what the person had said is the tenant's own word now
    await next_door.hears("START", ANNA, POOL)
    assert await next_door.stored() == ({ANNA}, set())
    async with next_door.database.tenant_scope(next_door.desk.tenant) as connection:
        await opt_outs.remove(connection, next_door.desk.tenant, ANNA, None, "key:test")
    assert (await next_door.stored(), await office.stored()) == ((set(), set()), ({ANNA}, {(ANNA, POOL)}))


async def test_a_start_lifts_what_twilio_and_the_phone_told(office: Office, owner: "asyncpg.Connection[asyncpg.Record]") -> None:
    for source in ("twilio", "call", "inbound"):
        await owner.execute("INSERT INTO opt_outs (tenant_id, recipient, source) VALUES ($1, $2, $3)", office.desk.tenant, ANNA, source)
        assert await office.stored() == ({ANNA}, set())
        await office.hears("start", ANNA, FIRST_NUMBER)
        assert await office.stored() == (set(), set())


async def test_an_inbound_text_is_obeyed_once_and_the_last_to_arrive_holds(office: Office, next_door: Office) -> None:
    await office.hears("STOP", ANNA, POOL, sid="SM1")
    assert await office.hears("START", ANNA, POOL, sid="SM2") == "start"
    assert await office.hears("STOP", ANNA, POOL, sid="SM1") == "repeated"
    assert await office.stored() == (set(), set())
    await next_door.hears("START", ANNA, POOL, sid="SM2")  # sent last, here first
    await next_door.hears("STOP", ANNA, POOL, sid="SM1")
    assert await next_door.stored() == ({ANNA}, set())


async def test_help_changes_nothing_and_what_twilio_decided_holds_against_the_words(office: Office) -> None:
    await office.covers_now("sender")
    await office.hears("whatever", ANNA, POOL, OptOutType="STOP")
    assert await office.hears("HELP", ANNA, POOL) == "help"
    assert await office.hears("stop", BEN, POOL, OptOutType="HELP") == "help"
    assert await office.stored() == (set(), {(ANNA, POOL)})


async def test_a_person_is_one_on_every_channel(office: Office) -> None:
    await office.hears("STOP", f"rcs:{ANNA}", POOL)
    assert (await office.stored())[0] == {ANNA}


@pytest.mark.parametrize(("tier", "code"), [("standard_75_100", "21610"), ("toll_free", "30004")])
async def test_a_callback_that_says_stop_concerns_the_texts_sender(
    tier: str, code: str, make_desk: MakeDesk, make_office: MakeOffice, database: Database
) -> None:
    office, next_door = await Office.of(await make_desk(tier=tier), database), await make_office()
    for covers in ("sender", "tenant"):
        await office.covers_now(covers)
        message = await office.texted(ANNA, POOL)
        async with database.tenant_scope(office.desk.tenant) as connection:
            await record_receipt(
                connection, office.desk.tenant, message, {"MessageSid": f"SM{covers}", "MessageStatus": "failed", "ErrorCode": code}
            )
        if covers == "sender":
            assert await office.stored() == (set(), {(ANNA, POOL)})
    assert await office.stored() == ({ANNA}, {(ANNA, POOL)})
    assert await next_door.stored() == (set(), set())


async def test_a_stop_while_all_are_widened_is_not_left_behind(office: Office) -> None:
    """Whichever comes first: a STOP that was stored for one sender is taken along, one that comes later is stored for the tenant."""
    for number in range(20):
        person = f"+12025550{110 + number}"
        await office.covers_now("sender")
        await asyncio.gather(office.hears("STOP", person, POOL), office.covers_now("tenant"))
        assert person in (await office.stored())[0]


words = st.tuples(
    st.just("word"),
    st.sampled_from(["STOP", "Stop please", "START", "HELP"]),
    st.sampled_from([ANNA, BEN]),
    st.sampled_from([FIRST_NUMBER, SECOND_NUMBER, POOL, NOWHERE]),
)
others = st.one_of(
    st.tuples(st.just("covers"), st.sampled_from(["tenant", "sender"])),
    st.tuples(st.just("list"), st.sampled_from([ANNA, BEN]), st.sampled_from([FIRST_NUMBER, POOL, None])),
    st.tuples(st.just("text"), st.sampled_from([ANNA, BEN]), st.sampled_from([FIRST_NUMBER, SECOND_NUMBER, POOL])),
    st.tuples(st.just("leave")),
)
steps = st.lists(st.tuples(st.integers(0, 1), words | others), min_size=3, max_size=25)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(played=steps)
async def test_nobody_is_texted_against_their_last_word(
    played: list[tuple[int, tuple[Any, ...]]], make_office: MakeOffice, make_dispatcher: MakeDispatcher
) -> None:
    offices, dispatcher = [await make_office(), await make_office()], await make_dispatcher()
    last = [LastWords(), LastWords()]
    for which, (what, *given_to) in played:
        office = offices[which]
        if what == "word":
            heard = await office.hears(*given_to)
            if heard in ("stop", "start"):
                last[which].note(heard, given_to[1], given_to[2], office.covers)
        elif what == "covers":
            await office.covers_now(*given_to)
        elif what == "list":
            await office.lists(*given_to)
        elif what == "text":
            await office.texted(*given_to)
        else:
            await left_by(offices, last, dispatcher.dispatch_once)
        await agreed(*offices)
    await left_by(offices, last, dispatcher.dispatch_once)


async def left_by(offices: list[Office], last: list[LastWords], dispatch: Callable[[], Awaitable[int]]) -> None:
    """All that waits leaves or is kept back; each as the words until now ask for."""
    for office in offices:
        while {"queued", "scheduled"} & (await office.desk.statuses()).keys():
            await dispatch()
    for office, words_of in zip(offices, last, strict=True):
        for message, (person, sender) in office.texts.items():
            row = await office.desk.message(message)
            if row["status"] == "failed":
                assert (row["error_code"], office.may_leave(person, sender)) == (21610, False)
            else:
                assert row["status"] in ("sent", "delivered", "undelivered")
                assert (person, None) not in office.entries, "somebody was texted who asked the tenant not to"
            if words_of.said[person, sender] == "stop":
                assert not office.may_leave(person, sender), "the model forgot a last word"
        office.texts.clear()

"""Opt-outs of one sender, from the request to Twilio: neither accepted nor leased for that sender, and for no other reason held back."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.database import Database
from sandbox.twilio import TwilioSandbox
from tests.dispatch.consenting import ANNA, BEN, FIRST_NUMBER, NOWHERE, POOL, SECOND_NUMBER, Office
from tests.dispatch.desk import MakeDesk, MakeDispatcher

MakeOffice = Callable[[], Awaitable[Office]]
SENDERS = (FIRST_NUMBER, SECOND_NUMBER, POOL)


@pytest.fixture
def make_office(make_desk: MakeDesk, database: Database) -> MakeOffice:
    async def make() -> Office:
        return await Office.of(await make_desk(), database)

    return make


async def all_leave(dispatch: Callable[[], Awaitable[int]], *offices: Office) -> None:
    for office in offices:
        while {"queued", "scheduled"} & (await office.desk.statuses()).keys():
            await dispatch()


async def test_a_text_that_waits_does_not_leave_by_the_sender_that_was_told_to_stop(
    make_office: MakeOffice, make_dispatcher: MakeDispatcher, twilio: TwilioSandbox
) -> None:
    office, next_door, dispatcher = await make_office(), await make_office(), await make_dispatcher()
    waiting = []
    for each in (office, next_door):
        await each.covers_now("sender")
        waiting += [(each, sender, await each.texted(ANNA, sender)) for sender in SENDERS]
    await office.hears("STOP", ANNA, POOL)
    await all_leave(dispatcher.dispatch_once, office, next_door)
    failed = [(each is office, sender) for each, sender, message in waiting if (await each.desk.message(message))["status"] == "failed"]
    assert failed == [(True, POOL)]
    kept = next(message for each, sender, message in waiting if each is office and sender == POOL)
    row = await office.desk.message(kept)
    assert (row["error_code"], row["error_class"], row["attempt"]) == (21610, "opt_out", 0)
    taken = [message.account_sid for message in twilio.box]
    assert (taken.count(office.desk.account), taken.count(next_door.desk.account)) == (2, 3)


words = st.tuples(st.just("word"), st.sampled_from(["STOP", "START"]), st.sampled_from([ANNA, BEN]), st.sampled_from([*SENDERS, NOWHERE]))
others = st.one_of(
    st.tuples(st.just("covers"), st.sampled_from(["tenant", "sender"])),
    st.tuples(st.just("list"), st.sampled_from([ANNA, BEN]), st.sampled_from([FIRST_NUMBER, POOL, None])),
    st.tuples(st.just("text"), st.sampled_from([ANNA, BEN]), st.sampled_from(SENDERS)),
    st.tuples(st.just("leave")),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(played=st.lists(st.tuples(st.integers(0, 1), words | others), min_size=3, max_size=25))
async def test_what_leaves_is_exactly_what_may(
    played: list[tuple[int, tuple[Any, ...]]], make_office: MakeOffice, make_dispatcher: MakeDispatcher
) -> None:
    offices, dispatcher = [await make_office(), await make_office()], await make_dispatcher()
    acts = {"word": Office.hears, "covers": Office.covers_now, "list": Office.lists, "text": Office.texted}
    for which, (what, *said) in [*played, (0, ("leave",))]:
        if what != "leave":
            await acts[what](offices[which], *said)  # type: ignore[operator]  # each takes what its strategy draws
            continue
        await all_leave(dispatcher.dispatch_once, *offices)
        for office in offices:
            for message, (person, sender) in office.texts.items():
                row = await office.desk.message(message)
                assert (row["status"] != "failed") == office.may_leave(person, sender), (row["status"], row["error_code"])
            office.texts.clear()

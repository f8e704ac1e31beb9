"""Where a caller is put through to: decided by the wish, the hours and the tenant's own zone."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenants.destinations import StoredDestination
from tenants.hours import Hours, Span
from tenants.snapshot import Snapshot
from tenants.transfer_directory import EntryView
from tests.webhooks.snapshots import snapshot
from webhooks.transfers import transfer

SALES, BILLING, DESK = "+19075550101", "+19075550102", "+19075550103"
WORKDAYS = Hours(week=dict.fromkeys(("monday", "tuesday", "wednesday", "thursday", "friday"), (Span("09:00", "17:00"),)))
THURSDAY_NOON_IN_LOS_ANGELES = datetime(2026, 11, 26, 20, 0, tzinfo=UTC)


def to(number: str) -> StoredDestination:
    return StoredDestination("number", number=number)


def entry(name: str, number: str, **more: Any) -> EntryView:
    return EntryView(name, to(number), **more)


ENTRIES = (entry("Billing", BILLING), entry("Front Desk", DESK, is_default=True), entry("sales", SALES))


def tenant(*entries: EntryView, zone: str = "America/Los_Angeles", **more: Any) -> Snapshot:
    return snapshot(transfers=entries or ENTRIES, zone=ZoneInfo(zone), **more)


def fields(**given_fields: Any) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in given_fields.items()}


def number_for(asked: dict[str, msgspec.Raw], at: datetime = THURSDAY_NOON_IN_LOS_ANGELES, **more: Any) -> Any:
    return transfer(tenant(**more), asked, at)["destination"]["number"]


@pytest.mark.parametrize(
    "asked",
    [
        {"functionCall": {"name": "transferCall", "parameters": {"destination": "billing"}}},
        {"functionCall": {"name": "transferCall", "parameters": '{"department":"BILLING"}'}},
        {"toolCall": {"function": {"arguments": {"reason": "Billing"}}}},
        {"toolCalls": [{"function": {"arguments": '{"whatever":"billing"}'}}]},
        {"toolCallList": [{"id": "1", "name": "x", "parameters": {"to": "Billing"}}]},
        {"toolWithToolCallList": [{"type": "function", "toolCall": {"function": {"arguments": {"name": "billing"}}}}]},
        {"parameters": {"target": "billing"}},
        {"reason": "The caller has a question for the billing people."},
        {"destination": "billing", "reason": "not sales"},
    ],
)
def test_the_wish_is_found_wherever_the_message_carries_it(asked: dict[str, Any]) -> None:
    assert number_for(fields(**asked)) == BILLING


@pytest.mark.parametrize("wish", ["front-desk", "FRONT_DESK", "front  desk"])
def test_a_name_is_its_words(wish: str) -> None:
    assert number_for(fields(parameters={"name": wish})) == DESK


@pytest.mark.parametrize("asked", [{}, {"reason": "a human"}, {"reason": "sales or billing"}, {"functionCall": 7}, {"parameters": None}])
def test_a_wish_that_names_none_or_several_is_the_defaults(asked: dict[str, Any]) -> None:
    assert number_for(fields(**asked)) == DESK


def test_without_a_default_the_model_is_told_the_names() -> None:
    told = transfer(tenant(ENTRIES[0], ENTRIES[2]), fields(reason="a human"), THURSDAY_NOON_IN_LOS_ANGELES)
    assert "Billing, sales" in told["error"]


def test_without_a_directory_nobody_is_guessed() -> None:
    assert "nobody" in transfer(snapshot(), fields(destination=SALES), THURSDAY_NOON_IN_LOS_ANGELES)["error"]


@pytest.mark.parametrize(
    ("zone", "opened"),
    [("America/Los_Angeles", True), ("America/New_York", True), ("Australia/Sydney", False), ("Asia/Kathmandu", False)],
)
def test_it_is_open_by_the_tenants_own_clock(zone: str, *, opened: bool) -> None:
    told = transfer(tenant(entry("sales", SALES, hours=WORKDAYS, is_default=True), zone=zone), {}, THURSDAY_NOON_IN_LOS_ANGELES)
    assert ("destination" in told) is opened


@pytest.mark.parametrize(
    ("at", "opens"),
    [
        (datetime(2026, 11, 27, 1, 0, tzinfo=UTC), "Friday, November 27, 2026, 9:00 AM"),  # Thursday, 5 in the afternoon
        (datetime(2026, 11, 28, 20, 0, tzinfo=UTC), "Monday, November 30, 2026, 9:00 AM"),
        (datetime(2026, 3, 8, 9, 0, tzinfo=UTC), "Monday, March 9, 2026, 9:00 AM"),  # an hour before the clocks go forward
    ],
)
def test_closed_it_says_when_it_opens_again(at: datetime, opens: str) -> None:
    closed = tenant(entry("sales", SALES, hours=WORKDAYS, closed_message="Sales is closed.", is_default=True))
    assert transfer(closed, {}, at) == {"error": f"Sales is closed. We open again on {opens}."}


def test_an_entrys_own_hours_win_over_the_tenants() -> None:
    never = Hours()
    assert "error" in transfer(tenant(entry("sales", SALES, is_default=True), hours=never), {}, THURSDAY_NOON_IN_LOS_ANGELES)
    own = tenant(entry("sales", SALES, hours=WORKDAYS, is_default=True), hours=never)
    assert "destination" in transfer(own, {}, THURSDAY_NOON_IN_LOS_ANGELES)


def test_hours_that_never_come_promise_nothing() -> None:
    told = transfer(tenant(entry("sales", SALES, hours=Hours(), is_default=True)), {}, THURSDAY_NOON_IN_LOS_ANGELES)
    assert told == {"error": "Sorry, nobody can take this call at the moment."}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text('aé \n"', max_size=20) | st.sampled_from(["billing", "sales", "Front Desk"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["function", "toolCall", "arguments", "parameters", "name", "reason", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)
NAMES = st.sampled_from(["functionCall", "toolCall", "toolCalls", "toolCallList", "toolWithToolCallList", "parameters", "reason", "name"])


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(NAMES, JSON, max_size=4),
    st.integers(-50_000, 50_000),
)
def test_whatever_the_message_carries_the_answer_is_a_destination_or_one_line(asked: dict[str, Any], ahead: int) -> None:
    at = THURSDAY_NOON_IN_LOS_ANGELES + timedelta(hours=ahead)
    hours = (entry("Billing", BILLING, hours=WORKDAYS), *ENTRIES[1:])
    told = transfer(tenant(*hours), fields(**asked), at)
    assert told.get("destination", {}).get("number") in (SALES, BILLING, DESK) or told["error"].splitlines() == [told["error"]]

"""resolve_date and opening_hours, seen from when it was said."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenants.hours import DAYS, Hours, Span
from tests.webhooks.snapshots import snapshot
from webhooks.asked import asked_by
from webhooks.envelope import read
from webhooks.moments import BELIEVED, moment_of
from webhooks.prepared import Prepared
from webhooks.time_tools import NO_HOURS
from webhooks.tools import prepare

NOW = datetime(2026, 11, 26, 18, 0, tzinfo=UTC)  # Thursday, 10 AM in Los Angeles
SHOP = Hours(
    {
        "thursday": (Span("09:00", "12:00"), Span("13:00", "17:00")),
        "friday": (Span("20:00", "02:00"),),
        "monday": (Span("00:00", "24:00"),),
    },
    {"2026-12-03": ()},
)

LUNCH = "Thursday, November 26, 2026, 12:30 PM"
NIGHT, MONDAY = "until 2:00 AM from the day before, then closed.", "Opens next on Monday, November 30, 2026, 12:00 AM."


def resolved(phrase: Any, moment: datetime = NOW, zone: str = "America/Los_Angeles") -> Prepared:
    return prepare(snapshot(zone=ZoneInfo(zone)), "resolve_date", None, {"phrase": phrase}, moment=moment)


def hours_told(moment: datetime = NOW, known: Hours | None = SHOP, **given_arguments: Any) -> Prepared:
    return prepare(snapshot(hours=known), "opening_hours", None, given_arguments, moment=moment)


def test_a_phrase_is_resolved_in_the_tenants_zone_against_the_moment_of_the_call() -> None:
    assert resolved("tomorrow at 3").result == "Friday, November 27, 2026, 3:00 PM (2026-11-27T15:00:00-08:00, America/Los_Angeles)."
    before_midnight = datetime(2026, 11, 27, 7, 59, tzinfo=UTC)
    assert (resolved("tomorrow", before_midnight).result or "").startswith("Friday, November 27")
    assert (resolved("tomorrow", before_midnight + timedelta(minutes=1)).result or "").startswith("Saturday, November 28")
    assert (resolved("tomorrow", before_midnight, "Australia/Sydney").result or "").startswith("Saturday, November 28")


@pytest.mark.parametrize(
    ("phrase", "says"),
    [("yesterday", "today is Thursday, November 26, 2026"), ("soon", "Ask for"), ("", "Ask for"), (None, "missing"), (3, "should be text")],
)
def test_what_cannot_be_resolved_is_a_final_error_that_says_how_to_go_on(phrase: Any, says: str) -> None:
    prepared = resolved(phrase)
    assert says in (prepared.error or "")
    assert (prepared.result, prepared.final) == (None, True)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({}, "Open now until 12:00 PM. Today, Thursday, November 26, 2026: 9:00 AM to 12:00 PM and 1:00 PM to 5:00 PM."),
        ({"day": ""}, "Open now until 12:00 PM. Today, Thursday, November 26, 2026: 9:00 AM to 12:00 PM and 1:00 PM to 5:00 PM."),
        ({"day": "today"}, "Thursday, November 26, 2026: 9:00 AM to 12:00 PM and 1:00 PM to 5:00 PM."),
        ({"day": "Thursday"}, "Thursday, November 26, 2026: 9:00 AM to 12:00 PM and 1:00 PM to 5:00 PM."),
        ({"phrase": "tomorrow"}, "Friday, November 27, 2026: 8:00 PM to 2:00 AM."),
        ({"day": "Saturday"}, f"Saturday, November 28, 2026: {NIGHT} {MONDAY}"),
        ({"day": "Sunday"}, f"Sunday, November 29, 2026: closed all day. {MONDAY}"),
        ({"day": "Monday"}, "Monday, November 30, 2026: open all day."),
        ({"day": "Monday at noon"}, "Monday, November 30, 2026, 12:00 PM: open until 12:00 AM on Tuesday."),
        ({"day": "Saturday at 3 am"}, f"Saturday, November 28, 2026, 3:00 AM: closed; that day: {NIGHT} {MONDAY}"),
        ({"day": "next Thursday"}, "Thursday, December 3, 2026: closed all day. Opens next on Friday, December 4, 2026, 8:00 PM."),
        ({"day": "Saturday at 1 am"}, "Saturday, November 28, 2026, 1:00 AM: open until 2:00 AM."),
        ({"day": "tomorrow at 9 pm"}, "Friday, November 27, 2026, 9:00 PM: open until 2:00 AM on Saturday."),
        (
            {"day": "today at 12:30 pm"},
            f"{LUNCH}: closed; that day: 9:00 AM to 12:00 PM and 1:00 PM to 5:00 PM. Opens next on Thursday, November 26, 2026, 1:00 PM.",
        ),
    ],
    ids=str,
)
def test_hours_are_told_for_now_for_a_day_and_for_a_time(asked: dict[str, Any], told: str) -> None:
    assert hours_told(**asked).result == told


ALL_DAY, HALVES = (Span("00:00", "24:00"),), (Span("12:00", "24:00"), Span("00:00", "12:00"))
BY_NIGHT, LATE = (Span("08:00", "20:00"), Span("20:00", "08:00")), (Span("20:00", "24:00"), Span("09:00", "20:00"))
ALWAYS = dict.fromkeys(DAYS, ALL_DAY)
TODAY = "Today, Thursday, November 26, 2026:"


@pytest.mark.parametrize("week", [ALWAYS, dict.fromkeys(DAYS, HALVES), dict.fromkeys(DAYS, BY_NIGHT)])
def test_what_never_closes_is_open_around_the_clock(week: dict[str, tuple[Span, ...]]) -> None:
    assert hours_told(known=Hours(week)).result == f"Open now, around the clock. {TODAY} open all day."
    assert hours_told(known=Hours(week), day="tomorrow").result == "Friday, November 27, 2026: open all day."
    at_night = hours_told(known=Hours(week), day="tomorrow at 11 pm").result
    assert at_night == "Friday, November 27, 2026, 11:00 PM: open, around the clock."


def test_it_closes_when_the_last_of_the_spans_that_follow_each_other_does() -> None:
    weekend = Hours({"thursday": LATE, "friday": ALL_DAY, "saturday": (Span("00:00", "03:00"),)})
    assert hours_told(known=weekend).result == f"Open now until 3:00 AM on Saturday. {TODAY} 9:00 AM to 12:00 AM."
    over_night = Hours({"thursday": (Span("09:00", "02:00"),), "friday": (Span("02:00", "11:00"), Span("13:00", "14:00"))})
    told = hours_told(known=over_night, day="tomorrow").result
    assert told == "Friday, November 27, 2026: until 11:00 AM from the day before and 1:00 PM to 2:00 PM."


def test_a_day_off_that_is_a_week_or_more_ahead_is_told_by_its_date() -> None:
    told = hours_told(known=Hours(ALWAYS, {"2026-12-03": ()})).result or ""
    assert told.startswith("Open now until 12:00 AM on Thursday, December 3, 2026.")
    assert (hours_told(known=Hours(ALWAYS, {"2026-12-02": ()})).result or "").startswith("Open now until 12:00 AM on Wednesday.")
    assert "around the clock" in (hours_told(known=Hours(ALWAYS, {"2027-06-01": ()})).result or "")


def test_while_it_is_closed_the_next_opening_is_told() -> None:
    told = hours_told(NOW + timedelta(hours=9)).result or ""
    assert told.startswith("Closed now. Today, Thursday, November 26, 2026: 9:00 AM")
    assert told.endswith(" Opens next on Friday, November 27, 2026, 8:00 PM.")
    assert "Opens" not in (hours_told(known=Hours({}, {"2020-01-01": ()})).result or "")


def test_hours_that_nobody_said_are_no_final_answer() -> None:
    prepared = hours_told(known=None)
    assert (prepared.error, prepared.final) == (NO_HOURS, False)


@pytest.mark.parametrize("day", [5, "yesterday", "blue"])
def test_a_day_that_is_none_is_told(day: Any) -> None:
    assert hours_told(day=day).error


@given(st.text(max_size=40) | st.integers() | st.none() | st.lists(st.integers()), st.sampled_from(["day", "phrase", "other"]))
def test_whatever_the_model_gives_is_answered_on_one_line(value: Any, name: str) -> None:
    for tool in ("opening_hours", "resolve_date"):
        prepared = prepare(snapshot(hours=SHOP), tool, None, {name: value}, moment=NOW)
        (said,) = [each for each in (prepared.result, prepared.error) if each is not None]
        assert said.splitlines() == [said]


MOMENTS = {
    "1764180000000": None,  # a year off
    str(int(NOW.timestamp() * 1000)): NOW,
    str(int((NOW - BELIEVED).timestamp() * 1000)): NOW - BELIEVED,
    str(int((NOW - BELIEVED).timestamp() * 1000) - 1): None,
    f"{NOW.timestamp() * 1000}": NOW,
    '"2026-11-26T17:59:00.000Z"': NOW - timedelta(minutes=1),
    '"2026-11-26T09:59:00-08:00"': NOW - timedelta(minutes=1),
    '"2026-11-26T17:59:00"': None,
    '"yesterday"': None,
    "true": None,
    "null": None,
    "{}": None,
    "1e300": None,
    "-99999999999999999": None,
}


@pytest.mark.parametrize(("written", "moment"), MOMENTS.items(), ids=MOMENTS)
def test_a_messages_own_time_is_believed_within_a_day_of_ours(written: str, moment: datetime | None) -> None:
    assert moment_of(msgspec.Raw(written.encode()), NOW) == moment


def test_a_message_without_its_time_is_of_now() -> None:
    assert moment_of(msgspec.UNSET, NOW) is None


def test_a_tool_call_carries_the_moment_of_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.clock.now", lambda: NOW)
    body = {
        "message": {"type": "tool-calls", "timestamp": int(NOW.timestamp() * 1000) - 60_000, "toolCallList": [{"id": "a", "name": "x"}]}
    }
    (asked,) = asked_by(read(msgspec.json.encode(body)), snapshot().id)
    assert asked.moment == NOW - timedelta(minutes=1)

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import clock
from webhooks.calls import CallFacts, instant, report_facts, status_facts

ENDED = datetime(2026, 3, 1, 17, 0, 58, 720_000, tzinfo=UTC)
STARTED = ENDED - timedelta(seconds=58.72)
START_MS, END_MS = int(STARTED.timestamp() * 1000), int(ENDED.timestamp() * 1000)


def report(raw: bytes = b"", **message: Any) -> CallFacts:
    inner = json.dumps({"type": "end-of-call-report", "call": {"id": "c"}, **message}).encode()
    return report_facts(b'{"message":' + inner[:-1] + (b"," + raw if raw else b"") + b"}}")


SECONDS: dict[str, tuple[dict[str, Any], str | None]] = {
    "ISO": ({"startedAt": "2026-03-01T17:00:00.000Z", "endedAt": "2026-03-01T17:00:58.720Z"}, "58.72"),
    "ISO in two zones": ({"startedAt": "2026-03-01T09:00:00-08:00", "endedAt": "2026-03-01T17:01:00+00:00"}, "60"),
    "ISO without a zone": ({"startedAt": "2026-03-01T17:00:00", "endedAt": "2026-03-01T17:00:30"}, "30"),
    "milliseconds": ({"startedAt": START_MS, "endedAt": END_MS}, "58.72"),
    "milliseconds with a fraction": ({"startedAt": START_MS + 0.25, "endedAt": END_MS + 0.25}, "58.72"),
    "no length at all": ({"startedAt": START_MS, "endedAt": START_MS}, "0"),
    "times before durations": ({"startedAt": START_MS, "endedAt": END_MS, "durationSeconds": 1}, "58.72"),
    "ended before it began": ({"startedAt": END_MS, "endedAt": START_MS, "durationSeconds": 7}, "7"),
    "only one time": ({"startedAt": START_MS, "durationMs": 58720}, "58.72"),
    "durationMs": ({"durationMs": 58720}, "58.72"),
    "durationSeconds": ({"durationSeconds": 58.72}, "58.72"),
    "durationMinutes": ({"durationMinutes": 0.5}, "30"),
    "minutes of the vendor": ({"costs": [{"type": "transcriber", "minutes": 9}, {"type": "vapi", "minutes": 0.5}]}, "30"),
    "minutes of others": ({"costs": [{"type": "transcriber", "minutes": 9}]}, None),
    "nothing": ({}, None),
    "nulls": ({"startedAt": None, "endedAt": None, "durationMs": None, "durationSeconds": None, "costs": None}, None),
    "of the snapshot": ({"call": {"id": "c", "startedAt": START_MS, "endedAt": END_MS, "durationSeconds": 9, "cost": 1}}, None),
    "negative": ({"durationSeconds": -5}, None),
    "true": ({"durationSeconds": True}, None),
    "text": ({"durationSeconds": "58"}, None),
    "absurdly long": ({"durationSeconds": 1e12}, None),
    "absurdly long, then a true one": ({"durationMs": 1e300, "durationSeconds": 5}, "5"),
    "a year": ({"startedAt": "2025-03-01T17:00:00Z", "endedAt": "2026-03-01T17:00:00Z"}, None),
    "times that are none": ({"startedAt": "yesterday", "endedAt": [], "durationSeconds": 5}, "5"),
    "times before telephony": ({"startedAt": "0001-01-01T00:00:00+14:00", "endedAt": "0001-01-01T00:01:00+14:00"}, None),
    "times to come": ({"startedAt": "9999-12-31T23:00:00-14:00", "endedAt": "9999-12-31T23:59:59-14:00"}, None),
}


@pytest.mark.parametrize(("message", "seconds"), SECONDS.values(), ids=SECONDS)
def test_seconds(message: dict[str, Any], seconds: str | None) -> None:
    found = report(**message)
    assert found.seconds == (None if seconds is None else Decimal(seconds))
    assert found.state == "ended"


COSTS = {
    "a price": (b'"cost":0.0691', "0.0691"),
    "every digit": (b'"cost":0.12345678901234567890', "0.12345678901234567890"),
    "free": (b'"cost":0', "0"),
    "exponent": (b'"cost":6.91e-2', "0.0691"),
    "none": (b'"cost":null', None),
    "text": (b'"cost":"0.07"', "0.07"),
    "no number": (b'"cost":"much"', None),
    "negative": (b'"cost":-1', None),
    "absurd": (b'"cost":100000.01', None),
    "out of range": (b'"cost":1e999', None),
    "far out of range": (b'"cost":1e999999999', None),
    "next to nothing": (b'"cost":1e-999999', "0"),
    "more digits than mean anything": (b'"cost":0.' + b"1" * 50_000, "0." + "1" * 30),
    "a list": (b'"cost":[1]', None),
    "only in the parts": (b'"costs":[{"type":"vapi","cost":1}]', None),
}


@pytest.mark.parametrize(("raw", "cost"), COSTS.values(), ids=COSTS)
def test_cost(raw: bytes, cost: str | None) -> None:
    assert report(raw).cost_usd == (None if cost is None else Decimal(cost))


@pytest.mark.parametrize(
    "unreadable", [b"1e999", b"9" * 5000, b'"\xff"', b"[" * 50 + b"1e999" + b"]" * 50], ids=["1e999", "digits", "utf-8", "deep"]
)
@pytest.mark.parametrize("field", [b"startedAt", b"durationMs", b"costs", b"messages", b"artifact", b"endedReason", b"status"])
def test_a_field_that_cannot_be_read_leaves_the_others(field: bytes, unreadable: bytes) -> None:
    found = report(b'"' + field + b'":' + unreadable, durationSeconds=58.72, cost=0.0691)
    assert (found.seconds, found.cost_usd, found.state) == (Decimal("58.72"), Decimal("0.0691"), "ended")


def test_an_estimate_stands_apart_and_only_where_seconds_are_unknown() -> None:
    said = [{"time": 1.7e12, "endTime": 1.7e12 + 4000.5}, {"time": 1.7e12 + 5000, "endTime": 1.7e12 + 42608}, {"role": "system"}, 5]
    for message in ({"messages": said}, {"artifact": {"messages": said}}):
        found = report(**message)
        assert (found.seconds, found.estimated_seconds) == (None, Decimal("42.608"))
    assert report(messages=said, durationSeconds=9).estimated_seconds is None


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{}],
        [{"time": 5}],
        [{"endTime": 5}],
        [{"time": 9, "endTime": 5}],
        [{"time": 0, "endTime": 1e18}],
        [{"time": "1", "endTime": "2"}],
        {},
        "x",
    ],
    ids=str,
)
def test_an_estimate_needs_a_first_and_a_last_word(messages: object) -> None:
    assert report(messages=messages).estimated_seconds is None


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"endedReason": "customer-ended-call"}, "customer-ended-call"),
        ({"call": {"endedReason": "assistant-ended-call"}}, "assistant-ended-call"),
        ({"endedReason": "a", "call": {"endedReason": "b"}}, "a"),
        ({"endedReason": "x" * 500}, "x" * 200),
        ({"endedReason": "a\x00b"}, "ab"),
        ({"endedReason": 5}, None),
        ({"call": {"endedReason": None}}, None),
        ({}, None),
    ],
    ids=str,
)
def test_the_reason(message: dict[str, Any], reason: str | None) -> None:
    assert report(**message).ended_reason == reason


def status(value: Any, **more: Any) -> CallFacts:
    return status_facts(json.dumps({"message": {"type": "status-update", "status": value, **more}}).encode())


def test_a_status_is_an_open_list_and_ranked() -> None:
    known = [status(name).rank for name in ("scheduled", "queued", "ringing", "in-progress", "forwarding", "ended")]
    assert known == sorted(set(known))
    assert status("something-new").rank < known[0]
    assert status("something-new").state == "something-new"
    unreadable: list[Any] = [None, "", 5, []]
    assert [status(value).state for value in unreadable] == ["unknown"] * 4
    assert status("x" * 100).state == "x" * 64


def test_a_reason_counts_with_the_end_only() -> None:
    assert status("ended", endedReason="hang-up").ended_reason == "hang-up"
    assert status("in-progress", endedReason="hang-up").ended_reason is None


def test_instants_that_cannot_be_true_are_unknown() -> None:
    now = clock.now()
    assert instant((now + timedelta(hours=1)).isoformat()) is not None  # clocks differ
    assert instant((now + timedelta(days=2)).isoformat()) is None
    assert instant(10**400) is None
    assert instant(-(10**15)) is None


@given(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.datetimes().map(str)
    | st.lists(st.none())
)
def test_whatever_stands_in_a_field_a_figure_is_possible_or_unknown(value: Any) -> None:
    fields = (
        "startedAt",
        "endedAt",
        "durationMs",
        "durationSeconds",
        "durationMinutes",
        "cost",
        "costs",
        "messages",
        "endedReason",
        "artifact",
    )
    found = report(**dict.fromkeys(fields, value))
    for figure in (found.seconds, found.estimated_seconds, found.cost_usd):
        assert figure is None or (figure.is_finite() and 0 <= figure <= Decimal(604_800))
    for moment in (found.started_at, found.ended_at):
        assert moment is None or moment.astimezone(UTC) <= clock.now() + timedelta(days=1)

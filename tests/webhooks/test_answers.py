import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks import answers

ZONE = ZoneInfo("America/Los_Angeles")
MOMENT = datetime(2026, 11, 23, 23, 5, tzinfo=UTC)


@given(st.text())
def test_an_answer_is_one_line_of_text(said: str) -> None:
    for kind in ("result", "error"):
        entry = json.loads(answers.entry("call_1", "book", **{kind: said}))
        assert (entry["toolCallId"], entry["name"]) == ("call_1", "book")
        assert set(entry) == {"toolCallId", "name", kind}
        assert len(entry[kind].splitlines()) <= 1
        assert entry[kind].split() == said.split() or not said.strip()


def test_the_raw_answer_holds_no_line_break() -> None:
    body = answers.results([answers.entry("a", "f", result="one\r\ntwo\u2028three"), answers.entry(None, "g", error=None)])
    assert b"\n" not in body
    assert json.loads(body) == {
        "results": [
            {"toolCallId": "a", "name": "f", "result": "one two three"},
            {"toolCallId": "", "name": "g", "error": answers.NOT_NOW},
        ]
    }


@pytest.mark.parametrize(
    ("seconds", "spoken"),
    [
        (0, "1 s"),
        (1.4, "1 s"),
        (4.4, "4 s"),
        (89, "89 s"),
        (90, "2 minutes"),
        (119, "2 minutes"),
        (600, "10 minutes"),
        (5399, "90 minutes"),
        (5400, "2 hours"),
        (36_000, "10 hours"),
    ],
)
def test_durations_are_spoken(seconds: float, spoken: str) -> None:
    assert answers.spoken_duration(seconds) == spoken


@given(st.floats(min_value=2, max_value=1e6))
def test_a_spoken_duration_is_honest(seconds: float) -> None:
    count, unit = answers.spoken_duration(seconds).split()
    size = {"s": 1, "minute": 60, "minutes": 60, "hour": 3600, "hours": 3600}[unit]
    assert abs(int(count) * size - seconds) <= size / 2
    assert unit in ("s", "minute", "hour") if int(count) == 1 else unit in ("s", "minutes", "hours")


@pytest.mark.parametrize(
    ("wait", "said"),
    [
        (0, "Queued, leaves now."),
        (1.9, "Queued, leaves now."),
        (4, "Queued, leaves in about 4 s."),
        (600, "Queued, leaves in about 10 minutes."),
    ],
)
def test_the_caller_hears_when_the_text_leaves(wait: float, said: str) -> None:
    assert answers.queued(wait, None, ZONE) == said


def test_a_scheduled_text_names_its_day_in_the_tenants_zone() -> None:
    assert answers.queued(0, MOMENT, ZONE) == "Scheduled, leaves on Monday, November 23, 2026, 3:05 PM."
    assert answers.spoken_time(MOMENT.replace(hour=8), ZONE) == "Monday, November 23, 2026, 12:05 AM"
    assert answers.spoken_time(MOMENT.replace(hour=20), ZONE) == "Monday, November 23, 2026, 12:05 PM"


@pytest.mark.parametrize("nothing", ["", " ", "\n\u2028\x1c"], ids=repr)
def test_an_answer_is_never_empty(nothing: str) -> None:
    assert json.loads(answers.entry("t", "f", result=nothing))["result"] == answers.DONE
    assert json.loads(answers.entry("t", "f", error=nothing))["error"] == answers.NOT_NOW
    assert json.loads(answers.function_result(nothing))["result"] == answers.NOT_NOW

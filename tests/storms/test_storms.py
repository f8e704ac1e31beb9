"""Two short storms, so that the long ones of `make storms` do not rot; and that what they count can be wrong."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.kills.burst import Delivery
from tests.storms.count import wrong
from tests.storms.flow import Order
from tests.storms.run import storms
from tests.storms.slots import Slot, SlotBook, excess
from tests.storms.storm import Flow
from tests.storms.weather import STORMS

SID = "SM1"
UP, AGAIN, DOUBT = "Twilio lists it in neither look: given up", "Twilio lists it in neither look: sent once more", "unknown"
TAKEN, LOST, REFUSED, NEVER = (
    {"status": 201, "sid": SID},
    {"status": None, "sid": SID},
    {"status": 429, "sid": None},
    {"status": None, "sid": None},
)


@pytest.mark.timeout(300)
async def test_texts_flow_through_lost_answers_and_a_flushed_redis() -> None:
    said: list[str] = []
    played = await storms(["twilio-reset", "redis-flushed"], Flow(100, 2.0, 240.0), said.append)
    assert [each.faults for each in played.values()] == [[], []], said
    assert [each.figures["messages"] for each in played.values()] == [100, 100]
    assert int(played["twilio-reset"].figures["in_doubt"]) > 0
    assert int(played["redis-flushed"].figures["flushes"]) > 0


def test_the_storms_are_those_that_are_promised() -> None:
    assert len(STORMS) == 13


@pytest.mark.parametrize(
    ("kind", "status", "details", "tried", "verdict"),
    [
        ("otp", "sent", [], [TAKEN], None),
        ("otp", "delivered", [DOUBT], [LOST], None),
        ("otp", "sent", [], [REFUSED, TAKEN], None),
        ("otp", "sent", [DOUBT, AGAIN], [NEVER, TAKEN], None),
        ("otp", "failed", [DOUBT, AGAIN, DOUBT, UP], [NEVER, NEVER], None),
        ("marketing", "failed", [DOUBT, UP], [NEVER], None),
        ("otp", "queued", [], [], "not settled"),
        ("otp", "sent", [], [TAKEN, TAKEN], "twice"),
        ("otp", "sent", [], [NEVER, TAKEN], "repeated blindly"),
        ("otp", "sent", [AGAIN], [NEVER, NEVER, NEVER, TAKEN], "repeated too often"),
        ("marketing", "sent", [AGAIN], [NEVER, NEVER, TAKEN], "repeated too often"),
        ("otp", "failed", [DOUBT, UP], [NEVER], "failed without need"),
        ("marketing", "failed", [], [REFUSED], "failed without need"),
        ("otp", "failed", [DOUBT, UP], [LOST], "said not to be sent, but Twilio took it"),
        ("otp", "sent", [], [NEVER], "said to be sent, but Twilio has not it under this Sid"),
        ("otp", "canceled", [], [], "an end that nothing here leads to"),
    ],
)
def test_each_wrong_end_is_seen(kind: str, status: str, details: list[str], tried: list[Mapping[str, Any]], verdict: str | None) -> None:
    history = [{"status": "queued", "detail": detail} for detail in details]
    row = {"status": status, "history": history, "twilio_sid": SID, "error": {"reason": "so it is"}}
    order = Order("+12135550100", "A text.", kind, 1, Delivery("", "", "", b""))
    assert wrong(order, row, [{"sid": each["sid"]} for each in tried if each["sid"]], tried) == verdict


def test_what_has_no_row_is_lost() -> None:
    assert wrong(Order("+12135550100", "A text.", "otp", 1, Delivery("", "", "", b"")), {}, [], []) == "lost"


@pytest.mark.parametrize(
    ("slots", "beyond"),
    [
        ([], 0.0),
        ([(0, 1), (1_000_000, 1), (2_000_000, 1)], 0.0),
        ([(0, 3), (3_000_000, 1)], 0.0),  # a long one is paid off by those that come later
        ([(0, 1), (500_000, 1), (2_000_000, 1)], 0.5),
        ([(0, 1), (10_000_000, 1), (10_000_000, 1), (10_000_000, 1)], 2.0),  # idle time is not saved up
        ([(0, 3), (2_000_000, 3)], 1.0),
    ],
)
def test_a_slot_too_early_is_over_the_tier(slots: list[tuple[int, int]], beyond: float) -> None:
    assert excess([Slot(at, segments) for at, segments in slots], per_minute=60) == pytest.approx(beyond, abs=0.001)


def test_the_watcher_reads_what_monitor_writes() -> None:
    key = b'"LIMITS/pacer:{0192}:01923f5e-7a00-7000-8000-000000000001:recent"'
    book = SlotBook("redis://127.0.0.1:1/0")
    book._note(b'+1.2 [0 lua] "ZADD" ' + key + b' "1700000000000001" "16.1:2"\r\n')
    book._note(b'+1.2 [0 lua] "ZADD" ' + key + b' "1700000001000000" "16.2:1"\r\n')
    book._note(b'+1.3 [0 lua] "ZREM" ' + key + b' "16.1:2"\r\n')
    book._note(b'+1.4 [0 lua] "ZRANGEBYSCORE" ' + key + b' "0" "1"\r\n')
    assert book.slots("01923f5e-7a00-7000-8000-000000000001") == [Slot(1_700_000_001_000_000, 1)]

"""The comparison, the day's plan and the target: pure."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.simulate.agreement import FIGURES, Span, amount, differing, failed_in, frequent_in, sent_in
from trunkline.simulate.plan import planned
from trunkline.simulate.target import is_here


def counts(messages: int, answered: int, deliveries: int, accepted: int) -> dict[str, int]:
    return {"messages": messages, "answered": answered, "deliveries": deliveries, "accepted": accepted}


def book(by_type: dict[str, dict[str, int]], **more: Any) -> dict[str, Any]:
    figures = {"texts_asked": 1, "texts_promised": 1, "seconds": "61.257", "cost": "0.1234", "report": "answered"}
    return {"by_type": by_type, **figures, **more}


GOOD = book({"tool-calls": counts(1, 1, 3, 3), "end-of-call-report": counts(1, 1, 1, 1), "speech-update": counts(9, 9, 20, 20)})
RECORDED = {name: Decimal(value) for name, value in zip(FIGURES, ("2", "2", "1", "61.257", "0.1234"), strict=True)}


def test_what_was_answered_has_to_be_recorded_exactly() -> None:
    sent = sent_in([GOOD])
    assert differing(sent, RECORDED) == []
    for name in FIGURES:
        for off in (Decimal("0.001"), Decimal("-0.001")):
            assert differing(sent, {**RECORDED, name: RECORDED[name] + off}) == [name]
    assert differing(sent, None) == list(FIGURES)
    assert (frequent_in([GOOD]), failed_in([GOOD])) == (9, 0)


def test_what_got_no_good_answer_may_be_recorded_or_not() -> None:
    doubtful = book({"tool-calls": counts(1, 0, 4, 0), "end-of-call-report": counts(1, 0, 2, 0)}, texts_promised=0, report="unanswered")
    sent = sent_in([GOOD, doubtful])
    assert sent["webhooks"] == Span(Decimal(2), Decimal(4))
    assert sent["duplicates"] == Span(Decimal(2), Decimal(8))
    assert sent["texts"] == Span(Decimal(1), Decimal(2))
    assert sent["seconds"] == Span(Decimal("61.257"), Decimal("122.514"))
    assert differing(sent, RECORDED) == []
    assert differing(sent, {**RECORDED, "webhooks": Decimal(5)}) == ["webhooks"]


def test_a_refused_text_is_no_text_and_a_lost_report_no_seconds() -> None:
    sent = sent_in([book({"tool-calls": counts(1, 1, 1, 1)}, texts_promised=0, report="lost")])
    assert (sent["texts"], sent["seconds"], sent["cost"]) == (Span(), Span(), Span())


def test_nothing_sent_is_nothing() -> None:
    assert set(sent_in([]).values()) == {Span()}


def test_amounts_are_shown_without_zeros_at_their_end() -> None:
    assert [amount(Decimal(text)) for text in ("0", "1200", "0.1230", "138738.382")] == ["0", "1,200", "0.123", "138,738.382"]
    assert str(Span(Decimal(1), Decimal(2))) == "1 to 2"


@given(st.text(max_size=10), st.integers(1, 40), st.integers(1, 120))
def test_a_day_is_drawn_by_its_seed(seed: str, tenants: int, calls: int) -> None:
    day = planned(seed, tenants, calls)
    assert day == planned(seed, tenants, calls)
    assert len(day) == len({call.seed for call in day}) == calls
    assert day[0].at == 0
    assert [call.at for call in day] == sorted(call.at for call in day)
    assert {call.seat for call in day} <= set(range(tenants))
    assert len({call.seat for call in day}) == tenants or calls < tenants
    assert all(len(call.caller) == 12 and call.caller[5:10] == "55501" for call in day)


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://localhost:8080/", True),
        ("http://[::1]:8080", True),
        ("https://127.0.0.1:8080", False),
        ("http://127.0.0.1.example.com", False),
        ("http://127.0.0.1@example.com", False),
        ("http://192.168.0.1", False),
        ("http://0.0.0.0:80", False),
        ("ftp://127.0.0.1", False),
        ("http://[::1", False),
        ("", False),
    ],
)
def test_only_this_machine_is_here(url: str, *, here: bool) -> None:
    assert is_here(url) is here

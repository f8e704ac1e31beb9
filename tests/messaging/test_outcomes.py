import json
from decimal import Decimal
from itertools import permutations
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging import faults
from messaging.faults import Action, ErrorClass
from messaging.learning import TEACHING, lesson
from messaging.outcomes import (
    Accepted,
    Deferred,
    Outcome,
    Refused,
    Unknown,
    classify,
    classify_exception,
    describe,
    next_status,
    receipt_rank,
)

TABLE = json.loads((Path(faults.__file__).parent / "errors.json").read_text("utf-8"))
STATUSES = [
    "accepted",
    "scheduled",
    "queued",
    "sending",
    "sent",
    "partially_delivered",
    "delivered",
    "undelivered",
    "failed",
    "canceled",
    "read",
]
SID = "SM" + "0" * 32


def answer(status: int, body: object, **headers: str) -> Outcome:
    return classify(status, json.dumps(body).encode(), headers)


def error(status: int, code: object, **headers: str) -> Outcome:
    return answer(status, {"code": code, "message": "no", "more_info": "https://www.twilio.com/docs/errors/1", "status": status}, **headers)


def test_a_created_message_is_accepted() -> None:
    created = answer(
        201, {"sid": SID, "status": "queued", "num_segments": "2", "price": "-0.0079", "price_unit": "USD", "error_code": None}
    )
    assert created == Accepted(SID, "queued", 2, Decimal("-0.0079"), "USD", None)


def test_segments_and_price_that_twilio_does_not_know_yet_are_none() -> None:
    created = answer(201, {"sid": SID, "status": "accepted", "num_segments": "0", "price": None, "price_unit": None})
    assert created == Accepted(SID, "accepted", None, None, None, None)


@pytest.mark.parametrize(
    "body", [b"", b"<html>welcome</html>", b"{}", b"[]", b'{"sid": ""}', b'{"sid": 7}', b"\xff\xfe", b'{"sid": "S', b"[" * 100_000]
)
def test_a_success_without_a_sid_is_unknown(body: bytes) -> None:
    assert isinstance(classify(201, body, {}), Unknown)


def test_too_many_requests_at_once_is_proved_not_sent() -> None:
    assert error(429, 20429, **{"Retry-After": "2"}) == Deferred(20429, "not_sent", "retry_backoff", 2.0, describe(20429).reason)
    assert error(429, "20429") == Deferred(20429, "not_sent", "retry_backoff", None, describe(20429).reason)


def test_a_429_without_twilios_code_proves_nothing() -> None:
    assert isinstance(classify(429, b"<html>slow down</html>", {"Retry-After": "1"}), Unknown)
    assert isinstance(answer(429, {"message": "slow down"}), Unknown)
    assert isinstance(error(429, 429), Unknown)


def test_an_unknown_code_with_429_is_deferred_and_with_400_refused() -> None:
    assert isinstance(error(429, 99999), Deferred)
    refused = error(400, 99999)
    assert isinstance(refused, Refused)
    assert (refused.error_class, refused.action) == ("unknown", "alert")
    assert "99999" in refused.reason


@pytest.mark.parametrize(("code", "action"), [(63038, "hold_24h"), (60728, "hold_1h")])
def test_account_caps_say_how_long_the_registration_is_held(code: int, action: str) -> None:
    capped = error(429, code)
    assert isinstance(capped, Deferred)
    assert (capped.error_class, capped.action, capped.retry_after) == ("account_cap", action, None)


REFUSING = [(401, 20003), (403, 20003), (400, 20005), (400, 30002), (401, None), (403, None)]


@pytest.mark.parametrize(("status", "code"), REFUSING)
def test_refused_credentials_leave_the_text_waiting_and_are_no_attempt_of_it(status: int, code: int | None) -> None:
    refused = error(status, code)
    assert isinstance(refused, Deferred)
    assert (refused.code, refused.error_class, refused.action) == (code or status, "config", "open_circuit")
    assert not refused.counted


@pytest.mark.parametrize(
    ("code", "counted"), [(20429, False), (21611, False), (63038, False), (60728, False), (63018, True), (99999, True)]
)
def test_what_was_not_the_texts_fault_is_no_attempt_of_it(code: int, counted: bool) -> None:
    deferred = error(429, code)
    assert isinstance(deferred, Deferred)
    assert deferred.counted is counted


@pytest.mark.parametrize("code", [21211, 21408, 21606, 21608, 21610, 21612, 21614, 21703, 30003, 30005, 30007, 99999])
def test_an_error_that_may_concern_one_recipient_stops_no_sender(code: int) -> None:
    assert lesson(code, faults.fault(code).action) is None


@pytest.mark.parametrize("code", [404, 20404, 21212, 21603, 21701, 21704, 21705, 30032, 30033, 30034])
def test_an_error_that_every_text_would_meet_stops_the_sender(code: int) -> None:
    assert lesson(code, faults.fault(code).action) == "stop_sender"


@pytest.mark.parametrize(
    ("status", "code"),
    [(500, 20500), (503, 20503), (500, 21211), (502, None), (504, None), (500, 20429), (302, None), (408, None), (413, None)],
)
def test_what_may_have_been_accepted_is_unknown(status: int, code: int | None) -> None:
    assert isinstance(error(status, code), Unknown)


def test_a_full_queue_is_not_sent() -> None:
    full = error(400, 21611)
    assert isinstance(full, Deferred)
    assert (full.error_class, full.action) == ("backpressure", "pause_sender")


@pytest.mark.parametrize(
    ("status", "code", "error_class", "action"),
    [
        (400, 21211, "recipient", "mark_number"),
        (400, 21614, "recipient", "mark_number"),
        (400, 21610, "opt_out", "suppress"),
        (400, 21608, "config", "fail"),
        (400, 21617, "bad_request", "fail"),
        (400, 21212, "config", "stop_sender"),
        (404, 20404, "config", "stop_sender"),
        (400, 30034, "registration", "stop_sender"),
    ],
)
def test_what_would_be_refused_again(status: int, code: int, error_class: str, action: str) -> None:
    refused = error(status, code)
    assert isinstance(refused, Refused)
    assert (refused.code, refused.error_class, refused.action) == (code, error_class, action)
    assert (refused.reason, refused.what_to_do) == describe(code)


@pytest.mark.parametrize(("status", "kind", "action"), [
    (401, Deferred, "open_circuit"),
    (403, Deferred, "open_circuit"),
    (404, Refused, "stop_sender"),
])  # fmt: skip
def test_the_bare_statuses_that_mean_something(status: int, kind: type[Deferred | Refused], action: str) -> None:
    refused = classify(status, b"Forbidden", {})
    assert isinstance(refused, kind)
    assert (refused.code, refused.error_class, refused.action) == (status, "config", action)


def test_a_failure_before_writing_is_not_sent_and_after_it_unknown() -> None:
    assert isinstance(classify_exception(ConnectionRefusedError(), request_written=False), Deferred)
    assert isinstance(classify_exception(TimeoutError(), request_written=True), Unknown)


@pytest.mark.parametrize("code", sorted(TABLE))
def test_every_row_of_the_table_is_understood(code: str) -> None:
    row = TABLE[code]
    assert row["class"] in get_args(ErrorClass)
    assert row["action"] in get_args(Action)
    for sentence in describe(int(code)):
        assert sentence[0].isupper()
        assert sentence.endswith(".")
    outcome = error(400, int(code))
    assert isinstance(
        outcome,
        Deferred
        if row["action"] == "open_circuit"
        else {
            "ambiguous": Unknown,
            "not_sent": Deferred,
            "backpressure": Deferred,
            "rate_signal": Deferred,
            "day_cap": Deferred,
            "account_cap": Deferred,
        }.get(row["class"], Refused),
    )


def test_every_action_that_teaches_is_one_of_the_table() -> None:
    assert {row["action"] for row in TABLE.values()} >= TEACHING


def test_a_missing_code_is_described_too() -> None:
    assert describe(None).reason == "Twilio gave no reason."


@given(st.integers(100, 599), st.binary(max_size=60), st.dictionaries(st.sampled_from(["Retry-After", "X"]), st.text(max_size=12)))
def test_no_answer_breaks_it(status: int, body: bytes, headers: dict[str, str]) -> None:
    assert isinstance(classify(status, body, headers), Outcome)


def test_the_order_of_receipts_does_not_matter() -> None:
    for order in permutations(["queued", "sending", "sent", "delivered"]):
        current: str | None = None
        for reported in order:
            current = next_status(current, reported) or current
        assert current == "delivered"


def test_the_first_final_status_stands() -> None:
    assert next_status("delivered", "undelivered") is None
    assert next_status("failed", "sent") is None
    assert next_status("canceled", "failed") is None


def test_read_follows_delivered_only() -> None:
    assert next_status("delivered", "read") == "read"
    assert next_status("sent", "read") is None
    assert next_status("failed", "read") is None
    assert next_status("read", "delivered") is None


@pytest.mark.parametrize("reported", ["received", "receiving", "", "DELIVERED", "sent "])
def test_a_status_that_is_none_changes_nothing(reported: str) -> None:
    assert next_status(None, reported) is None
    assert next_status("sent", reported) is None


@given(st.lists(st.sampled_from(STATUSES), max_size=12))
def test_the_rank_only_grows(reports: list[str]) -> None:
    current: str | None = None
    for reported in reports:
        following = next_status(current, reported)
        if following is not None:
            assert receipt_rank(following) > receipt_rank(current or "")
            current = following

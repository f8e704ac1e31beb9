from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runtime import clock
from tests.webhooks.snapshots import sender, snapshot
from webhooks.prepared import Prepared
from webhooks.tools import prepare

CALLER = "+12135550123"


def send(given: dict[str, Any] | None, caller: str | None = CALLER, tier: str = "short_code", **more: Any) -> Prepared:
    return prepare(snapshot(sender(tier, **more)), "send_sms", caller, given)


def test_the_caller_is_texted_when_nobody_is_named() -> None:
    for given in ({"body": "Hi"}, {"to": "", "body": "Hi"}, {"to": None, "body": "Hi"}):
        prepared = send(given)
        assert prepared.text is not None
        assert (prepared.text.recipient, prepared.text.body, prepared.text.message_class) == (CALLER, "Hi", "transactional")
        assert (prepared.result, prepared.error, prepared.final) == ("Queued, leaves now.", None, True)


def test_whom_the_model_names_is_texted() -> None:
    prepared = send({"to": "(213) 555-0199", "body": "Hi"})
    assert prepared.text is not None
    assert prepared.text.recipient == "+12135550199"


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nobody to text": ({"body": "Hi"}, "number"),
    "no body": ({"to": CALLER}, "body"),
    "empty body": ({"to": CALLER, "body": ""}, "empty"),
    "blank body": ({"to": CALLER, "body": " \n "}, "empty"),
    "body of number": ({"to": CALLER, "body": 5}, "body"),
    "to of number": ({"to": 12135550123, "body": "Hi"}, "to"),
    "bad number": ({"to": "12", "body": "Hi"}, "phone number"),
    "words for a number": ({"to": "my wife", "body": "Hi"}, "phone number"),
    "too long": ({"to": CALLER, "body": "x" * 5000}, "1,600"),
    "NUL": ({"to": CALLER, "body": "a\x00b"}, "character"),
    "past": ({"to": CALLER, "body": "Hi", "send_at": "2020-01-01T00:00:00Z"}, "past"),
    "no offset": ({"to": CALLER, "body": "Hi", "send_at": "2030-01-01T00:00:00"}, "offset"),
    "no time": ({"to": CALLER, "body": "Hi", "send_at": "tomorrow"}, "send_at"),
    "time of number": ({"to": CALLER, "body": "Hi", "send_at": 5}, "send_at"),
    "first of times": ({"to": CALLER, "body": "Hi", "send_at": "0001-01-01T00:00:00+14:00"}, "past"),
    "last of times": ({"to": CALLER, "body": "Hi", "send_at": "9999-12-31T23:59:59-14:00"}, "year"),
}


@pytest.mark.parametrize(("given", "says"), REFUSED.values(), ids=REFUSED)
def test_what_the_arguments_cause_is_a_final_error_that_says_what_is_wrong(given: dict[str, Any], says: str) -> None:
    prepared = send(given, caller=None)
    assert prepared.error is not None
    assert says in prepared.error
    assert prepared.error.splitlines() == [prepared.error]
    assert (prepared.result, prepared.text, prepared.final) == (None, None, True)


def test_what_the_tenant_has_to_set_up_first_is_no_final_error() -> None:
    """A retry after the sender is registered runs."""
    prepared = prepare(snapshot(), "send_sms", CALLER, {"body": "Hi"})
    assert (prepared.error is not None, prepared.final) == (True, False)


@pytest.mark.parametrize("tier", ["unregistered", "toll_free_unverified"])
def test_a_sender_that_may_not_text_says_which_step_is_missing(tier: str) -> None:
    prepared = send({"body": "Hi"}, tier=tier)
    assert prepared.error is not None
    assert "Twilio" in prepared.error


def test_a_text_may_wait_for_its_time() -> None:
    due = clock.now() + timedelta(hours=2)
    prepared = send({"body": "Hi", "send_at": due.isoformat()})
    assert prepared.text is not None
    assert (prepared.text.due_at, prepared.text.as_effect()["status"]) == (due, "scheduled")
    assert (prepared.result or "").startswith("Scheduled, leaves on ")


def test_the_answer_counts_what_waits_before_it() -> None:
    """Forty segments at three a second, and the pacer's next slot in two seconds."""
    first = send({"body": "Hi"}, tier="toll_free", queued_segments=40, paced_for=2.0)
    assert first.result == "Queued, leaves in about 15 s."


def test_texts_accepted_since_the_snapshot_wait_too() -> None:
    tenant = snapshot(sender("toll_free"))
    texts = [prepare(tenant, "send_sms", CALLER, {"body": "Hi"}) for _ in range(31)]
    assert {text.result for text in texts} == {"Queued, leaves now."}, "what was only prepared delays nobody"
    for text in texts[:30]:
        assert text.text is not None
        tenant.note_accepted(text.text.as_effect())
    assert prepare(tenant, "send_sms", CALLER, {"body": "Hi"}).result == "Queued, leaves in about 10 s."


def test_the_time_is_the_tenants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: datetime(2026, 3, 8, 11, 30, tzinfo=UTC))  # the night of summer time
    prepared = prepare(snapshot(), "current_time", None, {})
    assert prepared.result == "It is Sunday, March 8, 2026, 4:30 AM (America/Los_Angeles, 2026-03-08T04:30-07:00)."


@pytest.mark.parametrize("name", ["fly", "", "SEND_SMS"])
def test_an_unknown_tool_is_named(name: str) -> None:
    prepared = prepare(snapshot(), name, CALLER, {})
    assert prepared.error is not None
    assert (name or "names no tool") in prepared.error


@pytest.mark.parametrize("name", ["send_sms", "current_time"])
def test_arguments_that_cannot_be_read_are_told(name: str) -> None:
    assert "arguments" in (prepare(snapshot(sender()), name, CALLER, None).error or "")

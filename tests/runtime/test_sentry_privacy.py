"""What stays here: nothing private is in any event, whatever the SDK or somebody's code puts into one."""

import json
import logging
import secrets
from typing import Any

import pytest
import sentry_sdk
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from runtime.database import Database
from runtime.sentry import isolated, report
from runtime.sentry_events import clean
from tests.conftest import MakeTenant
from tests.runtime.recording import ACME, DSN, Recorder, fail, fault, own_tags

pytestmark = pytest.mark.usefixtures("stopped")


class Canaries:
    """A distinct word for each channel, made at run time: a literal would stand in the source that frames point at."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    def __call__(self, channel: str) -> str:
        return self.words.setdefault(channel, f"canary{secrets.token_hex(8)}")

    def phone(self, channel: str) -> str:
        return self.words.setdefault(channel, f"+1907555{secrets.randbelow(10_000):04d}")

    def found_in(self, sent: str) -> list[str]:
        return [channel for channel, word in self.words.items() if word in sent or word.removeprefix("+1") in sent]


def body_of(words: Canaries) -> dict[str, Any]:
    return {"message": {"transcript": words("transcript"), "deep": [{"auth": [words("nested list")]}]}, "new_field": words("new field")}


def request_of(words: Canaries) -> dict[str, Any]:
    """What a framework's integration would put into an event."""
    headers = {
        name: words(f"header {name}") for name in ("x-vapi-secret", "x-vapi-signature", "authorization", "x-forwarded-for", "x-brand-new")
    }
    return {
        "method": "POST",
        "url": f"https://hooks.example.com/vapi-webhook/{words('path')}",
        "query_string": f"s={words('query')}",
        "data": body_of(words),
        "headers": headers,
        "cookies": {"session": words("cookie")},
        "env": {"REMOTE_ADDR": words("remote address")},
        "brand_new": words("new field of a request"),
    }


def fill(event: Any, words: Canaries) -> Any:
    """As an integration, or a later SDK, would."""
    event["request"] = request_of(words)
    event["brand_new"] = {"anything": [words("new field of an event")]}
    event["modules"] = {words("module"): "1"}
    event["threads"] = {"values": [{"name": words("thread")}]}
    event["debug_meta"] = {"images": [words("image")]}
    event["contexts"]["trace"]["data"] = {"http.url": words("trace data")}
    event["contexts"]["brand_new"] = {"x": words("new context")}
    event["exception"]["values"][0]["mechanism"]["data"] = {"x": words("mechanism data")}
    event["exception"]["values"][0]["brand_new"] = words("new field of an exception")
    event["exception"]["values"][0]["stacktrace"]["frames"][0]["vars"] = {"x": words("frame variable")}
    event["exception"]["values"][0]["stacktrace"]["frames"][0]["context_line"] = words("source line")
    return event


def burn(words: Canaries) -> None:
    """Fail with something private in every channel that the SDK knows."""
    secret_body, number = body_of(words), words.phone("local variable")
    scope = sentry_sdk.get_isolation_scope()
    scope.set_extra("password", words("extra"))
    scope.set_context("call", {"customer": words("context")})
    scope.set_user({"id": words("user"), "ip_address": words("ip address")})
    scope.set_tag("call.id", words.phone("tag"))
    scope.add_attachment(bytes=words("attachment").encode(), filename="body.json")
    scope.add_event_processor(lambda event, _hint: fill(event, words))
    sentry_sdk.add_breadcrumb(message=words("breadcrumb"), data={"x": words("breadcrumb data")})
    try:
        fail(LookupError(f"no answer to {words.phone('cause')} at https://{words('address')}.example.com/?q=1"))
    except LookupError as cause:
        error = ValueError(
            f"cannot read '{words('quoted')}' of {words.phone('exception text')}, key trk_{words('api key')},"
            f" body {secret_body!r}{number!r}"
        )
        error.add_note(f"the caller was '{words('note')}'")
        raise error from cause


async def test_no_canary_leaves(recorder: Recorder) -> None:
    words = Canaries()
    with isolated(ACME, "job"):
        try:
            burn(words)
        except ValueError as error:
            report(error)
    assert len(words.words) > 30
    assert words.found_in(recorder.everything) == []
    (event,) = recorder.events
    assert own_tags(event) == ("id-acme", "acme", "gold", "worker")  # it was sent, and says whose it is
    assert [error["type"] for error in event["exception"]["values"]] == ["LookupError", "ValueError"]
    assert event["tags"]["call.id"] == "[withheld]"


async def test_the_canaries_would_leave_without_the_cleaning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the test above proves nothing. Naming one kind of data collects all the others, and switches the SDK's scrubber off."""
    sentry_sdk.init(dsn=DSN, default_integrations=False, data_collection={"user_info": True})
    recorder = Recorder()
    monkeypatch.setattr(sentry_sdk.get_client(), "transport", recorder)
    words = Canaries()
    with isolated(ACME, "job"):
        try:
            burn(words)
        except ValueError as error:
            report(error)
    assert set(words.found_in(recorder.everything)) == set(words.words)


async def test_row_values_of_a_real_violation_stay_here(recorder: Recorder, database: Database, make_tenant: MakeTenant) -> None:
    tenant, words = await make_tenant(), Canaries()
    statement = text("INSERT INTO opt_outs (tenant_id, recipient, source) VALUES (:tenant, :phone, 'api')")
    with isolated(ACME, "job"):
        try:
            async with database.tenant_scope(tenant) as connection:
                for _ in range(2):
                    await connection.execute(statement, {"tenant": tenant, "phone": words.phone("DETAIL")})
        except IntegrityError as error:
            report(error)
            text_of_it = str(error)
    assert words.found_in(text_of_it) == []
    assert words.found_in(recorder.everything) == []
    assert str(tenant) not in recorder.everything
    values = recorder.events[0]["exception"]["values"]
    assert values[0]["type"] == "UniqueViolationError"
    assert values[0]["value"] == "duplicate key value violates unique constraint [quoted]"


async def test_logs_and_messages_send_nothing(recorder: Recorder) -> None:
    words = Canaries()
    with isolated(ACME, "job"):
        logging.getLogger("library").error("failed for %s", words("log"))
        report(fault())
        sentry_sdk.capture_message(words("message"))
    assert words.found_in(recorder.everything) == []
    assert [event.get("level") for event in recorder.events] == ["error", "info"]


def test_a_transaction_is_cleaned_too() -> None:
    """None is made today; one that somebody adds must not be the leak."""
    words = Canaries()
    event: Any = {
        "type": "transaction",
        "transaction": f"GET /{words.phone('path')}",
        "contexts": {"trace": {"trace_id": "t", "data": {"url": words("trace data")}}},
        "spans": [{"description": words("span")}],
        "tags": {"tenant.id": "t1"},
        "measurements": words("measurement"),
    }
    hint: dict[str, Any] = {"attachments": [words("attachment")]}
    cleaned = clean(event, hint)
    assert words.found_in(json.dumps(cleaned) + json.dumps(hint)) == []
    assert cleaned["contexts"] == {"trace": {"trace_id": "t"}}


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"tags": None, "contexts": None, "exception": None},
        {"tags": [["a", "b"]], "contexts": {"trace": None}, "exception": {"values": None}},
        {"exception": {"values": [None, {"value": None, "stacktrace": None, "mechanism": 3}]}},
        {"exception": [{"type": "X"}], "transaction": 5},
    ],
)
def test_an_odd_event_is_cleaned_and_not_dropped(event: Any) -> None:
    """An error in the cleaning would drop the event."""
    assert own_tags(dict(clean(event, {}))) == ("missing",) * 4

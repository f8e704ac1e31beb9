import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.refusals import Invalid
from webhooks.envelope import Webhook, decoded, read

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


def body(**message: Any) -> bytes:
    return json.dumps({"message": message}).encode()


def test_only_what_is_needed_is_read() -> None:
    call = {"id": "c-1", "assistantId": "a-1", "status": "ringing", "customer": {"number": "+12135550111"}}
    found = read(body(type="hang", call=call, customer={"number": "+12135550123"}, assistant={"model": {}}))
    assert (found.type, found.call_id, found.assistant_id, found.caller) == ("hang", "c-1", "a-1", "+12135550123")


@pytest.mark.parametrize(
    ("message", "caller"),
    [
        ({}, None),
        ({"customer": {"number": "+12135550123"}}, "+12135550123"),
        ({"call": {"customer": {"number": "+12135550111"}}}, "+12135550111"),
        ({"customer": {}, "call": {"customer": {"number": "+12135550111"}}}, "+12135550111"),
        ({"customer": None}, None),
        ({"customer": 5}, None),
        ({"customer": {"number": 5}}, None),
        ({"customer": {"number": ""}}, None),
    ],
    ids=json.dumps,
)
def test_the_caller_is_the_other_party_of_the_message_or_of_its_call(message: dict[str, Any], caller: str | None) -> None:
    assert read(body(type="hang", **message)).caller == caller


@pytest.mark.parametrize("call", [{}, {"id": None}, {"id": ""}, None], ids=json.dumps)
def test_a_call_without_an_id_is_no_call(call: object) -> None:
    assert read(body(type="hang", call=call)).call_id is None


@pytest.mark.parametrize("timestamp", [1718028600000, 1.7e12, "2024-06-10T14:10:00Z", None], ids=str)
def test_a_timestamp_may_have_any_form(timestamp: object) -> None:
    assert read(body(type="hang", timestamp=timestamp)).type == "hang"


@pytest.mark.parametrize("field", ["toolCallList", "toolCalls", "toolWithToolCallList"])
def test_a_list_of_tool_calls_implies_the_type(field: str) -> None:
    assert read(body(**{field: []})).type == "tool-calls"


REFUSED = {
    "empty": b"",
    "not json": b"{",
    "array": b"[]",
    "null": b"null",
    "no message": b"{}",
    "null message": b'{"message":null}',
    "message of text": b'{"message":"hang"}',
    "no type": b'{"message":{}}',
    "empty type": b'{"message":{"type":""}}',
    "type of number": b'{"message":{"type":5}}',
    "type with a NUL": b'{"message":{"type":"a\\u0000"}}',
    "type too long": body(type="x" * 257),
    "call of text": b'{"message":{"type":"hang","call":"c"}}',
    "call id of number": b'{"message":{"type":"hang","call":{"id":5}}}',
    "call id with a NUL": b'{"message":{"type":"hang","call":{"id":"\\u0000"}}}',
    "call id too long": body(type="hang", call={"id": "x" * 257}),
    "assistant id of list": b'{"message":{"type":"hang","call":{"assistantId":[]}}}',
    "invalid UTF-8": b'{"message":{"type":"\xff"}}',
    "lone surrogate": b'{"message":{"type":"\\ud800"}}',
    "lone surrogate in a field of no interest": b'{"message":{"type":"hang","x":"\\ud800"}}',
    "nested too deeply": b'{"message":{"type":"hang","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    "nested too deeply, cut off": b'{"message":{"type":"hang","x":' + b'{"a":' * 100_000,
    "trailing rubbish": b'{"message":{"type":"hang"}} x',
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED)
def test_what_is_no_envelope_is_refused_in_one_line(raw: bytes) -> None:
    with pytest.raises(Invalid) as refused:
        read(raw)
    assert refused.value.detail.splitlines() == [refused.value.detail]
    assert refused.value.status == 400


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(raw: bytes) -> None:
    with suppress(Invalid):
        assert isinstance(read(raw), Webhook)


@given(
    st.fixed_dictionaries(
        {"message": st.dictionaries(st.sampled_from(["type", "call", "customer", "timestamp", "toolCallList", "x"]), JSON)}
    )
)
def test_any_fields_are_a_message_or_refused(value: object) -> None:
    try:
        found = read(json.dumps(value).encode())
    except Invalid:
        return
    assert decoded(found.message.timestamp) is None or found.type

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


@pytest.mark.parametrize("call", ["c", 5, True, [], ["id"], {"id": []}, {"id": True}, {"id": 1.5}, {"id": {}}], ids=json.dumps)
def test_a_call_of_another_form_is_no_call_and_takes_nothing_else_with_it(call: object) -> None:
    found = read(body(type="hang", call=call, customer={"number": "+12135550123"}))
    assert (found.type, found.call_id, found.assistant_id, found.caller) == ("hang", None, None, "+12135550123")


def test_an_id_of_digits_is_text() -> None:
    found = read(body(type="hang", call={"id": 5, "assistantId": 2**60}))
    assert (found.call_id, found.assistant_id) == ("5", str(2**60))


@pytest.mark.parametrize(("written", "meant"), [("tool_calls", "tool-calls"), ("tool-calls", "tool-calls"), ("hang", "hang")])
def test_a_type_is_what_was_meant_by_it(written: str, meant: str) -> None:
    assert read(body(type=written)).type == meant


@pytest.mark.parametrize("kind", [None, 5, 5.5, "", []], ids=repr)
def test_without_a_type_that_is_one_the_fields_tell_it(kind: object) -> None:
    assert read(body(type=kind, toolCalls=[])).type == "tool-calls"
    assert read(body(type=kind, functionCall={})).type == "function-call"


HALVES = {
    b'"x":"\\ud83d\\ude00"': b'"x":"\\ud83d\\ude00"',
    b'"x":"cut \\ud83d"': b'"x":"cut \\ufffd"',
    b'"x":"\\ude00 rest"': b'"x":"\\ufffd rest"',
    b'"x":"\\uD83D\\ud83d\\ude00\\uDE00"': b'"x":"\\ufffd\\ud83d\\ude00\\ufffd"',
    b'"x":"letters \\\\ud83d, half \\\\\\ud83d"': b'"x":"letters \\\\ud83d, half \\\\\\ufffd"',
}


@pytest.mark.parametrize(("sent", "kept"), HALVES.items(), ids=lambda text: text.decode())
def test_half_a_character_is_replaced_and_the_rest_stays(sent: bytes, kept: bytes) -> None:
    """A text cut in the middle of an emoji is no reason to leave a caller without an answer."""
    found = read(b'{"message":{"type":"hang",' + sent + b"}}")
    assert found.body == b'{"message":{"type":"hang",' + kept + b"}}"
    assert json.loads(found.body)["message"]["x"].encode()


def test_a_byte_order_mark_is_no_part_of_the_body() -> None:
    assert read(b"\xef\xbb\xbf" + body(type="hang")).body == body(type="hang")


@given(st.lists(st.sampled_from(["\\", "\\\\", "u", "d83d", "D800", "dc00", "DE00", "0041", '\\"', "x"]), max_size=12).map("".join))
def test_what_was_json_before_means_the_same_after_mending(inside: str) -> None:
    raw = b'{"message":{"type":"hang","x":"' + inside.encode() + b'"}}'
    try:
        meant = json.loads(raw)
    except ValueError:
        return
    with suppress(Invalid):  # a half behind what only looks like one
        found = json.loads(read(raw).body)["message"]["x"]
        halves = "".join("\ufffd" if "\ud800" <= each <= "\udfff" else each for each in meant["message"]["x"])
        assert found == halves


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
    "type of number": b'{"message":{"type":5}}',
    "type of a list": b'{"message":{"type":["hang"]}}',
    "half a surrogate pair that is no escape": b'{"message":{"type":"hang","x":"\xed\xa0\x80',
    "more halves than are mended": b'{"message":{"type":"hang","x":"' + b"\\ud800" * 10_001 + b'"}}',
    "empty type": b'{"message":{"type":""}}',
    "type with a NUL": b'{"message":{"type":"a\\u0000"}}',
    "type too long": body(type="x" * 257),
    "call id with a NUL": b'{"message":{"type":"hang","call":{"id":"\\u0000"}}}',
    "call id too long": body(type="hang", call={"id": "x" * 257}),
    "invalid UTF-8": b'{"message":{"type":"\xff"}}',
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

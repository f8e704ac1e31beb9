import json
from itertools import combinations
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from runtime.refusals import Invalid
from tests.webhooks.snapshots import snapshot
from webhooks import keys
from webhooks.asked import asked_by
from webhooks.envelope import read
from webhooks.ingest import information
from webhooks.tool_work import effect_of, prepared_for

TEXT = st.text(max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
PARTS = st.lists(st.none() | st.binary(max_size=4), max_size=4)


def shuffled(value: Any) -> Any:
    """The same value with the keys of every object the other way round."""
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(value)}
    return [shuffled(each) for each in value] if isinstance(value, list) else value


@given(PARTS, PARTS)
def test_a_digest_tells_lists_of_parts_apart(one: list[bytes | None], two: list[bytes | None]) -> None:
    assert (keys.digest(*one) == keys.digest(*two)) == (one == two)
    assert len(keys.digest(*one)) == keys.SIZE


def test_text_and_its_bytes_are_one_part_and_nothing_is_not_empty() -> None:
    assert keys.digest("é") == keys.digest("é".encode())
    assert keys.digest(None) != keys.digest("")
    assert keys.digest("a", "b") != keys.digest("ab")


@given(JSON)
def test_the_order_of_keys_is_no_difference(value: Any) -> None:
    assert keys.canonical(shuffled(value)) == keys.canonical(value)
    assert json.loads(keys.canonical(value)) == json.loads(json.dumps(value))


@given(st.dictionaries(TEXT, JSON, max_size=3), st.dictionaries(TEXT, JSON, max_size=3))
def test_other_arguments_have_another_fingerprint(one: dict[str, Any], two: dict[str, Any]) -> None:
    same = keys.canonical(one) == keys.canonical(two)
    assert (keys.tool_call_fingerprint("f", keys.canonical(one)) == keys.tool_call_fingerprint("f", keys.canonical(two))) == same


@given(TEXT, TEXT, TEXT, st.binary(max_size=4), st.binary(max_size=4))
def test_with_both_ids_the_arguments_are_no_part_of_the_key(call: str, tool_call: str, name: str, one: bytes, two: bytes) -> None:
    assume(tool_call and tool_call not in keys.CONSTANT_IDS)
    assert keys.tool_call_key(call, tool_call, name, one, b"body 1") == keys.tool_call_key(call, tool_call, name, two, b"body 2")


@pytest.mark.parametrize("tool_call_id", [None, "", "hook-function-call"], ids=repr)
def test_without_an_id_of_its_own_a_call_is_known_by_its_arguments(tool_call_id: str | None) -> None:
    keyed = [keys.tool_call_key("c", tool_call_id, "f", arguments, body) for arguments in (b"1", b"2") for body in (b"x", b"y")]
    assert keyed[0] == keyed[1] != keyed[2] == keyed[3]


def test_without_a_call_only_the_same_bytes_are_the_same() -> None:
    """Two calls could share the ids of a hand-made body, so nothing is claimed by them alone."""
    assert keys.tool_call_key(None, "t", "f", b"1", b"x") == keys.tool_call_key(None, "t", "f", b"1", b"x")
    assert keys.tool_call_key(None, "t", "f", b"1", b"x") != keys.tool_call_key(None, "t", "f", b"1", b"y")


@pytest.mark.parametrize("own_id", [None, "fc-1"], ids=repr)
def test_a_function_call_of_old_is_known_by_its_arguments_or_its_id(own_id: str | None) -> None:
    keyed = [keys.function_call_key("c", own_id, "f", arguments, body) for arguments in (b"1", b"2") for body in (b"x", b"y")]
    assert keyed[0] == keyed[1]
    assert keyed[2] == keyed[3]
    assert (keyed[0] == keyed[2]) == (own_id is not None)
    assert keyed[0] != keys.tool_call_key("c", own_id, "f", b"1", b"x")


def test_every_kind_and_every_id_has_a_key_of_its_own() -> None:
    made = {
        "tool call": keys.tool_call_key("c", "t", "f", b"1", b""),
        "tool call of another call": keys.tool_call_key("d", "t", "f", b"1", b""),
        "another tool call": keys.tool_call_key("c", "u", "f", b"1", b""),
        "another tool": keys.tool_call_key("c", "t", "g", b"1", b""),
        "tool call without an id": keys.tool_call_key("c", None, "f", b"1", b""),
        "tool call without a call": keys.tool_call_key(None, "t", "f", b"1", b""),
        "function call": keys.function_call_key("c", None, "f", b"1", b""),
        "function call with an id": keys.function_call_key("c", "t", "f", b"1", b""),
        "replay": keys.replay_key(keys.report_key("c"), "wish"),
        "another replay": keys.replay_key(keys.report_key("c"), "wish 2"),
        "thing": keys.business_key("f", b"1"),
        "another thing": keys.business_key("g", b"1"),
        "report": keys.report_key("c"),
        "report of another call": keys.report_key("d"),
        "status": keys.status_key("c", "ended"),
        "another status": keys.status_key("c", "ringing"),
        "status of another call": keys.status_key("d", "ended"),
        "information": keys.information_key("hang", "c", b"1", b"x"),
        "of another type": keys.information_key("transcript", "c", b"1", b"x"),
        "of another call": keys.information_key("hang", "d", b"1", b"x"),
        "at another time": keys.information_key("hang", "c", b"2", b"x"),
        "at no time": keys.information_key("hang", "c", None, b"x"),
        "with other fields": keys.information_key("hang", "c", b"1", b"y"),
        "request": keys.api_key("POST /v1/messages", "c"),
        "another request": keys.api_key("POST /v1/messages", "d"),
        "another operation": keys.api_key("POST /v1/assistants", "c"),
    }
    assert [(one, two) for one, two in combinations(made, 2) if made[one] == made[two]] == []


def hang(**message: Any) -> bytes:
    return json.dumps({"message": {"type": "hang", "call": {"id": "c"}, **message}}).encode()


@pytest.mark.parametrize(
    "retried",
    [
        hang(x=1, artifact={"recordingUrl": "https://storage.example/signed-anew"}),
        hang(x=1, presignedUrlsExpiresAt="2026-11-25T10:00:00Z"),
        hang(x=1, assistant={"name": "changed"}, phoneNumber={}, customer={"number": "+12135550123"}),
        b'{ "message" : { "x":1, "call":{"status":"ended","id":"c"}, "type" : "hang" } }',
    ],
    ids=["presigned addresses", "their end", "common parts", "order and spaces"],
)
def test_a_retry_that_differs_in_what_it_carries_along_is_the_same_message(retried: bytes) -> None:
    assert information(read(retried), "{}").key == information(read(hang(x=1)), "{}").key


@pytest.mark.parametrize(
    "other", [hang(x=2), hang(x=1, y=1), hang(x=1, timestamp=5), hang(x=1, call={"id": "d"}), hang(x=1, type="transcript")]
)
def test_what_a_type_carries_itself_makes_it_another_message(other: bytes) -> None:
    assert information(read(other), "{}").key != information(read(hang(x=1)), "{}").key


SIGNED = [
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F{n}&X-Amz-Date=2026112{n}T000000Z&X-Amz-Expires=900&X-Amz-Signature=abc{n}",
    "X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Signature={n}f00",
    "Expires=176411220{n}&Signature=x{n}~&Key-Pair-Id=K{n}",
    "sv=2024-11-04&se=2026-11-2{n}T00%3A00%3A00Z&sr=b&sp=r&sig=a{n}%3D",
]


@pytest.mark.parametrize("signature", SIGNED, ids=["AWS", "Google", "CloudFront", "Azure"])
@pytest.mark.parametrize(
    "address", ["https://s.example/r.wav?{}", "https://s.example/r.wav?part=1&{}", "https://s.example/r.wav?{}&part=1"]
)
def test_an_address_that_is_signed_anew_is_the_same_address(address: str, signature: str) -> None:
    once, again = (address.format(signature.format(n=number)) for number in (1, 2))
    other = once.replace("r.wav", "q.wav")
    for made in (
        lambda url: information(read(hang(recording=url)), "{}").key,
        lambda url: keys.tool_call_fingerprint("f", keys.canonical({"url": url})),
        lambda url: keys.tool_call_key("c", None, "f", keys.canonical({"url": url}), b""),
        lambda url: keys.tool_call_key(None, "t", "f", b"{}", hang(recording=url)),
    ):
        assert made(once) == made(again) != made(other)


@given(st.dictionaries(TEXT, JSON, max_size=3))
def test_what_holds_no_address_stays_as_it_is(value: dict[str, Any]) -> None:
    raw = keys.canonical(value)
    assert b"://" in raw or keys.stable(raw) == raw


def test_a_part_of_an_address_that_is_no_signature_makes_a_difference() -> None:
    signature = b"sv=1&se=2&sig=3"
    one, two = (keys.stable(b'{"a":"https://s.example/x?id=%d&%s"}' % (number, signature)) for number in (1, 2))
    assert one != two
    assert b"sig" not in one


@pytest.mark.parametrize("query", ["st=mon", "sig=1", "Expires=5", "Policy=open", "Signature=abc", "sv=1&se=2", "se=1&sp=2&sr=3"])
def test_an_address_that_nobody_signed_is_taken_as_it_is(query: str) -> None:
    """A link may have parameters of any name: two links are two texts."""
    raw = f'{{"body":"See https://clinic.example/c?{query} for more."}}'.encode()
    assert keys.stable(raw) == raw


@pytest.mark.parametrize("subject", ["chat", "session"])
def test_a_message_without_a_call_is_known_by_its_chat_or_session(subject: str) -> None:
    def key(name: str, **message: Any) -> str:
        body = {"type": "chat.created", subject: {"id": name, **message}}
        return information(read(json.dumps({"message": body}).encode()), "{}").key

    assert key("1") == key("1") != key("2")


def test_a_message_about_nothing_is_the_same_only_byte_for_byte() -> None:
    def key(**message: Any) -> str:
        return information(read(json.dumps({"message": {"type": "note", **message}}).encode()), "{}").key

    assert key(artifact={"a": "1"}) == key(artifact={"a": "1"}) != key(artifact={"a": "2"})


def test_unreadable_field_names_are_refused() -> None:
    with pytest.raises(Invalid):
        keys.own_fields(b'{"message":{"type":"hang","\xff":1}}')


def test_two_tenants_share_a_key_which_their_tenant_id_tells_apart() -> None:
    """Keys are unique with the tenant's id in the table; the key itself needs no part of it."""
    call = {"id": "t", "function": {"name": "current_time", "arguments": {"b": 1, "a": 2}}}
    webhook = read(json.dumps({"message": {"call": {"id": "c"}, "toolCallList": [call]}}).encode())
    tenants = [(tenant, asked_by(webhook, tenant.id)[0]) for tenant in (snapshot(), snapshot())]
    one, two = (effect_of(tenant, asked, prepared_for(tenant, asked)) for tenant, asked in tenants)
    assert (one.key, one.fingerprint) == (two.key, two.fingerprint)


def test_the_number_under_which_one_thing_meets_itself_is_the_tenants_own() -> None:
    one, two = snapshot(), snapshot()
    numbers = {keys.lock_number(kind, tenant.id, key) for kind in ("text", "request") for tenant in (one, two) for key in ("a", "b")}
    assert len(numbers) == 8
    assert all(-(2**63) <= number < 2**63 for number in numbers)


SIGNED = '"https://example.com/a?X-Amz-Signature={}&part=1"'


def listed(signature: str, number: int) -> bytes:
    return ("[" + ",".join(SIGNED.format(signature) for _ in range(number)) + "]").encode()


def test_so_many_signed_addresses_are_looked_at_and_no_more() -> None:
    """Else a body made of them would hold everybody up; its repetition is then recorded as another message."""
    assert keys.stable(listed("one", keys.MOST_SIGNED)) == keys.stable(listed("two", keys.MOST_SIGNED))
    assert keys.stable(listed("one", keys.MOST_SIGNED + 1)) != keys.stable(listed("two", keys.MOST_SIGNED + 1))


def test_a_query_without_a_signature_stays_however_long() -> None:
    for query in (b"?=" * 10_000, b"?" + b"a=" * 10_000, b"?" + b"sig" * 10_000, b"?signature=1"):
        raw = b'"https://example.com/' + query + b'"'
        assert keys.stable(raw) == raw


@pytest.mark.parametrize("fields", [keys.MOST_FIELDS + 1, keys.MOST_COLONS + 1])
def test_a_message_of_countless_fields_is_known_by_all_of_its_bytes(fields: int) -> None:
    many = {f"field{number}": 1 for number in range(fields)}
    assert keys.own_fields(hang(**many)) == keys.own_fields(hang(**many))
    assert keys.own_fields(hang(**many, artifact=1)) != keys.own_fields(hang(**many, artifact=2))
    assert keys.own_fields(hang(**many, x=1)) != keys.own_fields(hang(**many, x=2))


def test_a_message_that_cannot_be_read_has_no_key() -> None:
    for raw in (b"{", b'{"message":5}', b"[]"):
        with pytest.raises(Invalid):
            keys.own_fields(raw)

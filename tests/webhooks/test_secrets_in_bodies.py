"""No planted secret comes out, wherever it stood; what is none stays as it was."""

import copy
import json
import string
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webhooks.bodies import pack, redacted, unpack
from webhooks.secrets_in_bodies import DEEPEST, GONE, redacted_document

NAMES = [
    "twilioAuthToken", "twilioApiKey", "twilioApiSecret", "twilioAccountSid", "serverUrlSecret", "secret", "api_key", "API-Key",
    "x-api-key", "password", "Passwd", "authorization", "Authorization", "credentials", "credential", "accessToken", "refresh_token",
    "privateKey",
    "client_secret", "Cookie", "webhookSigningKey", "X-Vapi-Secret", "passphrase",
]  # fmt: skip
SECRET = st.text(string.ascii_letters + string.digits, min_size=12, max_size=40).map(lambda text: "Zq9" + text)
IN_TEXT = [
    "Bearer {}", "authorization: Bearer {}", "call it with sk_live_{} please", "whsec_{}", "the key is sk-{}", "apiKey={}", 'api_key: "{}"',
    "https://user:{}@example.com/hook", "https://example.com/?token={}&x=1", "password={}", "Authorization: Token {}", "ghp_{}",
    "eyJhbGciOi.{}.abc", "secret: '{}'", "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----", "X-Amz-Signature={}",
]  # fmt: skip
PLACES = ["named", "number", "object", "header", "pair", "listed", "text", "key"]


def planted(secret: str, place: str, name: str, form: str) -> Any:
    """A secret as it may stand in a body."""
    return {
        "named": {name: secret},
        "number": {name: [secret, {"inner": secret}]},
        "object": {name: {"value": {"deep": secret}}},
        "header": {"server": {"url": "https://example.com", "headers": {"X-Anything": secret}}},
        "pair": {"name": name, "value": secret},
        "listed": {"headers": [{"name": "X-Anything", "value": secret}], "rawHeaders": [[name, secret]]},
        "text": {"content": form.format(secret)},
        "key": {form.format(secret): 1},
    }[place]


def wrapped(value: Any, steps: list[str]) -> Any:
    """The value inside other structure; each step is one level."""
    for step in steps:
        match step:
            case "list":
                value = [1, value, None]
            case "object":
                value = {"message": {"id": "call-1"}, "part": value}
            case "string":
                value = {"arguments": json.dumps(value)}
            case "quoted":
                value = {"output": f"It answered {json.dumps(value)} and hung up."}
    return value


STEPS = st.lists(st.sampled_from(["list", "object"]), max_size=12).flatmap(
    lambda steps: st.sampled_from(
        [steps, [*steps, "string"], ["string", *steps], ["string", *steps, "string"], ["object", "string", "list"] * 3]
    )
)


@settings(max_examples=400, deadline=None)
@given(secret=SECRET, place=st.sampled_from(PLACES), name=st.sampled_from(NAMES), form=st.sampled_from(IN_TEXT), steps=STEPS)
def test_a_planted_secret_never_comes_out(secret: str, place: str, name: str, form: str, steps: list[str]) -> None:
    document = wrapped(planted(secret, place, name, form), steps)
    assert secret in json.dumps(document)
    before = copy.deepcopy(document)
    assert secret not in json.dumps(redacted_document(document))
    assert document == before
    assert secret.encode() not in unpack(pack(json.dumps(document).encode()))


@pytest.mark.parametrize("name", NAMES)
def test_a_secret_in_json_inside_a_sentence_goes_too(name: str) -> None:
    assert "Zq9abcdefghij" not in json.dumps(redacted_document(wrapped({name: "Zq9abcdefghij"}, ["quoted"])))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text("abc XYZ 0123.,", max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["type", "id", "role", "text", "n", "endedReason"]), inner, max_size=4)
    ),
    max_leaves=25,
)


@settings(max_examples=200, deadline=None)
@given(document=JSON)
def test_what_holds_no_secret_stays_as_it_was(document: Any) -> None:
    assert redacted_document(document) == document


def test_structure_and_types_stay() -> None:
    body = {
        "message": {
            "type": "status-update",
            "timestamp": 1_772_000_000_000,
            "call": {
                "id": "0193",
                "phoneNumber": {"number": "+12135550123", "twilioAccountSid": "AC" + "0" * 32, "twilioAuthToken": "abc"},
            },
            "costBreakdown": {"llmPromptTokens": 1200, "llmCompletionTokens": 30.5},
            "assistant": {
                "server": {"url": "https://example.com/hook", "headers": {"X-Key": "v"}},
                "isServerUrlSecretSet": True,
                "password": None,
            },
            "toolCalls": [{"function": {"name": "book", "arguments": '{"day": "Friday", "apiKey": "abc"}'}}],
            "pin": {"password": 1234},
        }
    }
    message = redacted_document(body)["message"]
    assert (message["timestamp"], message["costBreakdown"]) == (1_772_000_000_000, {"llmPromptTokens": 1200, "llmCompletionTokens": 30.5})
    assert message["call"]["phoneNumber"] == {"number": "+12135550123", "twilioAccountSid": GONE, "twilioAuthToken": GONE}
    assert message["assistant"] == {
        "server": {"url": "https://example.com/hook", "headers": {"X-Key": GONE}},
        "isServerUrlSecretSet": True,
        "password": None,
    }
    assert json.loads(message["toolCalls"][0]["function"]["arguments"]) == {"day": "Friday", "apiKey": GONE}
    assert message["pin"] == {"password": GONE}


@pytest.mark.parametrize("end", ["\r\n", "\n"], ids=repr)
def test_a_sip_message_leaves_the_names_of_its_headers(end: str) -> None:
    """Any header may authenticate, its values surface again as variables, and an encrypted stream's key stands in the body."""
    lines = [
        "INVITE sip:book@192.0.2.11 SIP/2.0",
        'Authorization: Digest username="Zq9a"',
        ' response="Zq9b"',
        "X-Guest : Zq9c",
        "",
        "a=Zq9d",
    ]
    call = {"sip": {"raw": end.join(lines)}, "assistantOverrides": {"variableValues": {"guest": "Zq9c"}}}
    shown = redacted_document(call)
    assert shown["sip"]["raw"] == f"INVITE {GONE}\r\nAuthorization: {GONE}\r\nX-Guest: {GONE}"
    assert shown["assistantOverrides"] == {"variableValues": {"guest": GONE}}
    answer = f"SIP/2.0 200 OK{end}Contact: Zq9"
    assert redacted_document([answer, "INVITE me, please: SIP/2.0 is fine"]) == [
        f"SIP/2.0 {GONE}\r\nContact: {GONE}",
        "INVITE me, please: SIP/2.0 is fine",
    ]


def test_the_key_of_an_encrypted_stream_goes() -> None:
    offer = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:Zq9YUx1c+Vd3BzZ3cwb2x3/ZG9v|2^20"
    assert redacted_document(offer) == f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 {GONE}^20"


def test_a_body_of_countless_parts_leaves_its_length_alone() -> None:
    body = b"[" + b"{}," * 300_000 + b"{}]"
    assert json.loads(redacted(body)) == {"reason": "too many parts", "bytes": len(body)}


def test_what_is_no_json_leaves_its_length_alone() -> None:
    assert json.loads(redacted(b"password=hunter2")) == {"reason": "not JSON", "bytes": 16}
    assert json.loads(redacted(b"\xff\xfe")) == {"reason": "not JSON", "bytes": 2}
    assert json.loads(redacted(b"[" * 100_000 + b"]" * 100_000))["bytes"] == 200_000


def test_deep_structure_is_cut() -> None:
    nested: Any = "Bearer Zq9abcdefghij"
    for _ in range(DEEPEST + 50):
        nested = [nested]
    shown = json.dumps(redacted_document(nested))
    assert "Zq9" not in shown
    assert "[too deep]" in shown


def matryoshka(levels: int, size: int) -> str:
    """JSON in a string in JSON … each level escapes the one inside."""
    text = json.dumps({"apiKey": "Zq9abcdefghij", "fill": "x" * size})
    for _ in range(levels):
        text = json.dumps({"a": text})
    return text


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"t": ["token" * 50_000] * 20}),
        json.dumps({"t": ["eyJ" * 83_000] * 20}),
        json.dumps({"t": ["://" * 83_000] * 20}),
        json.dumps({"t": ["bearer " * 35_000] * 20}),
        json.dumps({"t": ["secret:" * 35_000] * 20}),
        json.dumps({"t": ["-----BEGIN PRIVATE KEY" * 11_000] * 20}),
        json.dumps({"t": ["sk_" + "a" * 20] * 180_000}),
        json.dumps([{"headers": {"a": "b"}, "token": "c"}] * 120_000),
        json.dumps({"t": ["[" * 120_000 + "]" * 120_000 + "key"] * 20}),
        json.dumps({"key" * 1_600_000: 1}),
        matryoshka(9, 3_000),
        json.dumps({"t": ["api_key " + " " * 240_000 + ":x"] * 20}),
        json.dumps({"t": ["INVITE sip:a SIP/2.0\n" + "a:b\n" * 60_000] * 20}),
        json.dumps({"t": ["INVITE sip:a SIP/2.0\n" + "a" * 240_000] * 20}),
        json.dumps({"t": ["INVITE sip:" * 22_000] * 20}),
        json.dumps({"t": ["inline:" * 35_000] * 20}),
        json.dumps({"t": "one text of millions " * 240_000}),
    ],
    ids=lambda body: body[:24],
)
def test_five_megabytes_are_searched_in_time_in_proportion(body: str) -> None:
    began = time.process_time()  # a busy neighbour counts for nothing
    packed = pack(body.encode())
    took = time.process_time() - began
    assert took < 6, took
    assert len(unpack(packed)) < 8_400_000
    assert b"Zq9" not in unpack(packed)

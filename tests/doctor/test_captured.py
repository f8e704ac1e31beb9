"""A capture is read from whatever it was kept in, and what is none says what it should be."""

import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.webhook_doctor.captured import Captured, Unreadable, read_capture

BODY = '{"message":{"type":"tool-calls","text":"café"}}'
WIRE = f"POST /vapi-webhook/acme?x=1 HTTP/1.1\r\nHost: hooks.example.test\r\nX-Signature:  ab \r\nX-Empty:\r\n\r\n{BODY}".encode()


def read(document: Any) -> Captured:
    return read_capture(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("given_body", "body", "rebuilt"),
    [
        ({"body": BODY}, BODY.encode(), False),
        ({"body_text": BODY}, BODY.encode(), False),
        ({"body_base64": base64.b64encode(BODY.encode()).decode()}, BODY.encode(), False),
        ({"body": json.loads(BODY)}, BODY.encode(), True),
        ({"body": None}, None, False),
        ({"body": ""}, b"", False),
        ({}, None, False),
    ],
)
def test_a_body_comes_as_text_as_base64_or_parsed(given_body: dict[str, Any], body: bytes | None, rebuilt: bool) -> None:
    found = read({"headers": {"X-A": "1"}, **given_body})
    assert (found.body, found.rebuilt, found.headers) == (body, rebuilt, (("x-a", "1"),))


@pytest.mark.parametrize(
    "headers", [{"X-A": ["1", "2"]}, [["X-A", "1"], ["x-a", "2"]], [{"name": "X-A", "value": "1"}, {"name": "x-A", "value": " 2 "}]]
)
def test_headers_come_in_three_shapes_and_may_repeat(headers: Any) -> None:
    assert read({"headers": headers}).values("x-a") == ["1", "2"]


def test_headers_alone_are_a_delivery_without_a_body() -> None:
    found = read({"host": "hooks.example.com", "x-vapi-secret": ""})
    assert (found.body, found.values("x-vapi-secret"), found.received_at) == (None, [""], None)


@pytest.mark.parametrize("wire", [WIRE, WIRE.replace(b"\r\n", b"\n"), b"\xef\xbb\xbf" + WIRE])
def test_a_raw_request_is_read_as_it_went(wire: bytes) -> None:
    found = read_capture(wire)
    assert (found.method, found.url, found.body) == ("POST", "/vapi-webhook/acme?x=1", BODY.encode())
    assert found.headers == (("host", "hooks.example.test"), ("x-signature", "ab"), ("x-empty", ""))


@pytest.mark.parametrize(
    ("text", "moment"),
    [("2026-03-01T10:00:00Z", 1_772_359_200.0), ("2026-03-01T02:00:00-08:00", 1_772_359_200.0), (1_772_359_200, 1_772_359_200.0),
     (1_772_359_200_000, 1_772_359_200.0), ("1772359200", 1_772_359_200.0), (None, None)],
)  # fmt: skip
def test_when_it_arrived_comes_as_a_time_or_a_number(text: Any, moment: float | None) -> None:
    assert read({"headers": {}, "received_at": text}).received_at == moment


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"{}",
        b'{"headers": 1}',
        b'{"headers": [1]}',
        b'{"message": {}}',
        b'{"headers": {}, "body_base64": "%"}',
        b'{"headers": {}, "received_at": "soon"}',
        b'{"headers": {}, "received_at": "2026-03-01T10:00:00"}',
        b'{"headers": {}, "received_at": []}',
        b"hello",
        b"hello world\nand more\n\n",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_none_says_what_it_should_be(content: bytes) -> None:
    with pytest.raises(Unreadable, match=r"[a-z]{3}.*\.$"):
        read_capture(content)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_file_is_too_odd(content: bytes) -> None:
    with contextlib.suppress(Unreadable):
        read_capture(content)

"""A signature holds exactly when it was made with the key, over these bytes, within the window: under every option."""

import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenants.signature_plans import SignaturePlan, check, signing_key
from tests.webhooks.signing import Signer
from webhooks import signatures
from webhooks.signatures import Delivery, fault_of

URL = "https://hooks.example.test/vapi-webhook/a-tenant?x=1"
NOW = 1_772_359_200.0  # 2026-03-01T10:00:00Z
SECRET = "a-secret-of-the-suite"
BODY = b'{"message": {"type": "tool-calls"}}'
texts = st.text(st.sampled_from("abc.:|/v0-"), max_size=5)


@st.composite
def formats(draw: st.DrawFn, dated: bool, numbered: bool) -> str:
    """Any payload with the body in it once, and its places in any order."""
    places = ["{body}", *draw(st.lists(st.sampled_from(["{method}", "{url}"]), max_size=2))]
    places += draw(st.lists(st.just("{timestamp}"), max_size=2)) if dated else []
    places += ["{svix-id}"] if numbered else []
    return draw(texts) + "".join(place + draw(texts) for place in draw(st.permutations(places)))


@st.composite
def options(draw: st.DrawFn) -> dict[str, Any]:
    """Any HMAC credential that Vapi can be given, some options left out."""
    dated, numbered = draw(st.booleans()), draw(st.booleans())
    every = {
        "algorithm": draw(st.sampled_from(["sha256", "sha512", "sha1"])),
        "signature_header": draw(st.sampled_from(["x-signature", "x-vapi-signature", "x-hub", "authorization"])),
        "timestamp_header": draw(st.sampled_from(["x-timestamp", "webhook-timestamp"])),
        "signature_prefix": draw(st.sampled_from(["", "sha256=", "v1,", "ab"])),
        "payload_format": draw(formats(dated, numbered)),
        "signature_encoding": draw(st.sampled_from(["hex", "base64"])),
        "replay_window_seconds": draw(st.sampled_from([10, 300, 86_400])),
    }
    chosen = {name: value for name, value in every.items() if draw(st.booleans())}
    if draw(st.booleans()):
        chosen["secret_is_base64"] = True
    if not dated:
        chosen["include_timestamp"] = False
    if numbered or draw(st.booleans()):
        chosen["message_id_header"] = "webhook-id"
    return chosen


def delivery(headers: dict[str, str], body: bytes = BODY, url: str = URL) -> Delivery:
    return Delivery(b"POST", url.encode(), [(name.lower().encode(), value.encode()) for name, value in headers.items()], body)


def fault(signer: Signer, arrived: Delivery, moment: float = NOW) -> str | None:
    plan = msgspec.convert(signer.options, SignaturePlan)
    check(plan)
    return fault_of(plan, signing_key(plan, signer.secret), arrived, moment)


secrets = st.binary(min_size=16, max_size=200).map(lambda raw: base64.b64encode(raw).decode())
timestamps = st.sampled_from(["1772359200", "1772359200000", "1772359200123", "1772359200.5", "1772359195"])


@given(options(), secrets, st.binary(max_size=300), timestamps)
def test_what_vapi_signs_under_any_options_holds_and_nothing_else_does(
    chosen: dict[str, Any], secret: str, body: bytes, timestamp: str
) -> None:
    signer = Signer(secret, chosen)
    headers = signer.headers(body, timestamp, URL, "msg_1")
    assert fault(signer, delivery(headers, body)) is None
    assert fault(signer, delivery(headers, body + b" ")) == signatures.WRONG
    assert fault(Signer(base64.b64encode(b"another secret, and longer").decode(), chosen), delivery(headers, body)) == signatures.WRONG
    name = chosen.get("signature_header", "x-signature")
    assert fault(signer, delivery({**headers, name: ""}, body)) == signatures.NO_SIGNATURE
    assert fault(signer, delivery({key: value for key, value in headers.items() if key != name}, body)) == signatures.NO_SIGNATURE
    cut = fault(signer, delivery({**headers, name: headers[name][:-4]}, body))
    assert cut in (signatures.MALFORMED, signatures.WRONG)
    if "{url}" in chosen.get("payload_format", ""):
        assert fault(signer, delivery(headers, body, URL + "2")) == signatures.WRONG
    if "{svix-id}" in chosen.get("payload_format", ""):
        assert fault(signer, delivery({**headers, "webhook-id": "msg_2"}, body)) == signatures.WRONG
        assert fault(signer, delivery({**headers, "webhook-id": ""}, body)) == signatures.NO_MESSAGE_ID


@given(st.integers(-900, 900), st.sampled_from([1, 1000]), st.sampled_from([10, 300]))
def test_a_timestamp_counts_within_the_window_before_and_after_in_either_unit(away: int, unit: int, window: int) -> None:
    signer = Signer(SECRET, {"replay_window_seconds": window})
    arrived = delivery(signer.headers(BODY, str((int(NOW) + away) * unit)))
    assert fault(signer, arrived) == (None if abs(away) <= window else signatures.OUTSIDE)


@pytest.mark.parametrize(
    "timestamp", ["soon", "-1772359200", "1e9", "2026-03-01T10:00:00Z", "٣" * 10, "1" * 17, "nan", "0x1", "1772359200,1"]
)
def test_a_timestamp_that_is_none_is_refused_though_it_is_signed(timestamp: str) -> None:
    signer = Signer(SECRET)
    assert fault(signer, delivery(signer.headers(BODY, timestamp))) == signatures.ODD_TIMESTAMP


def test_a_missing_timestamp_and_one_that_was_changed() -> None:
    signer = Signer(SECRET)
    headers = signer.headers(BODY, str(int(NOW)))
    assert fault(signer, delivery({"x-signature": headers["x-signature"]})) == signatures.NO_TIMESTAMP
    assert fault(signer, delivery({**headers, "x-timestamp": str(int(NOW) + 1)})) == signatures.WRONG


@pytest.mark.parametrize("name", ["x-signature", "x-timestamp"])
def test_a_header_that_comes_twice_is_refused_whichever_of_the_two_is_right(name: str) -> None:
    signer = Signer(SECRET)
    headers = signer.headers(BODY, str(int(NOW)))
    for order in ((headers[name], "0"), ("0", headers[name]), (headers[name], headers[name])):
        rest = [(key.encode(), value.encode()) for key, value in headers.items() if key != name]
        arrived = Delivery(b"POST", URL.encode(), [*rest, *((name.encode(), value.encode()) for value in order)], BODY)
        assert fault(signer, arrived) == signatures.TWICE


@pytest.mark.parametrize("value", ["", " ", "zz", "é", "0" * 63, "0" * 65, "=", "0" * 100_000, "sha256="])
def test_what_is_no_signature_is_refused(value: str) -> None:
    for encoding in ("hex", "base64"):
        signer = Signer(SECRET, {"signature_encoding": encoding})
        headers = {**signer.headers(BODY, str(int(NOW))), "x-signature": value}
        arrived = Delivery(b"POST", b"", [(key.encode(), text.encode("latin-1")) for key, text in headers.items()], BODY)
        assert fault(signer, arrived) in (signatures.NO_SIGNATURE, signatures.MALFORMED)


def test_an_empty_key_verifies_nothing_not_even_what_was_signed_with_it() -> None:
    empty = Signer("")
    assert fault(empty, delivery(empty.headers(BODY, str(int(NOW))))) == signatures.WRONG
    plan = SignaturePlan(secret_is_base64=True)
    assert signing_key(plan, "no base64!") == b""


def test_upper_case_hex_is_the_same_signature() -> None:
    signer = Signer(SECRET)
    headers = signer.headers(BODY, str(int(NOW)))
    assert fault(signer, delivery({**headers, "x-signature": headers["x-signature"].upper()})) is None

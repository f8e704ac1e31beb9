"""Each way in which a delivery can miss has its explanation, and none tells a secret or a signature."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tenants.credential_history import Known
from tenants.signature_plans import BearerPlan, Plan, SignaturePlan, signing_key
from tests.webhooks.signing import Signer
from tests.webhooks.test_signatures import options
from trunkline.webhook_doctor.captured import Captured
from trunkline.webhook_doctor.examine import explain
from webhooks.signatures import fault_of

SECRET = "c2VjcmV0IG9mIHRoZSBzdWl0ZSwgbG9uZyBlbm91Z2g="
OTHER = "YW5vdGhlciBzZWNyZXQsIG9mIGFub3RoZXIgdGVuYW50"
NOW = 1_772_359_200.0  # 2026-03-01T10:00:00Z
BODY = json.dumps({"message": {"type": "tool-calls", "call": {"id": "c-1"}}}, separators=(",", ":")).encode()
PUBLIC = "https://hooks.example.test"
URL = f"{PUBLIC}/vapi-webhook/acme"
ENDED = datetime(2026, 2, 1, tzinfo=UTC)


def known(plan: Plan, secret: str = SECRET, ended_at: datetime | None = None, assistant: str | None = None) -> Known:
    return Known(assistant, plan, secret, ended_at)


def captured(headers: dict[str, str], body: bytes | None = BODY, **more: Any) -> Captured:
    return Captured(tuple((name.lower(), value) for name, value in headers.items()), body, **{"received_at": NOW, **more})


def told(credentials: list[Known], delivery: Captured) -> tuple[bool, str]:
    """Whether it is let in, and everything that is said; nothing private is in it."""
    result = explain("acme", credentials, delivery, PUBLIC)
    text = json.dumps(result)
    for private in [each.secret for each in credentials] + [value for _, value in delivery.headers]:
        assert len(private) < 12 or private not in text
    assert all(bool(each["what_to_do"]) != each["holds"] for each in result["findings"])
    assert result["accepted"] or any(each["what_to_do"] for each in result["findings"])
    return result["accepted"], text


BEARER = known(BearerPlan())
BEARERS: dict[str, tuple[list[Known], dict[str, str], bool, str]] = {
    "right": ([BEARER], {"Authorization": f"Bearer {SECRET}"}, True, "the secret"),
    "in the older header": ([BEARER], {"x-vapi-secret": SECRET}, True, "x-vapi-secret: the secret"),
    "of an assistant": ([known(BearerPlan(), assistant="Front desk")], {"x-vapi-secret": SECRET}, True, "of assistant Front desk"),
    "nothing": ([BEARER], {"user-agent": "axios/1.8.3"}, False, "server.credentialId"),
    "empty": ([BEARER], {"x-vapi-secret": ""}, False, "empty one matches nothing"),
    "withheld": ([BEARER], {"authorization": "Bearer [REDACTED]"}, False, "withheld by Vapi"),
    "another": ([BEARER], {"authorization": f"Bearer {OTHER}"}, False, f"another one, {len(OTHER)} characters"),
    "an API key": ([BEARER], {"authorization": "Bearer trk_abcdefghijklmnop"}, False, "an API key of this service"),
    "ended": ([known(BearerPlan(), ended_at=ENDED)], {"x-vapi-secret": SECRET}, False, "ended at 2026-02-01 00:00:00 UTC"),
    "in a header of its own": ([known(BearerPlan("x-token"))], {"x-token": SECRET}, True, "x-token: the secret"),
    "in a header that is not looked into": ([BEARER], {"x-token": SECRET}, False, "Set header_name to x-token"),
    "in quotes": ([BEARER], {"authorization": f'Bearer "{SECRET}"'}, False, "quotes or spaces"),
    "Bearer twice": ([BEARER], {"authorization": f"Bearer Bearer {SECRET}"}, False, "Bearer twice"),
    "case": ([BEARER], {"authorization": f"Bearer {SECRET.lower()}"}, False, "upper and lower case differ"),
    "a space inside": ([BEARER], {"authorization": f"Bearer {SECRET[:9]} {SECRET[9:]}"}, False, "line break inside"),
    "cut off": ([BEARER], {"authorization": f"Bearer {SECRET[:-3]}"}, False, "cut off"),
    "more behind": ([BEARER], {"authorization": f"Bearer {SECRET}xyz"}, False, "more behind"),
    "the signing secret": ([known(SignaturePlan())], {"authorization": f"Bearer {SECRET}"}, False, "it was sent in clear"),
    "sealed by a lost key": ([known(BearerPlan(), "")], {"authorization": f"Bearer {SECRET}"}, False, "TRUNKLINE_SECRET_KEYS"),
}


@pytest.mark.parametrize(("credentials", "headers", "accepted", "words"), BEARERS.values(), ids=BEARERS)
def test_a_secret_in_a_header(credentials: list[Known], headers: dict[str, str], accepted: bool, words: str) -> None:
    verdict, text = told(credentials, captured(headers))
    assert (verdict, words in text) == (accepted, True), text


def signed(options: dict[str, Any], secret: str = SECRET, at: str = "1772359200", body: bytes = BODY, url: str = URL) -> dict[str, str]:
    return Signer(secret, options).headers(body, at, url, "msg_1")


# what Vapi is set up with, beside our plan of defaults, and what is said
SETUPS: dict[str, tuple[dict[str, Any], str]] = {
    "sha512": ({"algorithm": "sha512"}, "Set algorithm: 'sha512'"),
    "sha1": ({"algorithm": "sha1"}, "Set algorithm: 'sha1'"),
    "base64": ({"signature_encoding": "base64"}, "Set signature_encoding: 'base64'"),
    "prefix": ({"signature_prefix": "sha256="}, "Set signature_prefix: 'sha256='"),
    "prefix of the standard": ({"signature_prefix": "v1,", "signature_encoding": "base64"}, "signature_prefix: 'v1,'"),
    "header": ({"signature_header": "x-vapi-signature"}, "Set signature_header: 'x-vapi-signature'"),
    "timestamp header": ({"timestamp_header": "webhook-timestamp"}, "Set timestamp_header: 'webhook-timestamp'"),
    "body only": ({"payload_format": "{body}"}, "Set payload_format: '{body}'"),
    "no timestamp": ({"include_timestamp": False}, "include_timestamp: False, payload_format: '{body}'"),
    "other order": ({"payload_format": "{body}.{timestamp}"}, "Set payload_format: '{body}.{timestamp}'"),
    "no point": ({"payload_format": "{timestamp}{body}"}, "Set payload_format: '{timestamp}{body}'"),
    "svix": (
        {"payload_format": "{svix-id}.{timestamp}.{body}", "message_id_header": "webhook-id"},
        "message_id_header: 'webhook-id', payload_format: '{svix-id}.{timestamp}.{body}'",
    ),
    "with the address": ({"payload_format": "{url}{body}"}, "Set payload_format: '{url}{body}'"),
    "secret as base64": ({"secret_is_base64": True}, "Set secret_is_base64: True"),
    "several": ({"algorithm": "sha512", "signature_encoding": "base64", "payload_format": "{body}"}, "algorithm: 'sha512', payload_format"),
}


@pytest.mark.parametrize(("chosen", "words"), SETUPS.values(), ids=SETUPS)
def test_a_signature_that_vapi_makes_otherwise_names_the_options_and_setting_them_helps(chosen: dict[str, Any], words: str) -> None:
    delivery = captured(signed(chosen))
    verdict, text = told([known(SignaturePlan())], delivery)
    assert (verdict, words in text) == (False, True), text
    assert told([known(msgspec.convert(chosen, SignaturePlan))], delivery)[0]


@given(ours=options(), vapis=options())
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_whatever_both_sides_are_set_up_with_the_verdict_is_the_doors(ours: dict[str, Any], vapis: dict[str, Any]) -> None:
    assume("authorization" not in (ours.get("signature_header"), vapis.get("signature_header")))
    plan = msgspec.convert(ours, SignaturePlan)
    delivery = captured(signed(vapis))
    assert told([known(msgspec.convert(vapis, SignaturePlan))], delivery)[0]
    holds = fault_of(plan, signing_key(plan, SECRET), delivery.delivery(URL), NOW) is None
    assert told([known(plan)], delivery)[0] == holds


def test_a_window_that_was_missed_says_by_how_much_and_which_way() -> None:
    plan = [known(SignaturePlan())]
    for at, words in (
        ("1772358788", "made 412 s before it arrived; the window is 300 s"),
        ("1772359612000", "made 412 s after it arrived; the window is 300 s"),
        ("1772359200000000", "microseconds"),
    ):
        verdict, text = told(plan, captured(signed({}, at=at)))
        assert (verdict, words in text) == (False, True), text
    assert told(plan, captured(signed({}, at="1772358788"), received_at=None))[0]  # nobody knows when it arrived: said, not judged
    assert "received_at" in told(plan, captured(signed({}, at="1772358788"), received_at=None))[1]


def test_a_timestamp_in_words_is_told_apart_from_a_wrong_signature() -> None:
    verdict, text = told([known(SignaturePlan())], captured(signed({}, at="2026-03-01T10:00:00Z")))
    assert (verdict, "neither seconds nor milliseconds, but it holds otherwise" in text) == (False, True)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (BODY + b"\n", "without space around it"),
        (json.dumps(json.loads(BODY), indent=1).encode(), "the same JSON written compactly"),
        (b'{"message":{"type":"tool-calls","call":{"id":"c-2"}}}', "No option makes it hold"),
        (b"", "No option makes it hold"),
    ],
)
def test_a_body_that_was_changed_on_its_way(body: bytes, words: str) -> None:
    verdict, text = told([known(SignaturePlan())], captured(signed({}), body))
    assert (verdict, words in text) == (False, True), text


def test_a_body_that_lost_its_line_break() -> None:
    assert "a line break behind it" in told([known(SignaturePlan())], captured(signed({}, body=BODY + b"\n")))[1]


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        (f"{SECRET}\n", "a line break at its end"),
        (f"{SECRET} ", "a space behind it"),
        (f" {SECRET}", "a space before it"),
        (OTHER, "another secret"),
    ],
)
def test_a_secret_that_was_copied_wrongly(secret: str, words: str) -> None:
    verdict, text = told([known(SignaturePlan())], captured(signed({}, secret)))
    assert (verdict, words in text) == (False, True), text


def test_an_ended_secret_is_recognised_beside_the_new_one() -> None:
    verdict, text = told([known(SignaturePlan(), OTHER), known(SignaturePlan(), ended_at=ENDED)], captured(signed({})))
    assert (verdict, "ended at 2026-02-01 00:00:00 UTC" in text) == (False, True)


def test_what_is_missing_is_named() -> None:
    plan, headers = [known(SignaturePlan(payload_format="{svix-id}.{timestamp}.{body}", message_id_header="webhook-id"))], signed({})
    assert "webhook-id: missing" in told(plan, captured(headers))[1]
    assert "x-signature: missing" in told([known(SignaturePlan())], captured({}))[1]
    assert "no header holds anything like a signature" in told([known(SignaturePlan())], captured({}))[1]
    assert "x-timestamp: missing" in told([known(SignaturePlan())], captured({"x-signature": headers["x-signature"]}))[1]
    assert "the body was not captured" in told([known(SignaturePlan())], captured(headers, None))[1]
    assert "no signing secret" in told([BEARER], captured(headers))[1]
    assert "body_base64" in told([known(SignaturePlan())], captured(signed({}, OTHER), rebuilt=True))[1]
    assert "sealed by a key that is gone" in told([known(SignaturePlan(), "")], captured(headers))[1]


def test_a_header_that_comes_twice_is_said_to() -> None:
    headers = signed({})
    twice = Captured((*((name, value) for name, value in headers.items()), ("x-signature", "00")), BODY, received_at=NOW)
    assert "a header comes twice" in told([known(SignaturePlan())], twice)[1]


def test_an_address_that_vapi_knows_otherwise() -> None:
    elsewhere = "https://tunnel.example.net/vapi-webhook/acme"
    plan = [known(SignaturePlan(payload_format="{url}{body}"))]
    verdict, text = told(plan, captured(signed({"payload_format": "{url}{body}"}, url=elsewhere), url=elsewhere))
    assert (verdict, "TRUNKLINE_PUBLIC_BASE_URL" in text) == (False, True)


def test_a_delivery_that_went_to_another_tenants_address() -> None:
    verdict, text = told([BEARER], captured({"authorization": f"Bearer {SECRET}"}, url="/vapi-webhook/globex"))
    assert (verdict, "it went to globex" in text) == (False, True)


@given(
    st.dictionaries(st.sampled_from(["authorization", "x-vapi-secret", "x-signature", "x-timestamp", "x"]), st.text(max_size=80)),
    st.binary(),
)
def test_no_delivery_is_too_odd(headers: dict[str, str], body: bytes) -> None:
    accepted, _ = told([known(BearerPlan()), known(SignaturePlan(), base64.b64encode(b"k" * 24).decode())], captured(headers, body))
    assert not accepted

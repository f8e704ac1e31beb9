"""Each credential mode, against a computation of its own: HMAC by the letter of RFC 2104, not by the library that signs."""

import base64
import hashlib
import json
from typing import Any

import aiohttp
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.vapi import VapiSandbox
from sandbox.vapi.credentials import Credential, HmacPlan, headers_of
from tests.sandbox.parties import Application, Http

BLOCKS = {"sha256": 64, "sha1": 64, "sha512": 128}
URL = "https://hooks.example.com/vapi-webhook/one?x={body}"
header_names = st.sampled_from(["x-signature", "X-Vapi-Signature", "Webhook-Signature"])
formats = st.sampled_from(
    ["{timestamp}.{body}", "{body}", "{svix-id}.{timestamp}.{body}", "{method}\n{url}\n{body}", "v0:{timestamp}:{body}"]
)


def by_the_letter(algorithm: str, key: bytes, payload: bytes) -> bytes:
    """RFC 2104: H(K ^ opad, H(K ^ ipad, text))."""
    block = BLOCKS[algorithm]
    padded = (hashlib.new(algorithm, key).digest() if len(key) > block else key).ljust(block, b"\0")
    inner = hashlib.new(algorithm, bytes(byte ^ 0x36 for byte in padded) + payload).digest()
    return hashlib.new(algorithm, bytes(byte ^ 0x5C for byte in padded) + inner).digest()


def payload_of(plan: HmacPlan, sent: dict[str, str], body: bytes) -> bytes:
    """The signed text, put together from what arrived."""
    if not plan.include_timestamp and plan.payload_format == "{timestamp}.{body}":
        return body
    values = {"{timestamp}": sent.get(plan.timestamp_header.lower(), ""), "{method}": "POST", "{url}": URL}
    if plan.message_id_header:
        values["{svix-id}"] = sent[plan.message_id_header.lower()]
    text = plan.payload_format.encode()
    before, _, after = text.partition(b"{body}")
    for name, value in values.items():
        before, after = (part.replace(name.encode(), value.encode()) for part in (before, after))
    return before + body + after


@settings(max_examples=150, deadline=None)
@given(
    plan=st.builds(
        HmacPlan,
        algorithm=st.sampled_from(["sha256", "sha512", "sha1"]),
        signature_header=header_names,
        timestamp_header=st.sampled_from(["x-timestamp", "Webhook-Timestamp"]),
        signature_prefix=st.sampled_from(["", "sha256=", "v1,"]),
        include_timestamp=st.booleans(),
        payload_format=formats,
        message_id_header=st.sampled_from(["webhook-id", "Svix-Id"]),
        signature_encoding=st.sampled_from(["hex", "base64"]),
        secret_is_base64=st.booleans(),
        timestamp_in=st.sampled_from(["seconds", "milliseconds"]),
    ),
    key=st.binary(min_size=1, max_size=200),
    body=st.binary(max_size=300),
)
def test_every_option_signs_as_the_letter_says(plan: HmacPlan, key: bytes, body: bytes) -> None:
    encoded = base64.b64encode(key).decode()
    secret = encoded if plan.secret_is_base64 else key.hex()
    sent = headers_of(Credential(mode="hmac", secret=secret, hmac=plan), "POST", URL, body)
    expected = by_the_letter(plan.algorithm, key if plan.secret_is_base64 else key.hex().encode(), payload_of(plan, sent, body))
    shown = expected.hex() if plan.signature_encoding == "hex" else base64.b64encode(expected).decode()
    assert sent[plan.signature_header.lower()] == plan.signature_prefix + shown
    assert (plan.timestamp_header.lower() in sent) == plan.include_timestamp
    assert sent["x-vapi-secret"] == ""
    if plan.include_timestamp:
        assert len(sent[plan.timestamp_header.lower()]) == (10 if plan.timestamp_in == "seconds" else 13)


@pytest.fixture
def api(vapi: VapiSandbox, session: aiohttp.ClientSession) -> Http:
    return Http(session, vapi.url)


async def sent_with(api: Http, application: Application, credential: dict[str, Any], **more: Any) -> dict[str, str]:
    order = {"url": application.url + "/hook", "body": {"message": {"type": "hang"}}, "credential": credential, **more}
    assert (await api.ask("POST", "/control/deliver", json=order)).status == 200
    return application.got[-1].headers


async def test_the_defaults_sign_time_and_raw_body_with_sha256(api: Http, application: Application) -> None:
    headers = await sent_with(api, application, {"mode": "hmac", "secret": "s3cret"})
    signed = headers["x-timestamp"].encode() + b"." + application.got[-1].body
    assert headers["x-signature"] == by_the_letter("sha256", b"s3cret", signed).hex()
    assert "authorization" not in headers


async def test_each_attempt_is_signed_anew(api: Http, application: Application) -> None:
    application.statuses = [503, 200]
    plan = {"messageIdHeader": "webhook-id"}
    backoff = {"maxRetries": 1, "baseDelaySeconds": 0}
    await sent_with(api, application, {"mode": "hmac", "secret": "s", "hmac": plan}, backoff=backoff)
    ids = {got.headers["webhook-id"] for got in application.got}
    assert len(application.got) == len(ids) == 2


@pytest.mark.parametrize(
    ("credential", "expected"),
    [
        ({"mode": "bearer", "secret": "s"}, {"authorization": "Bearer s", "x-vapi-secret": ""}),
        ({"mode": "bearer", "secret": "s", "bearer": {"headerName": "X-Api-Key"}}, {"x-api-key": "Bearer s", "x-vapi-secret": ""}),
        ({"mode": "bearer", "secret": "s", "bearer": {"bearerPrefixEnabled": False}}, {"authorization": "s"}),
        (
            {"mode": "bearer", "secret": "s", "bearer": {"headerName": "X-Vapi-Secret", "bearerPrefixEnabled": False}},
            {"x-vapi-secret": "s"},
        ),
        ({"mode": "x-vapi-secret", "secret": "s"}, {"x-vapi-secret": "s"}),
        ({"mode": "none"}, {"x-vapi-secret": ""}),
    ],
    ids=["bearer", "other header", "no prefix", "as the legacy header", "legacy", "none"],
)
async def test_what_each_other_mode_sends(
    api: Http, application: Application, credential: dict[str, Any], expected: dict[str, str]
) -> None:
    headers = await sent_with(api, application, credential)
    assert {name: headers[name] for name in expected} == expected
    assert ("authorization" in headers) == ("authorization" in expected)


async def test_static_headers_win_over_the_credential(api: Http, application: Application) -> None:
    headers = await sent_with(api, application, {"mode": "bearer", "secret": "s"}, headers={"Authorization": "Bearer own", "X-Own": "1"})
    assert (headers["authorization"], headers["x-own"]) == ("Bearer own", "1")


async def test_a_secret_that_is_no_base64_is_refused(api: Http) -> None:
    credential = {"mode": "hmac", "secret": "not base64!", "hmac": {"secretIsBase64": True}}
    answer = await api.ask("POST", "/control/deliver", json={"url": "http://127.0.0.1:9/", "body": {}, "credential": credential})
    assert (answer.status, "base64" in answer.json["error"]) == (400, True)


def test_a_body_with_braces_is_signed_as_it_is() -> None:
    body = json.dumps({"a": "{timestamp}{body}{url}"}).encode()
    sent = headers_of(Credential(mode="hmac", secret="k"), "POST", URL, body)
    assert sent["x-signature"] == by_the_letter("sha256", b"k", sent["x-timestamp"].encode() + b"." + body).hex()
    assert msgspec.json.decode(body) == {"a": "{timestamp}{body}{url}"}

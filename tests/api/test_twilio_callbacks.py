"""What Twilio reports: believed with its signature and our token only; states rise, consent is followed."""

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from api.wiring import Wiring
from messaging.callback_urls import callback_token
from messaging.signature import sign
from runtime.ids import TenantId
from tests.api.effects import Effects
from tests.api.people import AUTH_TOKEN, CALLER, PUBLIC, Tenant, sender_body

SID = "SM" + "0" * 32
Form = dict[str, str]


class Twilio:
    """Signs and posts as Twilio does, with the token of the tenant's account."""

    def __init__(self, tenant: Tenant, wiring: Wiring) -> None:
        self.tenant = tenant
        self._keyring = wiring.keyring

    def status_path(self, message: str, owner: Tenant | None = None) -> str:
        token = callback_token(self._keyring, TenantId(UUID((owner or self.tenant).id)), UUID(message))
        return f"/twilio/{self.tenant.slug}/status/{message}?s={token}"

    async def post(self, path: str, form: Form, token: str | None = AUTH_TOKEN, signed: str | None = None) -> httpx.Response:
        headers = {} if token is None else {"X-Twilio-Signature": sign(token, signed or PUBLIC + path, form.items())}
        return await self.tenant.http.post(path, data=form, headers=headers)

    async def report(self, message: str, status: str, **more: str) -> httpx.Response:
        return await self.post(self.status_path(message), {"MessageSid": SID, "MessageStatus": status, **more})

    async def inbound(self, body: str, sid: str | None = None, **more: str) -> httpx.Response:
        sender = self.tenant.sender
        form = {"MessageSid": sid or f"SM{uuid4().hex}", "From": CALLER, "To": sender["from_number"], "AccountSid": sender["account_sid"]}
        return await self.post(f"/twilio/{self.tenant.slug}/inbound", {**form, "Body": body, "NumSegments": "1", **more})


@pytest.fixture
def twilio(tenant: Tenant, wiring: Wiring) -> Twilio:
    return Twilio(tenant, wiring)


async def queued(tenant: Tenant) -> str:
    answer = await tenant.post("/v1/messages", {"to": CALLER, "body": "Hi"})
    assert answer.status_code == 202, answer.text
    made: str = answer.json()["id"]
    return made


async def shown(tenant: Tenant, message: str) -> dict[str, Any]:
    found: dict[str, Any] = (await tenant.get(f"/v1/messages/{message}")).json()
    return found


async def test_a_signed_report_moves_a_message_up_and_never_down(tenant: Tenant, twilio: Twilio, effects: Effects) -> None:
    message = await queued(tenant)
    seen = []
    for status in ("sent", "queued", "delivered", "sent", "undelivered", "delivered"):
        answer = await twilio.report(message, status)
        assert (answer.status_code, answer.content) == (204, b"")
        seen.append((await shown(tenant, message))["status"])
    assert seen == ["sent", "sent", "delivered", "delivered", "delivered", "delivered"]
    final = await shown(tenant, message)
    assert (final["twilio_sid"], final["delivered_at"] >= final["sent_at"]) == (SID, True)
    assert await effects.usage(tenant) == {"sms_segments_out": (1, 1.0)}


async def test_a_failure_says_why_and_what_to_do(tenant: Tenant, twilio: Twilio) -> None:
    message = await queued(tenant)
    await twilio.report(message, "undelivered", ErrorCode="30005")  # an error that passes would send it again
    found = await shown(tenant, message)
    assert (found["status"], found["error"]["code"]) == ("undelivered", 30005)
    assert found["error"]["reason"]
    assert found["error"]["what_to_do"]


async def unchanged(tenant: Tenant, message: str, effects: Effects) -> None:
    assert (await shown(tenant, message))["status"] == "queued"
    assert await effects.count(tenant, "message_events") == 0
    assert await effects.usage(tenant) == {}


@pytest.mark.parametrize("token", [None, "", "wrong", AUTH_TOKEN + " "], ids=["missing", "empty", "wrong", "nearly"])
async def test_a_report_that_twilio_did_not_sign_is_refused(token: str | None, tenant: Tenant, twilio: Twilio, effects: Effects) -> None:
    message = await queued(tenant)
    answer = await twilio.post(twilio.status_path(message), {"MessageSid": SID, "MessageStatus": "failed"}, token)
    assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")
    await unchanged(tenant, message, effects)


async def test_a_signature_is_over_the_public_address_and_every_parameter(tenant: Tenant, twilio: Twilio, effects: Effects) -> None:
    message = await queued(tenant)
    path, form = twilio.status_path(message), {"MessageSid": SID, "MessageStatus": "failed"}
    assert (await twilio.post(path, form, signed="http://api.test" + path)).status_code == 403
    assert (await twilio.post(path, form, signed=PUBLIC + path + "&x=1")).status_code == 403
    signature = sign(AUTH_TOKEN, PUBLIC + path, form.items())
    changed = {**form, "MessageStatus": "delivered"}
    assert (await tenant.http.post(path, data=changed, headers={"X-Twilio-Signature": signature})).status_code == 403
    await unchanged(tenant, message, effects)
    assert (await tenant.http.post(path, data=form, headers={"X-Twilio-Signature": signature})).status_code == 204


async def test_an_address_that_was_not_made_here_is_refused_although_signed(
    tenant: Tenant, other: Tenant, twilio: Twilio, effects: Effects
) -> None:
    message, another = await queued(tenant), await queued(tenant)
    bare = f"/twilio/{tenant.slug}/status/{message}"
    right = twilio.status_path(message)
    swapped = f"{bare}?{twilio.status_path(another).partition('?')[2]}"
    for path in (bare, f"{bare}?s=", f"{bare}?s=wrong", right[:-1], swapped, twilio.status_path(message, owner=other), f"{bare}?s=%ff"):
        assert (await twilio.post(path, {"MessageSid": SID, "MessageStatus": "failed"})).status_code == 403, path
    await unchanged(tenant, message, effects)


async def test_a_tenant_cannot_report_on_anothers_message(tenant: Tenant, other: Tenant, wiring: Wiring, effects: Effects) -> None:
    message = await queued(other)
    theirs = Twilio(tenant, wiring)
    assert (await theirs.report(message, "failed")).status_code == 404  # its own token, made for a message it does not have
    assert (await theirs.post(theirs.status_path(message, owner=other), {"MessageSid": SID, "MessageStatus": "failed"})).status_code == 403
    await unchanged(other, message, effects)


async def test_unknown_tenants_and_messages_are_refused(twilio: Twilio) -> None:
    assert (await twilio.report(str(uuid4()), "sent")).status_code == 404
    path = twilio.status_path(str(uuid4())).replace(twilio.tenant.slug, "nobody")
    assert (await twilio.post(path, {"MessageSid": SID, "MessageStatus": "sent"})).status_code == 403
    assert (await twilio.post("/twilio/nobody/inbound", {"MessageSid": SID, "From": CALLER})).status_code == 403
    assert (await twilio.post(f"/twilio/{twilio.tenant.slug}/status/x", {})).status_code == 404


async def test_while_a_token_is_rotated_both_sign(tenant: Tenant, twilio: Twilio) -> None:
    body = {
        **sender_body(),
        "account_sid": tenant.sender["account_sid"],
        "from_number": tenant.sender["from_number"],
        "auth_token": "renewed",
    }
    assert (await tenant.ask("PUT", "/v1/sender", body)).json()["id"] == tenant.sender["id"]
    for token, status in (("renewed", "sent"), (AUTH_TOKEN, "delivered")):
        message = await queued(tenant)
        assert (
            await twilio.post(twilio.status_path(message), {"MessageSid": f"SM{uuid4().hex}", "MessageStatus": status}, token)
        ).status_code == 204


async def test_without_a_token_the_address_alone_proves_it(tenant: Tenant, twilio: Twilio) -> None:
    key = {"auth_token": None, "api_key_sid": "SK" + "0" * 32, "api_key_secret": "k"}
    assert (await tenant.ask("PUT", "/v1/sender", {**sender_body(), **key})).status_code == 200
    message = await queued(tenant)
    form = {"MessageSid": SID, "MessageStatus": "delivered"}
    assert (await twilio.post(f"/twilio/{tenant.slug}/status/{message}?s=wrong", form, None)).status_code == 403
    assert (await twilio.post(twilio.status_path(message), form, None)).status_code == 204
    assert (await shown(tenant, message))["status"] == "delivered"


async def test_stop_and_start_are_followed(tenant: Tenant, other: Tenant, twilio: Twilio, effects: Effects) -> None:
    assert (await twilio.inbound("Stop")).status_code == 204
    refused = await tenant.post("/v1/messages", {"to": CALLER, "body": "Hi"})
    assert refused.status_code == 409
    assert await queued(other)  # their choice concerns one tenant
    assert (await twilio.inbound("START")).status_code == 204
    assert await queued(tenant)
    assert await effects.usage(tenant) == {"sms_segments_in": (2, 2.0)}


async def test_an_inbound_text_counts_once_and_may_mean_nothing(tenant: Tenant, twilio: Twilio, effects: Effects) -> None:
    for _ in range(3):
        assert (await twilio.inbound("See you then", sid=SID, NumSegments="2")).status_code == 204
    assert await effects.usage(tenant) == {"sms_segments_in": (1, 2.0)}
    assert await effects.count(tenant, "opt_outs") == 0


@pytest.mark.parametrize("change", [{"AccountSid": "AC" + "1" * 32}, {"To": "+12135550100"}, {"AccountSid": ""}], ids=str)
async def test_an_inbound_text_to_no_sender_of_the_tenant_is_refused(change: Form, twilio: Twilio, effects: Effects) -> None:
    """Whoever owns another account could sign for it."""
    assert (await twilio.inbound("Stop", **change)).status_code == 403
    assert await effects.counts(twilio.tenant) == {}


@pytest.mark.parametrize("token", [None, "", "wrong"], ids=["missing", "empty", "wrong"])
async def test_an_inbound_text_that_twilio_did_not_sign_is_refused(token: str | None, twilio: Twilio, effects: Effects) -> None:
    sender = twilio.tenant.sender
    form = {"MessageSid": SID, "From": CALLER, "To": sender["from_number"], "AccountSid": sender["account_sid"], "Body": "Stop"}
    assert (await twilio.post(f"/twilio/{twilio.tenant.slug}/inbound", form, token)).status_code == 403
    assert await effects.counts(twilio.tenant) == {}


ODD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "application/x-www-form-urlencoded"),
    "JSON": (b'{"MessageSid":"x"}', "application/json"),
    "no parts": (b"rubbish", "multipart/form-data; boundary=x"),
    "parts without a boundary": (b"rubbish", "multipart/form-data"),
    "half a part": (b'--x\r\nContent-Disposition: form-data; name="a"', "multipart/form-data; boundary=x"),
    "no text": (b"MessageSid=%ff&MessageStatus=%00&From=\xff", "application/x-www-form-urlencoded"),
    "no type": (b"a=b", ""),
    "a thousand fields": (b"&".join(b"f%d=1" % number for number in range(1200)), "application/x-www-form-urlencoded"),
}


@pytest.mark.parametrize(("content", "media_type"), ODD.values(), ids=ODD)
async def test_whatever_is_posted_none_is_a_500(content: bytes, media_type: str, tenant: Tenant, twilio: Twilio) -> None:
    headers = {"Content-Type": media_type, "X-Twilio-Signature": "x"}
    for path in (f"/twilio/{tenant.slug}/inbound", twilio.status_path(await queued(tenant))):
        answer = await tenant.http.post(path, content=content, headers=headers)
        assert answer.status_code in (400, 403), answer.text


ODD_FORMS: dict[str, Form] = {
    "a NUL": {"MessageSid": "SM\x00", "MessageStatus": "sent\x00", "Body": "\x00"},
    "no Sid": {"MessageStatus": "sent"},
    "no status": {"MessageSid": SID},
    "a status nobody knows": {"MessageSid": SID, "MessageStatus": "teleported"},
    "an error that is no number": {"MessageSid": SID, "MessageStatus": "failed", "ErrorCode": "much"},
    "a huge error": {"MessageSid": SID, "MessageStatus": "failed", "ErrorCode": "9" * 30},
    "negative segments": {"MessageSid": SID, "MessageStatus": "delivered", "NumSegments": "-1"},
    "a long Sid": {"MessageSid": "S" * 5000, "MessageStatus": "sent"},
}


@pytest.mark.parametrize("form", ODD_FORMS.values(), ids=ODD_FORMS)
async def test_an_odd_report_that_is_signed_is_taken(form: Form, tenant: Tenant, twilio: Twilio) -> None:
    answer = await twilio.post(twilio.status_path(await queued(tenant)), form)
    assert answer.status_code in (204, 403), answer.text

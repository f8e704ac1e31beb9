"""Copy to tests/api/test_consent_by_sender.py after the merge: accepting looks at one sender's opt-outs too."""

from typing import Any

from api.wiring import Wiring
from tests.api.people import CALLER, Tenant, sender_body
from tests.api.test_twilio_callbacks import Twilio


async def test_a_sender_that_was_told_to_stop_accepts_no_text_and_the_others_do(tenant: Tenant, other: Tenant, wiring: Wiring) -> None:
    second: dict[str, Any] = (await tenant.post("/v1/senders", sender_body("toll_free"))).json()
    for each in (tenant, other):
        await each.ask("PUT", "/v1/consent", {"stop_covers": "sender"})
    await Twilio(tenant, wiring).inbound("STOP")
    text = {"to": CALLER, "body": "Hi"}
    assert (await tenant.post("/v1/messages", text)).status_code == 409
    assert (await tenant.post("/v1/messages", {**text, "sender_id": second["id"]})).status_code == 202
    assert (await other.post("/v1/messages", text)).status_code == 202
    await tenant.post("/v1/opt-outs", {"to": CALLER, "sender_id": second["id"]})
    assert (await tenant.post("/v1/messages", {**text, "body": "Hi again", "sender_id": second["id"]})).status_code == 409
    await Twilio(tenant, wiring).inbound("START")
    assert (await tenant.post("/v1/messages", text)).status_code == 202

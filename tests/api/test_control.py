"""phone-call-control: whoever subscribes has to act, and nobody here does: recorded, with a warning wherever somebody looks."""

from runtime import metrics
from tests.api.asking import asking
from tests.api.effects import Effects
from tests.api.people import Tenant

CONTROL = asking("phone-call-control", request="forward", destination={"type": "number", "number": "+19075550101"})


async def test_it_is_recorded_once_with_a_warning_on_the_webhook_and_on_the_call(tenant: Tenant, other: Tenant, effects: Effects) -> None:
    counted = metrics.PHONE_CALL_CONTROL._value.get()
    answers = [await tenant.webhook(CONTROL) for _ in range(2)]
    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, {})] * 2
    assert metrics.PHONE_CALL_CONTROL._value.get() == counted + 2
    (shown,) = (await tenant.get("/v1/webhooks")).json()["items"]
    assert "serverMessages" in shown["warning"]
    call = (await tenant.get("/v1/calls/call-1")).json()
    assert call["warnings"] == [shown["warning"]]
    assert await effects.count(other, "processed_webhooks") == 0


async def test_any_other_webhook_has_none(tenant: Tenant) -> None:
    await tenant.webhook(asking("hang"))
    (shown,) = (await tenant.get("/v1/webhooks")).json()["items"]
    assert shown["warning"] is None
    assert (await tenant.get("/v1/calls/call-1")).json()["warnings"] == []


async def test_a_voice_request_is_refused(tenant: Tenant) -> None:
    assert (await tenant.webhook(asking("voice-request", text="Hello."))).status_code == 422

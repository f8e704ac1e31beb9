"""A whole call, 60 messages of every kind, delivered in any order with repeats, in turn and at once: one record, one bill."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.vapi.bodies import freshened
from tests.api.effects import Effects
from tests.api.people import CALLER, Person, Tenant, new_tenant, tool_item

BEGUN = datetime(2026, 3, 1, 17, tzinfo=UTC)
OPENED_MS = int(BEGUN.timestamp() * 1000)
numbers = count()


def played(call_id: str, assistant: str) -> list[dict[str, Any]]:
    """The 60 messages. Statuses repeat with other times; each of three reports says something that the others do not, or otherwise."""
    call = {"id": call_id, "type": "inboundPhoneCall", "phoneNumberId": "line-1", "assistantId": assistant, "status": "ringing", "cost": 0}
    clock = count(OPENED_MS, 500)

    def message(kind: str, **own: Any) -> dict[str, Any]:
        return {"message": {"timestamp": next(clock), "type": kind, "call": call, "customer": {"number": CALLER}, **own}}

    def report(**own: Any) -> dict[str, Any]:
        link = {"presignedRecordingUrl": "https://storage.example.com/a.wav?signature=00"}
        return message("end-of-call-report", artifact={"messages": [], **link}, **own)

    made = [message("status-update", status=status) for status in ("queued", "ringing", "in-progress", "in-progress", "forwarding")]
    made += [message("assistant.started", newAssistant={"name": "Front desk"})]
    for turn in range(9):
        made += [message("speech-update", status="started", role="user", turn=turn)]
        made += [message("transcript", transcriptType="partial", role="user", transcript=f"I would like {turn}")]
        made += [message('transcript[transcriptType="final"]', role="user", transcript=f"I would like to know {turn}.")]
        made += [message("conversation-update", messages=[{"role": "user", "message": f"turn {n}"} for n in range(turn)])]
    made += [message("tool-calls", toolCallList=[tool_item("current_time", {}, f"tool-{number}")]) for number in range(5)]
    made += [message("tool-calls", toolCallList=[tool_item("send_sms", {"body": f"For {call_id}."}, "text-1")])]
    made += [message("model-output", output=word) for word in ("Of", " course", ".")]
    made += [message("user-interrupted"), message("hang"), message("status-update", status="ended", endedReason="unknown")]
    times = {"startedAt": BEGUN.isoformat(), "endedAt": (BEGUN + timedelta(seconds=58.72)).isoformat()}
    made += [report(durationSeconds=58, summary="An early summary.", endedReason="customer-ended-call")]
    made += [report(**times, transcript="AI: Hello.\nUser: Hello.\n")]
    made += [report(cost=0.0691, endedReason="assistant-ended-call", analysis={"summary": "The caller asked for the time."})]
    made += [message("user-interrupted") for _ in range(60 - len(made))]
    assert len(made) == 60
    return made


RECORD = {
    "state": "ended",
    "started_at": "2026-03-01T17:00:00.000Z",
    "ended_at": "2026-03-01T17:00:58.720Z",
    "seconds": "58.72",
    "estimated": False,
    "cost": {"amount": "0.0691", "currency": "USD"},
    "ended_reason": "assistant-ended-call",
    "reported_by": "report",
    "type": "inboundPhoneCall",
    "direction": "inbound",
    "phone_number_id": "line-1",
    "customer": CALLER,
    "transcript": "AI: Hello.\nUser: Hello.\n",
    "summary": "The caller asked for the time.",
    "forgotten_at": None,
    "unreadable": [],
}
BILL = {"calls": 1, "call_seconds": 58.72, "vapi_cost_usd": 0.0691, "tool_calls": 6}


async def deliver(tenant: Tenant, messages: Sequence[dict[str, Any]], together: int) -> None:
    """So many at once; each delivery's presigned addresses are its own."""
    for start in range(0, len(messages), together):
        answers = await asyncio.gather(*(tenant.webhook(freshened(each)) for each in messages[start : start + together]))
        assert {answer.status_code for answer in answers} == {200}


@pytest.fixture(scope="module")
async def keeper(admin: Person) -> Tenant:
    """A tenant that keeps everything."""
    made = await new_tenant(admin)
    put = await made.ask("PUT", "/v1/privacy", {"customer": "encrypted", "transcripts": True, "summaries": True})
    assert put.status_code == 200, put.text
    policy = await made.ask("PUT", "/v1/text-policy", {"texts_per_recipient_day": 100})  # the same person calls in every example
    assert policy.status_code == 200, policy.text
    return made


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.permutations(range(60)),
    repeats=st.lists(st.tuples(st.integers(0, 59), st.integers(0, 59)), max_size=15),
    together=st.integers(1, 6),
)
async def test_a_played_call_is_one_record_in_any_order(
    keeper: Tenant, effects: Effects, order: list[int], repeats: list[tuple[int, int]], together: int
) -> None:
    call_id, assistant = f"played-{next(numbers)}", keeper.assistant["vapi_assistant_id"]
    messages = played(call_id, assistant)
    delivered = list(order)
    for which, where in repeats:
        delivered.insert(where, which)
    before = await effects.usage(keeper)
    await deliver(keeper, [messages[number] for number in delivered], together)
    shown = (await keeper.get(f"/v1/calls/{call_id}")).json()
    assert {name: shown[name] for name in RECORD} == RECORD
    assert (shown["call_id"], shown["assistant_id"], len(shown["messages"])) == (call_id, assistant, 1)
    assert {each["type"] for each in shown["webhooks"]} >= {"tool-calls", "end-of-call-report", "status-update", "hang"}
    after = await effects.usage(keeper)
    assert {meter: round(after[meter][1] - before.get(meter, (0, 0.0))[1], 6) for meter in after} == BILL
    assert after["calls"][0] - before.get("calls", (0, 0.0))[0] == 1

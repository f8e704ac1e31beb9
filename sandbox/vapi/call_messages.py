"""Bodies of the messages that only inform, and of those that ask, as far as a played call needs them."""

from datetime import datetime
from typing import Any

from sandbox.clock import now
from sandbox.vapi.bodies import snapshot

FINAL_TRANSCRIPT = 'transcript[transcriptType="final"]'  # literally the type of one
_LINE = "The caller asked about opening hours, parking, and what to bring along to the first visit; the assistant answered each. "


def informing(
    kind: str, call_id: str, assistant_id: str | None, customer_number: str | None, created: datetime, fields: dict[str, Any]
) -> dict[str, Any]:
    """Any message with fields of its own."""
    message = {"timestamp": int(now().timestamp() * 1000), "type": kind, **fields}
    return {"message": {**message, **snapshot(call_id, assistant_id, customer_number, created)}}


def assistant_request(
    call_id: str, customer_number: str, phone_number: dict[str, Any], created: datetime, variables: dict[str, str]
) -> dict[str, Any]:
    """Somebody calls a number that has no assistant. What SIP said of the caller stands among the variables, as in real traffic."""
    body = informing("assistant-request", call_id, None, customer_number, created, {"phoneNumber": phone_number, "assistant": None})
    overrides = {"variableValues": variables}
    absent = {"assistantId": None, "squadId": None, "workflowId": None}
    body["message"]["call"] |= {**absent, "phoneNumberId": phone_number["id"], "assistantOverrides": overrides}
    return body


def speech(role: str, status: str, turn: int) -> dict[str, Any]:
    """The fields of a `speech-update`."""
    return {"role": role, "status": status, "turn": turn}


def transcript(role: str, text: str, *, final: bool) -> tuple[str, dict[str, Any]]:
    """The type and the fields of a transcript."""
    kind = FINAL_TRANSCRIPT if final else "transcript"
    return kind, {"role": role, "transcriptType": "final" if final else "partial", "transcript": text}


def conversation(turns: int, kilobytes: float) -> dict[str, Any]:
    """The fields of a `conversation-update`: the whole conversation so far, twice, of about so many kB (1,000 bytes) together."""
    each = max(1, int(kilobytes * 1000 / 2 / max(1, turns)))
    words = (_LINE * (each // len(_LINE) + 1))[:each]
    roles = [("bot", "assistant") if turn % 2 == 0 else ("user", "user") for turn in range(turns)]
    return {
        "messages": [
            {"role": ours, "message": words, "time": 1_700_000_000_000 + 4000 * turn, "secondsFromStart": 4.0 * turn}
            for turn, (ours, _) in enumerate(roles)
        ],
        "messagesOpenAIFormatted": [{"role": theirs, "content": words} for _, theirs in roles],
        "conversation": [],
    }

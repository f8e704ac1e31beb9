"""The bodies of one call: each is built when it is first sent and stays what it is, so that a duplicate is one."""

import hashlib
from random import Random
from typing import Any

import msgspec

from sandbox.clock import iso, now
from sandbox.vapi import bodies, call_messages
from sandbox.vapi.figures import Figures
from sandbox.vapi.scripts import AskAssistant, Conversation, Other, Report, Script, Speech, Status, Step, Tools, Transcript, Transfer
from sandbox.vapi.tool_shapes import reshaped

Built = tuple[str, dict[str, Any]]
_NUMBER = {"id": "1b2c5a3e-7c41-4c4c-9a55-0b9f3f6a2d10", "number": "+13035550117", "provider": "vapi", "assistantId": None}


class Parties(msgspec.Struct, frozen=True):
    """Who takes part: the call, the assistant if one is known, the caller, and the number that was called."""

    call_id: str
    assistant_id: str | None
    customer_number: str
    phone_number: dict[str, Any]


class CallBodies:
    """Gives type and body of each message by its place in the script. Timestamps grow by a millisecond at least."""

    def __init__(self, script: Script, parties: Parties, rng: Random) -> None:
        self._script, self._parties, self._rng = script, parties, rng
        self._created = now()
        self._built: dict[int, Built] = {}
        self._report: dict[str, Any] | None = None
        self._figures: Figures | None = None
        self._latest = 0

    @property
    def figures(self) -> Figures:
        """What the call came to; fixed when first asked for, which is its end."""
        self._figures = self._figures or Figures.drawn(self._script, self._rng)
        return self._figures

    def report(self) -> dict[str, Any]:
        """The report's body, also for a call whose report is never sent."""
        if self._report is None:
            who = self._parties
            self._report = self.figures.report(self._script, who.call_id, who.assistant_id, who.customer_number)
        return self._report

    def of(self, place: int, step: Step) -> Built:
        """The message at this place."""
        if place not in self._built:
            kind, body = self._build(place, step)
            self._latest = max(self._latest + 1, int(now().timestamp() * 1000))
            body["message"]["timestamp"] = self._latest
            self._built[place] = kind, body
        return self._built[place]

    def _build(self, place: int, step: Step) -> Built:
        who = self._parties
        match step:
            case AskAssistant():
                return self._asking()
            case Status():
                body = bodies.status_update(who.call_id, who.assistant_id, step.status, who.customer_number)
                if step.status == "ended":
                    body["message"]["endedReason"] = self._script.ended_reason
                return "status-update", body
            case Tools():
                return self._tools(place, step)
            case Report():
                return "end-of-call-report", {"message": {**self.report()["message"]}}
            case _:
                kind, fields = _own_fields(place, step)
                created = self._created
                return kind, call_messages.informing(kind, who.call_id, who.assistant_id, who.customer_number, created, fields)

    def _asking(self) -> Built:
        who = self._parties
        variables = {"originating-carrier": "invented", "cid": f"{_digest(who.call_id, 'cid')[:12]}@sbc2.example.com"}
        number = {**_NUMBER, "createdAt": iso(self._created), **who.phone_number}
        return "assistant-request", call_messages.assistant_request(who.call_id, who.customer_number, number, self._created, variables)

    def _tools(self, place: int, step: Tools) -> Built:
        who = self._parties
        calls = [
            {
                "id": call.id or f"call_{_digest(who.call_id, str(place), str(number))[:24]}",
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for number, call in enumerate(step.calls)
        ]
        body = bodies.real_size_tool_calls(who.call_id, who.assistant_id, calls, who.customer_number)
        body = reshaped(body, step.shape)
        return body["message"]["type"], body


def _own_fields(place: int, step: Speech | Transcript | Conversation | Transfer | Other) -> Built:
    """Type and fields of a message that carries little beside its call."""
    match step:
        case Speech():
            return "speech-update", call_messages.speech(step.role, step.status, place)
        case Transcript():
            return call_messages.transcript(step.role, step.text, final=step.final)
        case Conversation():
            return "conversation-update", call_messages.conversation(step.turns, step.kilobytes)
        case Transfer():
            return "transfer-destination-request", {"functionCall": {"parameters": {"reason": step.reason}}}
        case Other():
            return step.kind, step.fields


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()

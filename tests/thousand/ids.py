"""The ids of one tenant and what is posted under each: every kind of effect, and no two deliveries of an id equal byte for byte."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

AREAS = (213, 312, 415, 206)
SHARES = {"tool": 30, "hook": 10, "function": 10, "time": 10, "report": 15, "status": 15, "message": 10}  # of a hundred
TEXTS, METERED = ("tool", "hook", "function", "message"), ("tool", "hook", "function", "time")


@dataclass(frozen=True, slots=True)
class Id:
    """One id: its kind, and its number within the kind."""

    kind: str
    number: int

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.number}"

    @property
    def is_webhook(self) -> bool:
        """Whether Vapi delivers it; else the tenant's own program asks."""
        return self.kind != "message"

    @property
    def person(self) -> str:
        """Whom it texts: one of 1,000 fictional numbers, another one for each id."""
        area = AREAS[TEXTS.index(self.kind) if self.kind in TEXTS else 0]
        return f"+1{area}555{100 + self.number % 100:04d}"

    def body(self, delivery: int) -> bytes:
        """What is posted for the n-th time: with what changes between retries."""
        if not self.is_webhook:
            fields = {"to": self.person, "body": f"Text {self.name}."}
            return json.dumps(dict(reversed(fields.items())) if delivery % 2 else fields).encode()
        return json.dumps({"message": {**self._said(), **carried_along(delivery)}}).encode()

    def _said(self) -> dict[str, Any]:
        call = {"id": f"call-{self.name}"}
        sms = {"to": self.person, "body": f"Text {self.name}."}
        match self.kind:
            case "tool":
                return tool_calls(call, f"id-{self.number}", "send_sms", sms)
            case "hook":
                return tool_calls({"id": f"call-hook-{self.number // 3}"}, "hook-function-call", "send_sms", sms)
            case "time":
                return tool_calls(call, f"time-{self.number}", "current_time", {})
            case "function":
                return {"type": "function-call", "call": call, "functionCall": {"name": "send_sms", "parameters": sms}}
            case "report":
                times = {"startedAt": "2026-11-25T10:00:00Z", "endedAt": "2026-11-25T10:01:00Z"}
                return {"type": "end-of-call-report", "call": call, "cost": 0.1, "endedReason": "customer-ended-call", **times}
            case _:
                return {"type": "status-update", "status": "in-progress", "call": call}


def tool_calls(call: dict[str, Any], tool_id: str, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """A message with one tool call."""
    item = {"id": tool_id, "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"type": "tool-calls", "call": call, "toolCallList": [item], "toolCalls": [item]}


def carried_along(delivery: int) -> dict[str, Any]:
    """What Vapi makes anew for each delivery: addresses and their end."""
    signed = f"https://storage.example/r.wav?X-Amz-Date=20261125T1000{delivery:02d}Z&X-Amz-Signature={delivery:064x}"
    return {"artifact": {"recordingUrl": signed}, "presignedUrlsExpiresAt": f"2026-11-25T11:00:{delivery % 60:02d}Z"}


def ids_of(hundredths: float = 1.0) -> list[Id]:
    """A hundred ids, or a part of them with every kind among it."""
    return [Id(kind, number) for kind, share in SHARES.items() for number in range(max(1, round(share * hundredths)))]


def expected(ids: Sequence[Id]) -> dict[str, int]:
    """The effects that there should be: rows by table, lines of the ledger by meter, segments that the schedule was told of."""
    by_kind = {kind: sum(each.kind == kind for each in ids) for kind in SHARES}
    texts = sum(by_kind[kind] for kind in TEXTS)
    reports = by_kind["report"]
    return {
        "keys": len(ids),
        "messages": texts,
        "texts": texts,
        "arrivals": texts,
        "calls rows": reports + by_kind["status"],
        "tool_calls": sum(by_kind[kind] for kind in METERED),
        "calls": reports,
        "call_seconds": reports,
        "vapi_cost_usd": reports,
    }

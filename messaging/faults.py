"""Twilio's error codes as data: what each means for the message and what to tell the tenant (errors.json)."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

ErrorClass = Literal[
    "not_sent", "ambiguous", "backpressure", "rate_signal", "day_cap", "account_cap", "config", "registration", "recipient", "opt_out",
    "blocked", "soft", "filtered", "expired", "policy", "loop", "bad_request", "info", "unknown",
]  # fmt: skip
Action = Literal[
    "alert", "expire", "fail", "hold_1h", "hold_24h", "hold_until_day_reset", "mark_number", "open_circuit", "pause_conversation",
    "pause_sender", "reconcile", "record", "requeue_delayed", "reschedule", "retry_after_provisioning", "retry_backoff", "retry_delayed",
    "retry_once", "slow_down", "stop_sender", "suppress",
]  # fmt: skip


class Description(NamedTuple):
    """Two sentences for the tenant."""

    reason: str
    what_to_do: str


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of errors.json. `sync` ones come on create, `async` ones hours later on the status callback, some either way."""

    code: int | None
    error_class: ErrorClass
    action: Action
    where: Literal["sync", "async", "both"]
    reason: str
    what_to_do: str


def fault(code: int | None) -> Fault:
    """The row of a code; one we do not know is of class `unknown`: recorded, alerted, not repeated by itself."""
    return _faults().get(code or 0) or _unknown(code)


def describe(code: int | None) -> Description:
    """What happened and what the tenant can do about it; `message.error` of the HTTP contract."""
    row = fault(code)
    return Description(row.reason, row.what_to_do)


def _unknown(code: int | None) -> Fault:
    if code is None:
        return Fault(None, "unknown", "alert", "both", "Twilio gave no reason.", "Ask Twilio about this message by its Sid.")
    page = f"Look it up at https://www.twilio.com/docs/api/errors/{code}."
    return Fault(code, "unknown", "alert", "both", f"Twilio reported error {code}, which is not known here.", page)


@cache
def _faults() -> dict[int, Fault]:
    rows = json.loads((Path(__file__).parent / "errors.json").read_text("utf-8"))
    return {
        int(code): Fault(int(code), row["class"], row["action"], row["where"], row["reason"], row["what_to_do"])
        for code, row in rows.items()
    }

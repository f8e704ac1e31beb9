"""What a call came to: drawn by the seed where its script does not say, never round, and the same in report and `GET /call/{id}`."""

from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import msgspec

from sandbox.clock import now
from sandbox.vapi.bodies import end_of_call_report
from sandbox.vapi.scripts import Script

_TOLD = ("startedAt", "endedAt", "endedReason", "cost", "costBreakdown", "costs", "analysis")
_OF_A_START = ("startedAt", "cost", "costBreakdown", "costs", "durationMs", "durationSeconds", "durationMinutes")


class Figures(msgspec.Struct, frozen=True):
    """Seconds to the millisecond, USD to the hundredth of a cent, and the moment of the end."""

    seconds: Decimal
    cost: Decimal
    ended_at: datetime

    @classmethod
    def drawn(cls, script: Script, rng: Random) -> "Figures":
        """The figures of a call that ends now."""
        thousandths = rng.randrange(9_000, 540_000) // 10 * 10 + rng.randrange(1, 10)
        seconds = Decimal(thousandths) / 1000 if script.seconds is None else Decimal(str(round(script.seconds, 3)))
        platform = round(seconds / 60 * Decimal("0.05"), 4)
        cost = platform + Decimal(rng.randrange(101, 4_000)) / 10_000 if script.cost is None else Decimal(str(script.cost))
        ended = now()
        return cls(seconds, cost, ended.replace(microsecond=ended.microsecond // 1000 * 1000))

    @property
    def started_at(self) -> datetime:
        """When somebody took the call."""
        return self.ended_at - timedelta(seconds=float(self.seconds))

    def report(self, script: Script, call_id: str, assistant_id: str | None, customer_number: str) -> dict[str, Any]:
        """The report's body."""
        body = end_of_call_report(
            call_id,
            assistant_id,
            seconds=float(self.seconds),
            cost=float(self.cost),
            ended_at=self.ended_at,
            customer_number=customer_number,
        )
        message = body["message"]
        message["endedReason"] = script.ended_reason
        if not script.connected:
            for name in _OF_A_START:
                del message[name]
        return body


def as_told(report: dict[str, Any]) -> dict[str, Any]:
    """What `GET /call/{id}` tells of a call that has ended, with the figures of its report."""
    message = report["message"]
    return {"status": "ended", **{name: message[name] for name in _TOLD if name in message}}

"""How long a text is good for, how often it is tried, and when it is sent again after a failure that Twilio reports later. No I/O.

Numbers by class of error and of message; the reasons stand in docs/decisions/0032-sending-again.md.
"""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from messaging.day_counts import PACIFIC
from messaging.faults import Action, ErrorClass, fault
from messaging.outcomes import Deferred, Refused
from messaging.pacer import DayCap

LIFETIME_SECONDS = {"otp": 600, "transactional": 172_800, "marketing": 172_800}  # from when it was due; two days outlast a hold of one

# tries in a row that are answered "not sent, ask again"; a hold counts as none of them
TRIES: dict[ErrorClass, int] = {"not_sent": 100, "rate_signal": 20, "backpressure": 20}
OTHER_TRIES = 8
HOLDS: frozenset[Action] = frozenset({"open_circuit", "pause_sender", "hold_1h", "hold_24h", "hold_until_day_reset"})
TOO_MANY_AT_ONCE = 20429  # says nothing about the text

EXPIRED = Refused(
    0,
    "expired",
    "expire",
    "It waited longer than it is good for, so it was not sent.",
    "Send it again if it still matters; for a one-time code make a new one.",
)
Ended = Literal["exhausted", "expired"]
Draw = Callable[[float, float], float]

CODES = frozenset({"otp", "transactional", "marketing"})
NOTICES = frozenset({"transactional"})
NO_CODES = frozenset({"transactional", "marketing"})
MINUTE, HOUR = 60.0, 3600.0


class Again(NamedTuple):
    """A rule: how often, for which classes of message, after how many seconds; each further time the longest is `growth` times longer."""

    tries: int
    classes: frozenset[str]
    shortest: float
    longest: float
    growth: float = 1.0
    after_midnight: bool = False  # the seconds count from the end of the carriers' day


AGAIN: dict[Action, Again] = {
    "slow_down": Again(3, CODES, 5.0, 30.0, growth=4.0),
    "requeue_delayed": Again(3, CODES, 15.0, MINUTE, growth=4.0),
    "retry_once": Again(1, NOTICES, 15 * MINUTE, HOUR),
    "retry_delayed": Again(1, NOTICES, HOUR, 4 * HOUR),
    "retry_after_provisioning": Again(3, NOTICES, HOUR, 1.25 * HOUR),
    "reschedule": Again(3, NOTICES, 3 * HOUR, 5 * HOUR),
    "hold_until_day_reset": Again(2, NO_CODES, 0.0, 5 * MINUTE, after_midnight=True),
}


def is_past(expires_at: datetime | None, now: datetime) -> bool:
    """Whether a text has waited longer than it is good for."""
    return expires_at is not None and expires_at <= now


def over(outcome: Deferred, attempt: int, seconds: float, now: datetime, expires_at: datetime | None) -> Ended | None:
    """Whether a text that was not sent at this attempt ends here, and why; `seconds` is when it would be tried next."""
    if is_past(expires_at, now + timedelta(seconds=seconds)):
        return "expired"
    missed = outcome.code is None and outcome.retry_after == 0.0  # its slot passed: Twilio was not asked
    if missed or outcome.action in HOLDS or outcome.code == TOO_MANY_AT_ONCE:
        return None
    return "exhausted" if attempt >= TRIES.get(outcome.error_class, OTHER_TRIES) else None


def again(
    code: int, message_class: str, retries: int, now: datetime, expires_at: datetime | None, draw: Draw = random.uniform
) -> datetime | None:
    """When a text that Twilio took and then failed with this code is sent once more; None: never, or not within its life.

    `retries`: how often it was sent again before. A text without `expires_at` was accepted by an older release: never.
    """
    rule = AGAIN.get(fault(code).action)
    if rule is None or message_class not in rule.classes or retries >= rule.tries:
        return None
    pause = timedelta(seconds=draw(rule.shortest, rule.longest * rule.growth**retries))
    due = (DayCap.on("", 1, PACIFIC, now).resets_at.astimezone(now.tzinfo) if rule.after_midnight else now) + pause
    return due if expires_at is not None and due < expires_at else None

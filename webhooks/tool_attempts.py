"""One attempt at a tool: what its answer means, whether another one follows, and when; pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime

from webhooks.tool_answer import Reply, ToolOutcome, done, doubtful, not_reached, refused

NOT_YET = (408, 425, 429)  # the endpoint says that it did not take the request (RFC 9110, 8470, 6585)
IN_FLIGHT = 409  # IETF draft "Idempotency-Key": another request with this key is being worked on
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 2.0  # seconds
MOST_ATTEMPTS = 6
LEAST_SECONDS = 0.1  # what an attempt needs to be worth making


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one attempt ended. `again`: another one may end otherwise; `retry_after`: seconds the endpoint asks to wait."""

    outcome: ToolOutcome
    again: bool = False
    retry_after: float | None = None


def judged(reply: Reply, retry_after: float | None, tool: str, tool_call_id: str | None, *, in_doubt: bool) -> Attempt:
    """What an answer means; `in_doubt`: an earlier attempt may have been acted on."""
    if 200 <= reply.status < 300:  # noqa: PLR2004  success
        return Attempt(done(reply, tool, tool_call_id))
    if reply.status in NOT_YET:
        return Attempt(not_reached(tool, reply.status), again=True, retry_after=retry_after)
    if reply.status == IN_FLIGHT and in_doubt:
        return Attempt(doubtful(reply.status), again=True, retry_after=retry_after)
    if 400 <= reply.status < 500:  # noqa: PLR2004  the request is wrong
        return Attempt(refused(reply, tool, tool_call_id))
    return Attempt(doubtful(reply.status), again=reply.status >= 500, retry_after=retry_after)  # noqa: PLR2004  the server failed


def settled(outcome: ToolOutcome, attempts: int, *, in_doubt: bool) -> ToolOutcome:
    """What a run says after an attempt: that nothing was done only if none of its attempts may have been acted on."""
    kept = doubtful(outcome.status) if in_doubt and outcome.kind == "not_reached" else outcome
    return ToolOutcome(kept.kind, kept.text, kept.status, attempts, kept.reply)


def may_follow(attempt: Attempt, number: int, *, in_doubt: bool, repeatable: bool) -> bool:
    """Whether another attempt may be made: one that is in doubt only where the endpoint knows its key again."""
    return attempt.again and number < MOST_ATTEMPTS and (repeatable or not in_doubt)


def pause_after(attempt: Attempt, number: int, jitter: Callable[[float, float], float]) -> float:
    """Seconds before the next attempt: full jitter over a doubling range, and never before the endpoint wants it."""
    pause = jitter(0.0, min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (number - 1)))
    return max(pause, attempt.retry_after or 0.0)


def healthy(outcome: ToolOutcome) -> bool | None:
    """What the breaker learns: any answer below 500 is health, and no attempt is no news."""
    if not outcome.attempts:
        return None
    return outcome.status is not None and outcome.status < 500  # noqa: PLR2004  server errors


def retry_after_of(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds until the moment in Retry-After: a number of them or a date (RFC 9110, 10.2.3); None if it does not read."""
    given = headers.get("Retry-After", "").strip()
    if given.isascii() and given.isdigit():
        return float(given[:9])
    try:
        return max(0.0, (parsedate_to_datetime(given) - now).total_seconds())
    except (ValueError, TypeError, OverflowError):  # no date, or one without its offset
        return None

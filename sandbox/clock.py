"""The sandbox's own clocks; it imports no room, so not theirs either."""

import time
from datetime import UTC, datetime


def now() -> datetime:
    """The wall clock, aware, UTC."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Seconds of the machine's monotonic clock: on Linux the same one in every process, so arrivals compare with a client's own times."""
    return time.monotonic()


def iso(moment: datetime) -> str:
    """As Vapi writes times: RFC 3339 with milliseconds and `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"

"""When a message was made, by its own word: `timestamp` is milliseconds in most deliveries and ISO text in some."""

from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import Raw, UnsetType

from webhooks.envelope import decoded

BELIEVED = timedelta(days=1)  # a retry comes within minutes; anything farther off is a wrong clock or a made-up body


def moment_of(raw: Raw | UnsetType, now: datetime) -> datetime | None:
    """The instant, if there is one that can be read and is within a day of ours."""
    value = decoded(raw)
    try:
        if isinstance(value, str):
            found = msgspec.convert(value, datetime)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found = datetime.fromtimestamp(value / 1000, UTC)
        else:
            return None
        return found if found.tzinfo is not None and abs(found - now) <= BELIEVED else None
    except (msgspec.ValidationError, ValueError, OverflowError, OSError):
        return None

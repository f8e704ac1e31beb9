"""A registration's segments of the day, counted beside the pacer's slots; the carriers' day ends at midnight in Los Angeles.

T-Mobile caps the day of a brand, but the carrier of a number cannot be read from it: the count is shown and does not refuse.
"""

from uuid import UUID
from zoneinfo import ZoneInfo

from messaging.pacer import DayCap

PACIFIC = ZoneInfo("America/Los_Angeles")
COUNTED_ONLY = 10**9


def day_count(registration_id: UUID) -> DayCap:
    """The present day's counter of a registration."""
    return DayCap.on(str(registration_id), COUNTED_ONLY, PACIFIC)

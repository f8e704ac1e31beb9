"""What is counted. A meter counts in its finest unit (seconds, segments); rounding is rating's."""

from types import MappingProxyType
from typing import Final

METERS: Final = MappingProxyType(  # by name, in the order in which usage and invoices list them
    {
        "calls": "calls",
        "call_seconds": "s",
        "sms_segments_out": "segments",
        "sms_segments_in": "segments",
        "tool_calls": "calls",
        "vapi_cost_usd": "USD",
        "sms_cost_usd": "USD",
    }
)
_PLACES = {meter: place for place, meter in enumerate(METERS)}


def unit_of(meter: str) -> str:
    """The unit of a meter; `units` for one that a newer release recorded before it was rolled back."""
    return METERS.get(meter, "units")


def place_of(meter: str) -> tuple[int, str]:
    """Where a meter stands in a list, as a sort key."""
    return _PLACES.get(meter, len(_PLACES)), meter

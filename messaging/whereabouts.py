"""Where the owner of a number probably is: the state and the time zones that it was given out in. A mobile may be anywhere."""

import json
from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import phonenumbers
from phonenumbers import timezone
from phonenumbers.tzdata import TIMEZONE_DATA

STATES: dict[str, list[int]] = json.loads((Path(__file__).parent / "area_codes.json").read_text("utf-8"))["states"]
_STATE_OF_AREA = {str(area): state for state, areas in STATES.items() for area in areas}
_AREA_DIGITS, _EXCHANGE_DIGITS = 3, 6
_NATIONAL_DIGITS = 10


def _zones_by_area() -> Mapping[str, frozenset[str]]:
    """Every zone that a part of a North American area code lies in."""
    found: dict[str, set[str]] = defaultdict(set)
    for prefix, names in TIMEZONE_DATA.items():
        if prefix.startswith("1") and len(prefix) > _AREA_DIGITS:
            found[prefix[1 : 1 + _AREA_DIGITS]].update(names)
    return {area: frozenset(names) for area, names in found.items()}


_ZONES_OF_AREA = _zones_by_area()


def state_of(e164: str) -> str | None:
    """The US state of a number by its area code (`DC` too); None for every other number."""
    return _STATE_OF_AREA.get(e164[2:5]) if e164.startswith("+1") else None


def zones_of(e164: str) -> tuple[ZoneInfo, ...]:
    """The zones that a number may be in; none where it says nothing, as of toll-free numbers.

    An exchange in an area with several zones that is not listed by itself may be in any of them: the library would guess one.
    """
    north_american = e164.startswith("+1") and len(e164) == len("+1") + _NATIONAL_DIGITS
    return _north_american(e164[2 : 2 + _EXCHANGE_DIGITS]) if north_american else _elsewhere(e164)


@lru_cache(maxsize=65_536)
def _north_american(exchange: str) -> tuple[ZoneInfo, ...]:
    for digits in (6, 5, 4):  # the area alone is no answer while other exchanges of it are elsewhere
        if names := TIMEZONE_DATA.get("1" + exchange[:digits]):
            return _known(names)
    area = exchange[:_AREA_DIGITS]
    return _known(_ZONES_OF_AREA.get(area) or _zones_of_state(_STATE_OF_AREA.get(area)))


def _zones_of_state(state: str | None) -> frozenset[str]:
    """Where the rest of its state is, for an area code that is younger than the library."""
    areas = STATES.get(state, ()) if state else ()
    return frozenset().union(*(_ZONES_OF_AREA.get(str(area), frozenset()) for area in areas))


def zones_of_state(state: str) -> tuple[ZoneInfo, ...]:
    """Every zone that a part of a state lies in."""
    return _known(_zones_of_state(state))


@lru_cache(maxsize=4_096)
def _elsewhere(e164: str) -> tuple[ZoneInfo, ...]:
    return _known(timezone.time_zones_for_number(phonenumbers.parse(e164, None)))


@lru_cache(maxsize=1_024)
def _zone(name: str) -> ZoneInfo | None:
    try:
        return None if name == timezone.UNKNOWN_TIMEZONE else ZoneInfo(name)
    except ZoneInfoNotFoundError:
        return None


def _known(names: tuple[str, ...] | frozenset[str]) -> tuple[ZoneInfo, ...]:
    return tuple(zone for name in sorted(names) if (zone := _zone(name)) is not None)

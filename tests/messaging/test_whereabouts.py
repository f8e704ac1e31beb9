import json
import subprocess
import sys
from pathlib import Path

import pytest

from messaging import whereabouts
from messaging.whereabouts import state_of, zones_of

AREA_CODES = Path(whereabouts.__file__).parent / "area_codes.json"


@pytest.mark.parametrize(
    ("e164", "state", "zones"),
    [
        ("+12125550101", "NY", {"America/New_York"}),
        ("+12025550101", "DC", {"America/New_York"}),
        ("+16025550101", "AZ", {"America/Phoenix"}),
        ("+18504340101", "FL", {"America/Chicago"}),  # an exchange of Pensacola
        ("+18505550101", "FL", {"America/New_York", "America/Chicago"}),  # one that is not listed
        ("+12705550101", "KY", {"America/New_York", "America/Chicago"}),
        ("+14235550101", "TN", {"America/New_York", "America/Chicago"}),
        ("+12085550101", "ID", {"America/Boise", "America/Los_Angeles"}),
        ("+14575550101", "LA", {"America/Chicago"}),  # younger than the library: as the rest of its state
        ("+14165550101", None, {"America/Toronto"}),
        ("+17875550101", None, {"America/Puerto_Rico"}),
        ("+18335550101", None, set()),
        ("+15005550006", None, set()),
        ("+493012345678", None, {"Europe/Berlin"}),
        ("+87012345678", None, set()),
    ],
)
def test_where_a_number_is(e164: str, state: str | None, zones: set[str]) -> None:
    assert state_of(e164) == state
    assert {zone.key for zone in zones_of(e164)} == zones


# What the library's own places say of each area code; in a process of its own, since they take 100 MB.
PLACES = """
import json, re
from phonenumbers.geodata import GEOCODE_DATA
found = {}
for prefix, names in GEOCODE_DATA.items():
    place = re.fullmatch(r"(?:.*, )?([A-Z]{2})", names.get("en", ""))
    if prefix.startswith("1") and len(prefix) > 4 and place:
        found.setdefault(prefix[1:4], set()).add(place[1])
print(json.dumps({area: sorted(states) for area, states in found.items()}))
"""


def test_the_area_codes_agree_with_the_places_of_the_library() -> None:
    told = subprocess.run([sys.executable, "-c", PLACES], capture_output=True, text=True, check=True).stdout  # noqa: S603  our own interpreter
    listed = json.loads(AREA_CODES.read_text("utf-8"))
    ours = {str(area): state for state, areas in listed["states"].items() for area in areas}
    outside = {str(area) for areas in listed["regions"].values() for area in areas}
    places = {area: states for area, states in json.loads(told).items() if area not in outside}
    assert len(places) > 200
    for area, states in places.items():
        assert ours.get(area) in states, f"area code {area}: update area_codes.json"


def test_no_area_code_stands_twice() -> None:
    listed = json.loads(AREA_CODES.read_text("utf-8"))
    areas = [area for part in ("regions", "states") for each in listed[part].values() for area in each]
    assert len(areas) == len(set(areas))


def test_the_places_are_never_loaded() -> None:
    program = "import sys, messaging.whereabouts; print(any('geocod' in name or 'geodata' in name for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "False"  # noqa: S603  our own interpreter

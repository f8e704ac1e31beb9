"""A span of hours and minutes from now: "in an hour and a half", "20 minutes from now"."""

import re
from datetime import timedelta

HOURS = r"(?P<hours>\d{1,4}(?:\.\d{1,2})?|an?)(?P<hours_half> and a half)? (?:hours?|hrs?)(?P<half_hour> and a half| and a quarter)?"
MINUTES = r"(?P<minutes>\d{1,5}|an?) (?:minutes?|mins?)"
SHORT = r"(?P<short>half an hour|half hour|a half hour|a quarter of an hour|quarter of an hour|3 quarters of an hour)"
SPAN = rf"(?:{SHORT}|{HOURS}(?:(?: and)? {MINUTES})?|(?P<only>{MINUTES.replace('minutes>', 'alone>')}))"
PHRASE = re.compile(
    rf"(?:in|within) (?:about )?{SPAN}(?: time)?(?: from now)?|(?:about )?{SPAN.replace('?P<', '?P<x_')} (?:from now|later)"
)


def span(text: str) -> timedelta | None:
    """The span, if the whole phrase is one."""
    found = PHRASE.fullmatch(text)
    if found is None:
        return None
    said = {name.removeprefix("x_"): value for name, value in found.groupdict().items() if value is not None}
    if "short" in said:
        return timedelta(minutes=45 if said["short"][0] == "3" else 15 if "quarter" in said["short"] else 30)
    hours = amount(said.get("hours", "0")) + (0.5 if "hours_half" in said else 0)
    hours += {" and a half": 0.5, " and a quarter": 0.25}.get(said.get("half_hour", ""), 0)
    return timedelta(hours=hours, minutes=amount(said.get("minutes") or said.get("alone") or "0"))


def amount(word: str) -> float:
    """A number, or one."""
    return 1.0 if word in ("a", "an") else float(word)

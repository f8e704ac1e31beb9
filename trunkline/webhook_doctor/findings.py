"""What the doctor says of a delivery: sentences made of names and lengths."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One credential, or the delivery as a whole: what was expected, what arrived, and what to change; `holds` lets the delivery in."""

    about: str
    expected: str
    arrived: str
    what_to_do: str = ""
    holds: bool = False


def length(value: str) -> str:
    """A value's length, for people."""
    return "empty" if not value else f"{len(value)} characters"

"""Where a caller can be put through to: a phone number, a SIP address, or an assistant of the same squad. Pure, no I/O."""

import re
from typing import Any, Literal

import msgspec

from runtime.refusals import Invalid

PHONE_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")  # E.164
EXTENSION = re.compile(r"[0-9*#,;wp]{1,20}")
SIP_URI = re.compile(r"sips?:[^\s\x00-\x1f]{1,250}")
NAMED = {"number": "number", "sip": "sip_uri", "assistant": "assistant_name"}
BELONGS = {"extension": "number", "caller_id": "number"}


class Destination(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """`number` with its `extension` and `caller_id`, or `sip_uri`, or `assistant_name`, as `type` says."""

    type: Literal["number", "sip", "assistant"]
    number: str | None = None
    extension: str | None = None
    caller_id: str | None = None
    sip_uri: str | None = None
    assistant_name: str | None = None


class StoredDestination(Destination, frozen=True, omit_defaults=True, forbid_unknown_fields=False):
    """As it stands in a row: a later release may have written more."""


def check(destination: Destination, pointer: str = "/destination", *, assistants: bool = True) -> None:
    """Refuse what leads nowhere; an assistant's name means something only within a call that has begun.

    Raises:
        Invalid: a field is missing, wrong, or does not belong to this type.
    """
    given = {name for name in Destination.__struct_fields__ if name != "type" and getattr(destination, name) is not None}
    needed = NAMED[destination.type]
    if destination.type == "assistant" and not assistants:
        raise Invalid.at(f"{pointer}/type", "Name the assistant itself instead of a destination.")
    if needed not in given:
        raise Invalid.at(f"{pointer}/{needed}", f"A destination of type {destination.type} needs {needed}.")
    for name in sorted(given - {needed}):
        if BELONGS.get(name) != destination.type:
            raise Invalid.at(f"{pointer}/{name}", f"A destination of type {destination.type} has no {name}.")
    for name, pattern, words in FORMS:
        value = getattr(destination, name)
        if value is not None and not pattern.fullmatch(value):
            raise Invalid.at(f"{pointer}/{name}", words)


FORMS = (
    ("number", PHONE_NUMBER, "A phone number is written like +12135550123."),
    ("caller_id", PHONE_NUMBER, "A phone number is written like +12135550123."),
    ("extension", EXTENSION, "An extension has 1 to 20 of the characters a phone can dial."),
    ("sip_uri", SIP_URI, "A SIP address is written like sip:desk@example.com."),
    ("assistant_name", re.compile(r"[^\x00-\x1f]{1,80}"), "An assistant's name has 1 to 80 characters."),
)


def as_vapi(destination: Destination, message: str | None = None) -> dict[str, Any]:
    """The destination as Vapi takes it; `message` is spoken before the caller is put through."""
    names = {"caller_id": "callerId", "sip_uri": "sipUri", "assistant_name": "assistantName"}
    fields = {name: getattr(destination, name) for name in Destination.__struct_fields__}
    told = {names.get(name, name): value for name, value in fields.items() if value is not None}
    return told if message is None else {**told, "message": message}

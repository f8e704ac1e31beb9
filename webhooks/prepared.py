"""What a tool call will do, decided before the database is asked."""

from datetime import datetime
from typing import Any, Literal

import msgspec

from messaging.acceptance import AcceptedText, BadText


class Said(msgspec.Struct, frozen=True):
    """A sentence for the caller: a result, or an error."""

    result: str | None = None
    error: str | None = None


class Act(msgspec.Struct, frozen=True):
    """Something done to what is there already, for one person; `says` has a sentence for each thing that can happen (app.act_v1)."""

    kind: Literal["cancel_sms", "opt_out"]
    recipient: str
    says: dict[str, Said]


class Prepared(msgspec.Struct, frozen=True):
    """What a tool call will do. `final` answers are stored; the others are not, so that a retry runs.

    `refusal` is why the tenant's policy for texts refused one (messaging/text_policy.py).
    """

    result: str | None = None
    error: str | None = None
    text: AcceptedText | None = None
    act: Act | None = None
    final: bool = True
    refusal: str | None = None


class Speaking(msgspec.Struct, frozen=True):
    """The conversation that a tool is called from: who is on the phone, in which call, and when it was said."""

    caller: str | None
    call_id: str | None
    moment: datetime


def text_argument(given: dict[str, Any], name: str, default: str | None) -> str:
    """An argument that is text.

    Raises:
        BadText: it is missing, or something else.
    """
    value = given.get(name)
    if value is None or value == "":
        value = default if value is None or default else value
    if value is None:
        missing = "There is no number to text: say whom to text." if name == "to" else f"The argument {name} is missing."
        raise BadText(f"/{name}", missing)
    if not isinstance(value, str):
        raise BadText(f"/{name}", f"The argument {name} should be text.")
    return value

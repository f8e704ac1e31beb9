"""What an endpoint of the tenant's own may answer in Vapi's stead, by type, and what is said where it answers nothing of the kind. Pure.

Shapes: the vendor's OpenAPI, ServerMessageResponse*. An answer that does not have one is none: half of it would be worse than ours.
"""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from tenants.destinations import PHONE_NUMBER, SIP_URI
from tenants.snapshot import Snapshot
from webhooks.answers import one_line
from webhooks.envelope import UNREADABLE

KNOWLEDGE, ENDPOINTING, PREDIAL = "knowledge-base-request", "call.endpointing.request", "campaign.predial"
HANDOFF, TRANSFER = "handoff-destination-request", "transfer-destination-request"
NO_HANDOFF = "This call cannot be handed over just now."
NO_TRANSFER = "Sorry, this call cannot be put through just now."
SAFE: Mapping[str, dict[str, Any]] = {
    KNOWLEDGE: {"documents": []},  # the model says what it knows without
    ENDPOINTING: {"timeoutSeconds": 1.0},  # nobody is cut off in the middle of a sentence
    PREDIAL: {"eligible": False},  # a call that is not placed can be placed later
    HANDOFF: {"error": NO_HANDOFF},
    TRANSFER: {"error": NO_TRANSFER},
}
LONGEST_ERROR = 500
NAMES: Mapping[str, type] = {"assistantId": str, "assistantName": str, "assistant": dict}  # how a destination says which assistant
SPOKEN = re.compile(r"\S")
Shape = TypeVar("Shape", bound=msgspec.Struct)


class Document(msgspec.Struct, omit_defaults=True):
    """What a knowledge base found."""

    content: Annotated[str, Meta(min_length=1, max_length=20_000)]
    similarity: Annotated[float, Meta(ge=0, le=1)]
    uuid: Annotated[str, Meta(max_length=100)] | None = None


class Documents(msgspec.Struct):
    """Documents for the model to answer from."""

    documents: Annotated[list[Document], Meta(max_length=50)]


class Words(msgspec.Struct):
    """What the assistant says."""

    role: Literal["assistant"]
    content: Annotated[str, Meta(min_length=1, max_length=20_000)]


class Message(msgspec.Struct):
    """An answer instead of documents."""

    message: Words


class Timeout(msgspec.Struct, rename="camel"):
    """How long to wait for more words."""

    timeout_seconds: Annotated[float, Meta(ge=0, le=15)]


class Eligible(msgspec.Struct):
    """Whether the call is placed."""

    eligible: bool


def checked(kind: str, text: str, tenant: Snapshot) -> dict[str, Any] | None:
    """The answer as Vapi takes it, without what it does not know; None where it is none."""
    try:
        value = msgspec.json.decode(text)
        return SHAPES[kind](value, tenant) if isinstance(value, dict) else None
    except UNREADABLE:
        return None


def knowledge(value: dict[str, Any], _tenant: Snapshot) -> dict[str, Any]:
    """Documents, or words."""
    return shaped(value, Message) if value.get("message") is not None else shaped(value, Documents)


def endpointing(value: dict[str, Any], _tenant: Snapshot) -> dict[str, Any]:
    """0 to 15 seconds."""
    return shaped(value, Timeout)


def predial(value: dict[str, Any], _tenant: Snapshot) -> dict[str, Any]:
    """True or false, and nothing that merely looks like it."""
    return shaped(value, Eligible)


def handoff(value: dict[str, Any], tenant: Snapshot) -> dict[str, Any] | None:
    """Another assistant of this tenant, or an error."""
    return spoken_error(value) or towards(value, tenant, ("assistant",), ("assistantId", "assistantName", "assistant"), "result", str)


def transfer(value: dict[str, Any], tenant: Snapshot) -> dict[str, Any] | None:
    """A number, a SIP address, an assistant of the squad, or an error."""
    return spoken_error(value) or towards(value, tenant, ("number", "sip", "assistant"), ("assistantName",), "message", dict)


def spoken_error(value: dict[str, Any]) -> dict[str, Any] | None:
    """An error in words that can be spoken."""
    error = value.get("error")
    return {"error": one_line(error)[:LONGEST_ERROR]} if isinstance(error, str) and SPOKEN.search(error) else None


def towards(
    value: dict[str, Any], tenant: Snapshot, kinds: tuple[str, ...], names: tuple[str, ...], beside: str, of: type
) -> dict[str, Any] | None:
    """A destination with what else Vapi takes in it, and the one field beside it."""
    given = value.get("destination")
    if not isinstance(given, dict) or given.get("type") not in kinds:
        return None
    found = {name: each for name, each in given.items() if each or name not in NAMES}  # null beside another name says nothing
    if not well_named(found) or not leads(found, names):
        return None
    if "assistantId" in found and found["assistantId"] not in tenant.assistants:
        return None  # tenants may share an account at Vapi: another's assistant is none of this tenant's
    more = value.get(beside)
    if not isinstance(more, of):
        return {"destination": found}
    return {"destination": found, beside: one_line(more) if isinstance(more, str) else more}


def leads(destination: dict[str, Any], names: tuple[str, ...]) -> bool:
    """Whether it says where to."""
    match destination["type"]:
        case "number":
            return matches(PHONE_NUMBER, destination.get("number"))
        case "sip":
            return matches(SIP_URI, destination.get("sipUri"))
        case _:
            return sum(name in destination for name in names) == 1


def well_named(destination: dict[str, Any]) -> bool:
    """Whether an assistant is named by texts, or is an object."""
    return all(isinstance(destination[name], of) for name, of in NAMES.items() if name in destination)


def matches(pattern: "re.Pattern[str]", value: object) -> bool:
    """Whether it is a text of this form."""
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def shaped(value: dict[str, Any], shape: type[Shape]) -> dict[str, Any]:
    """The fields of a shape.

    Raises:
        msgspec.ValidationError: it does not have it.
    """
    made: dict[str, Any] = msgspec.to_builtins(msgspec.convert(value, shape))
    return made


SHAPES: Mapping[str, Callable[[dict[str, Any], Snapshot], dict[str, Any] | None]] = {
    KNOWLEDGE: knowledge,
    ENDPOINTING: endpointing,
    PREDIAL: predial,
    HANDOFF: handoff,
    TRANSFER: transfer,
}

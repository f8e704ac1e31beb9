"""Reading a Vapi server message: only the fields that are needed, tolerant in what it takes.

A body carries the whole prompt and history of a call (50 kB for one small tool call), so everything that is not read stays
undecoded (`msgspec.Raw`). Shapes: docs.vapi.ai, server events; what real deliveries hold differs, hence the tolerance: a field
of another form than expected is as good as absent, and takes nothing else with it.
"""

from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Raw, UnsetType
from typing_extensions import TypeIs

from runtime.refusals import Invalid
from webhooks.mending import mended

LONGEST_ID = 256
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # what msgspec raises for bytes that are no JSON
NULL = memoryview(b"null")
SPELLINGS = {"tool_calls": "tool-calls"}  # as third parties write it
Shape = TypeVar("Shape")


class Customer(msgspec.Struct):
    """The person on the phone."""

    number: str | None = None


class CallReference(msgspec.Struct):
    """What is read of `message.call`, a snapshot from before the call: its ids and its other party, never its state."""

    id: str | None = None
    assistant_id: str | None = msgspec.field(default=None, name="assistantId")
    customer: Customer | None = None


class Parts(msgspec.Struct):
    """What only some types need, still undecoded."""

    timestamp: Raw | UnsetType = UNSET
    tool_call_list: Raw | UnsetType = msgspec.field(default=UNSET, name="toolCallList")
    tool_calls: Raw | UnsetType = msgspec.field(default=UNSET, name="toolCalls")
    tool_with_tool_call_list: Raw | UnsetType = msgspec.field(default=UNSET, name="toolWithToolCallList")
    function_call: Raw | UnsetType = msgspec.field(default=UNSET, name="functionCall")
    chat: Raw | UnsetType = UNSET
    session: Raw | UnsetType = UNSET


class Message(Parts):
    """The message as nearly all are, read in one go."""

    type: str | None = None
    call: CallReference | None = None
    customer: Customer | None = None


class Envelope(msgspec.Struct):
    """The body: `{"message": {…}}`."""

    message: Message


class LooseMessage(Parts):
    """A message field by field, for those in which one of them has another form than expected."""

    type: Raw | UnsetType = UNSET
    call: Raw | UnsetType = UNSET
    customer: Raw | UnsetType = UNSET


class LooseEnvelope(msgspec.Struct):
    """The same body, read that way."""

    message: LooseMessage


class LooseCall(msgspec.Struct):
    """A call field by field."""

    id: Raw | UnsetType = UNSET
    assistant_id: Raw | UnsetType = msgspec.field(default=UNSET, name="assistantId")
    customer: Raw | UnsetType = UNSET


class Reference(msgspec.Struct):
    """What is read of `message.chat` and `message.session`."""

    id: Raw | UnsetType = UNSET


ANYTHING = msgspec.json.Decoder()
ENVELOPE = msgspec.json.Decoder(Envelope)
LOOSE_ENVELOPE = msgspec.json.Decoder(LooseEnvelope)
CALL = msgspec.json.Decoder(LooseCall)
REFERENCE = msgspec.json.Decoder(Reference)
CUSTOMER = msgspec.json.Decoder(Customer)
NO_CALL, NOBODY = CallReference(), Customer()


class Webhook(msgspec.Struct, frozen=True):
    """A decoded envelope; ids are opaque text, `body` is what was read (mended where it had to be)."""

    type: str
    call_id: str | None
    assistant_id: str | None
    caller: str | None
    message: Message
    body: bytes


def read(body: bytes) -> Webhook:
    """Decode a body.

    Raises:
        Invalid: not JSON, or not an envelope.
    """
    body, message = opened(body)
    call = message.call or NO_CALL
    kind = SPELLINGS.get(message.type, message.type) if message.type else implied_type(message)
    if kind is None:
        raise Invalid('The body is not a Vapi message: "message.type" is missing.')
    caller = (message.customer or NOBODY).number or (call.customer or NOBODY).number
    return Webhook(
        identifier("type", kind) or "",
        identifier("call.id", call.id),
        identifier("call.assistantId", call.assistant_id),
        caller or None,
        message,
        body,
    )


def opened(body: bytes) -> tuple[bytes, Message]:
    """The body's message, and the body: mended where it is JSON only for readers that are less strict.

    Raises:
        Invalid: not JSON, or not an envelope.
    """
    try:
        return body, ENVELOPE.decode(body).message
    except UNREADABLE:
        pass  # some field has another form, or it is no envelope at all
    try:
        return body, as_usual(reread(LOOSE_ENVELOPE, body).message)
    except Invalid:
        better = mended(body)
        if better is None:
            raise
        return better, as_usual(reread(LOOSE_ENVELOPE, better).message)


def as_usual(loose: LooseMessage) -> Message:
    """A message that was read field by field: what has another form than expected is as good as absent."""
    said = decoded(loose.type)
    call = part(CALL, loose.call) if present(loose.call) else None
    parts = {name: getattr(loose, name) for name in Parts.__struct_fields__}
    return Message(
        **parts,
        type=said if isinstance(said, str) else None,
        call=None if call is None else CallReference(text_in(call.id), text_in(call.assistant_id), Customer(number_in(call.customer))),
        customer=Customer(number_in(loose.customer)),
    )


def reread(decoder: "msgspec.json.Decoder[Shape]", body: bytes | Raw) -> Shape:
    """A body, or a part of one, in the shape that is asked for; what it does not hold is skipped.

    Raises:
        Invalid: not JSON, or not of that shape.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Invalid(f"The body is not a Vapi message: {error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid("The body is not JSON.") from error
    except RecursionError as error:
        raise Invalid("The body is nested too deeply.") from error


def part(decoder: "msgspec.json.Decoder[Shape]", raw: bytes | Raw) -> Shape | None:
    """A part in the shape that is asked for; None: it has another, or cannot be read."""
    try:
        return decoder.decode(raw)
    except UNREADABLE:
        return None


def present(raw: Raw | UnsetType) -> TypeIs[Raw]:
    """Whether a field is there and not null."""
    return not isinstance(raw, UnsetType) and memoryview(raw) != NULL


def implied_type(message: Message) -> str | None:
    """The specification does not require `type` of tool calls."""
    if any(present(raw) for raw in (message.tool_call_list, message.tool_calls, message.tool_with_tool_call_list)):
        return "tool-calls"
    return "function-call" if present(message.function_call) else None


def text_in(raw: Raw | UnsetType) -> str | None:
    """Text that is not empty, or a whole number as text, as some write their ids; anything else is none."""
    value = decoded(raw)
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def identifier(name: str, value: str | None) -> str | None:
    """An id as opaque text; an empty one is none.

    Raises:
        Invalid: longer than any id, or with a NUL, which no database text can hold.
    """
    if value is not None and (len(value) > LONGEST_ID or "\x00" in value):
        raise Invalid(f'The body is not a Vapi message: "message.{name}" is not an id.')
    return value or None


def number_in(raw: Raw | UnsetType) -> str | None:
    """The number of a customer object; anything else is nobody."""
    customer = None if isinstance(raw, UnsetType) else part(CUSTOMER, raw)
    return (customer and customer.number) or None


def id_in(raw: Raw | UnsetType) -> str | None:
    """The id of a chat or session; anything else has none."""
    reference = None if isinstance(raw, UnsetType) else part(REFERENCE, raw)
    return text_in(reference.id) if reference else None


def decoded(raw: Raw | UnsetType) -> Any:
    """A part as plain values; None when it is absent or cannot be read."""
    if isinstance(raw, UnsetType):
        return None
    try:
        return ANYTHING.decode(raw)
    except UNREADABLE:
        return None

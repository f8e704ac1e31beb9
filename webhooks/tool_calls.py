"""The tool calls of a webhook, in whichever of their shapes: one list is read, never two, and never the history.

The shapes that real deliveries, the vendor's documents and third parties show:

    A, F  {id, function: {name, arguments: {…}}}             C, D  {id, name, arguments | parameters: {…}}
    B     {id, function: {name, arguments: "{…}"}}           E     {name | function: {name}, toolCall: {id, …as A to D}}
    G     functionCall: {name, parameters}, of a type its own
    H     as A, of an assistant's hook: a constant id, and for arguments their JSON schema with a value in each property

Each field is read by itself: a call whose arguments cannot be read is answered so, and its neighbours are done.
"""

from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from runtime.refusals import Invalid
from webhooks.answers import CONFLICT
from webhooks.envelope import LONGEST_ID, Message, decoded, part, present, text_in
from webhooks.keys import CONSTANT_IDS
from webhooks.mending import mended

MOST_CALLS, MOST_ANSWERED = 64, 1_000
LONGEST_ARGUMENTS, MOST_ARGUMENTS = 100_000, 300_000  # bytes of one call, more than a model says in one turn, and of all together
TOO_MANY = "These are too many tool calls at once, so this one was not done. Make it again by itself."
TOO_LONG = "The arguments of this call are too long, so nothing was done."
NO_TOOL = "There is no tool of such a long name."
SCHEMA_WORDS = {"type", "properties", "required", "additionalProperties", "description", "title", "$schema"}


class ToolCall(msgspec.Struct, frozen=True):
    """One call: `arguments` is None when they cannot be read as an object; with a `fault` it is answered and not run."""

    id: str | None
    name: str
    arguments: dict[str, Any] | None
    fault: str | None = None


class Found(msgspec.Struct):
    """A call whose arguments are still undecoded."""

    id: str | None
    name: str
    given: Raw | UnsetType


class Item(msgspec.Struct, rename="camel"):
    """An entry of a list, and what stands in it under `function`, `tool` or `toolCall`: all with fields of these names, still undecoded."""

    id: Raw | UnsetType = UNSET
    name: Raw | UnsetType = UNSET
    function: Raw | UnsetType = UNSET
    arguments: Raw | UnsetType = UNSET
    parameters: Raw | UnsetType = UNSET
    tool: Raw | UnsetType = UNSET
    tool_call: Raw | UnsetType = UNSET


class UsualFunction(msgspec.Struct):
    """What nearly all calls have under `function`."""

    name: str
    arguments: Raw


class UsualCall(msgspec.Struct, rename="camel"):
    """A call as nearly all are (shapes A, B, F)."""

    id: str
    function: UsualFunction
    tool_call: Raw | UnsetType = UNSET


USUAL = msgspec.json.Decoder(list[UsualCall])
LIST = msgspec.json.Decoder(list[Raw])
ITEM = msgspec.json.Decoder(Item)
NOTHING = Item()


def tool_calls(message: Message) -> list[ToolCall]:
    """The calls in their order, each id once.

    Raises:
        Invalid: there is a list and none that can be read, or one without end: then nobody knows whom to answer.
    """
    found = read_all(usual(message.tool_call_list) or [found_in(item) for item in items(message)])
    once: dict[object, ToolCall] = {}
    for place, call in enumerate(found):
        known = once.setdefault(place if call.id is None or call.id in CONSTANT_IDS else call.id, call)
        if (known.name, known.arguments) != (call.name, call.arguments):
            once[place] = msgspec.structs.replace(call, fault=CONFLICT)
    calls = list(once.values())
    return calls[:MOST_CALLS] + [msgspec.structs.replace(call, fault=TOO_MANY) for call in calls[MOST_CALLS:]]


def function_calls(message: Message) -> list[ToolCall]:
    """The one call of a function-call message (shape G): `functionCall: {name, parameters, id?}`.

    Raises:
        Invalid: there is none that can be read: then nobody knows what was asked.
    """
    found = inner(message.function_call)
    if found is None:
        raise Invalid('The body is not a Vapi message: "message.functionCall" is not an object that can be read.')
    return read_all([plain(found)])


def usual(raw: Raw | UnsetType) -> list[Found] | None:
    """The calls of a list read in one go; None: one of them is of another shape, or too many are there."""
    listed = part(USUAL, raw) if present(raw) else None
    if listed is None or len(listed) > MOST_ANSWERED:
        return None
    for call in listed:
        if not call.id or not call.function.name or present(call.tool_call) or not present(call.function.arguments):
            return None
    return [Found(call.id, call.function.name, call.function.arguments) for call in listed]


def items(message: Message) -> list[Item]:
    """The calls of the first list that is one, undecoded; anything else in it is no call.

    Raises:
        Invalid: none of those that are there can be read, or it has more than may be answered.
    """
    unread = None
    for name, raw in (
        ("toolCallList", message.tool_call_list),
        ("toolCalls", message.tool_calls),
        ("toolWithToolCallList", message.tool_with_tool_call_list),
    ):
        if not present(raw):
            continue
        listed = part(LIST, raw)
        if listed is None:
            unread = unread or name
            continue
        if len(listed) > MOST_ANSWERED:
            raise Invalid(f'The body is not a Vapi message: "message.{name}" holds over {MOST_ANSWERED:,} tool calls.')
        objects = [item for item in (inner(each) for each in listed) if item is not None]
        return [item for item in objects if is_call(item)] if raw is message.tool_with_tool_call_list else objects
    if unread:
        raise Invalid(f'The body is not a Vapi message: "message.{unread}" is not a list that can be read.')
    return []


def is_call(item: Item) -> bool:
    """Whether a definition has a call with it: without one, its parameters are a schema and nobody called."""
    return inner(item.tool_call) is not None or present(item.arguments) or present((inner(item.function) or NOTHING).arguments)


def found_in(item: Item) -> Found:
    """The call of an item; with a definition beside it, it stands under `toolCall`."""
    call = inner(item.tool_call)
    if call is None:
        return plain(item)
    made = plain(call)
    return made if made.name else Found(made.id, name_in(item, inner(item.function) or NOTHING), made.given)


def plain(item: Item) -> Found:
    """A call with its name and arguments under `function`, under `tool`, or flat beside the id."""
    function = inner(item.function) or NOTHING
    places = (function.arguments, item.arguments, item.parameters, function.parameters)  # the last may be a schema beside arguments
    return Found(text_in(item.id), name_in(item, function), next((raw for raw in places if present(raw)), UNSET))


def name_in(item: Item, function: Item) -> str:
    """The name of the tool that an item and its function speak of; empty where there is none."""
    name = text_in(function.name) or text_in(item.name)
    if name is None and present(item.tool):
        tool = inner(item.tool) or NOTHING
        name = text_in(tool.name) or text_in((inner(tool.function) or NOTHING).name)
    return name or ""


def read_all(found: list[Found]) -> list[ToolCall]:
    """The calls with their arguments, as far as these are of a size that can be meant."""
    room, calls = MOST_ARGUMENTS, []
    for each in found:
        size = 0 if isinstance(each.given, UnsetType) else memoryview(each.given).nbytes
        if size > min(LONGEST_ARGUMENTS, room):
            calls.append(ToolCall(each.id, each.name, None, TOO_LONG))
        else:
            room -= size
            read = arguments_in(each.given)
            given = hook_values(read) if each.id in CONSTANT_IDS else read
            calls.append(ToolCall(each.id, each.name, given, NO_TOOL if len(each.name) > LONGEST_ID else None))
    return calls


def inner(raw: Raw | UnsetType) -> Item | None:
    """An object by its fields; None: there is none."""
    return part(ITEM, raw) if present(raw) else None


def arguments_in(raw: Raw | UnsetType) -> dict[str, Any] | None:
    """Arguments that stand in a body; nothing at all means no arguments, and what cannot be read is None."""
    if not present(raw):
        return {}
    value = decoded(raw)
    return None if value is None else arguments(value)


def arguments(value: object) -> dict[str, Any] | None:
    """Arguments as an object, also out of a JSON string; null means no arguments."""
    if isinstance(value, str):
        value = {} if value == "null" else inside(value)
        return value if isinstance(value, dict) else None
    return {} if value is None else value if isinstance(value, dict) else None


def inside(text: str) -> Any:
    """The value of a JSON text; None: it is no JSON."""
    body = text.encode()
    found = decoded(Raw(body))
    better = mended(body) if found is None else None
    return decoded(Raw(better)) if better is not None else found


def hook_values(given: dict[str, Any] | None) -> dict[str, Any] | None:
    """The arguments of a hook's call: the `value` of each property, where a schema of them stands in their place."""
    properties = given.get("properties") if given is not None else None
    if given is None or not isinstance(properties, dict) or not given.keys() <= SCHEMA_WORDS:
        return given
    return {name: of["value"] for name, of in properties.items() if isinstance(of, dict) and "value" in of}

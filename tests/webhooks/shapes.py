"""Deliveries as Vapi, its documents and third parties write them, in every shape, with what each must lead to.

`@@` stands for a word that only one delivery has; `rendered` puts it in.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("EXAMPLES", "40"))  # of each property; thousands for a long look
HOOK = "hook-function-call"
SCHEMA = {"type": "object", "properties": {"body": {"type": "string"}}, "required": ["body"]}
Fields = dict[str, Any]


@dataclass(frozen=True)
class Wish:
    """A tool call as the model meant it."""

    id: str
    name: str
    arguments: Fields


@dataclass(frozen=True)
class Delivery:
    """A body, the calls that its answer must be about in this order, and whether it is a function-call of old."""

    message: Fields
    wishes: tuple[Wish, ...]
    legacy: bool = False

    def rendered(self, word: str) -> bytes:
        """The body, with a word of its own in its ids and texts."""
        return json.dumps({"message": self.message}).replace("@@", word).encode()

    @property
    def texts(self) -> int:
        """How many texts it asks for."""
        return sum(wish.name == "send_sms" for wish in self.wishes)


def a(wish: Wish) -> Fields:
    return {"id": wish.id, "type": "function", "function": {"name": wish.name, "arguments": wish.arguments}}


def b(wish: Wish) -> Fields:
    return {"id": wish.id, "function": {"name": wish.name, "arguments": json.dumps(wish.arguments)}}


def c(wish: Wish) -> Fields:
    return {"id": wish.id, "name": wish.name, "arguments": wish.arguments}


def d(wish: Wish) -> Fields:
    return {"id": wish.id, "type": "function", "name": wish.name, "parameters": wish.arguments}


def under_tool(wish: Wish) -> Fields:
    return {"id": wish.id, "tool": {"name": wish.name}, "arguments": wish.arguments}


def e_named_beside(wish: Wish) -> Fields:
    return {"type": "function", "name": wish.name, "toolCall": {"id": wish.id, "type": "function", "parameters": wish.arguments}}


def e_named_by_definition(wish: Wish) -> Fields:
    return {"function": {"name": wish.name, "parameters": SCHEMA}, "toolCall": {"id": wish.id, "arguments": wish.arguments}}


def e_whole(wish: Wish) -> Fields:
    return {"function": {"name": "only_defined", "parameters": SCHEMA}, "server": {"url": "https://example.com/tool"}, "toolCall": a(wish)}


def e_parameters_in_function(wish: Wish) -> Fields:
    return {"toolCall": {"id": wish.id, "function": {"name": wish.name, "parameters": wish.arguments}}}


def e_defined_in_call(wish: Wish) -> Fields:
    return {"toolCall": {"id": wish.id, "function": {"name": wish.name, "parameters": SCHEMA}, "arguments": wish.arguments}}


def h(wish: Wish) -> Fields:
    properties = {name: {"type": "string", "value": value} for name, value in wish.arguments.items()}
    return {"id": HOOK, "type": "function", "function": {"name": wish.name, "arguments": {**SCHEMA, "properties": properties}}}


Writing = Callable[[Wish], Fields]
FLAT: list[Writing] = [a, b, c, d, under_tool]
DEFINED: list[Writing] = [e_named_beside, e_named_by_definition, e_whole, e_parameters_in_function, e_defined_in_call]
NO_LIST = st.sampled_from([None, {}, "call", 5, True])
TIMESTAMPS = st.sampled_from([1764753936983, 1.764753936983e12, "2024-07-01T12:00:00.000Z", None, "soon", [], {}])
CALLS = st.sampled_from([{"id": "call-@@", "status": "ringing", "cost": 0}, {"id": "call-@@", "assistantId": None}])
NO_CALLS = st.sampled_from([None, {}, {"id": None}, {"id": ""}, "call", 5, [], {"id": []}])
CUSTOMERS = st.sampled_from([{"number": "+12135550123"}, {"number": "+12135550123", "sipUri": "sip:+12135550123@203.0.113.29"}])


@st.composite
def wishes(draw: st.DrawFn) -> tuple[Wish, ...]:
    """Up to four calls, each text another one, some of them of a hook."""
    made = []
    for number in range(draw(st.integers(0, 4))):
        name = draw(st.sampled_from(["send_sms", "send_sms", "current_time", "book--table", "look_up"]))
        given = {"body": f"@@ text {number}"} if name == "send_sms" else draw(st.sampled_from([{}, {"when": f"{number} o'clock"}]))
        made.append(Wish(draw(st.sampled_from([f"call_@@{number}", f"toolu_@@{number}"])), name, given))
    return tuple(made)


@st.composite
def tool_calls(draw: st.DrawFn) -> Delivery:
    """A tool-calls message: the calls in the first list that is one, and something else in whatever list may not be read."""
    hooks = draw(st.integers(0, 5)) == 0
    meant = tuple(Wish(HOOK if hooks else wish.id, wish.name, wish.arguments) for wish in draw(wishes()))
    if hooks:  # a constant id tells them apart by what they ask for only
        meant = tuple({json.dumps([wish.name, wish.arguments]): wish for wish in meant}.values())
    fields = ["toolCallList", "toolCalls", "toolWithToolCallList"]
    place = draw(st.integers(0, 2))
    writing = st.just(h) if hooks else st.sampled_from(DEFINED if place == 2 else FLAT + DEFINED)
    items = [draw(writing)(wish) for wish in meant]
    if items and not hooks and draw(st.booleans()):  # the same call again, differently written: not done again
        again = draw(st.integers(0, len(meant) - 1))
        items.insert(draw(st.integers(again + 1, len(items))), draw(writing)(meant[again]))
    if draw(st.booleans()):
        items.insert(draw(st.integers(0, len(items))), draw(st.sampled_from([None, 5, "call", [], True])))
    message = {field: draw(NO_LIST) for field in fields[:place] if draw(st.booleans())}
    message[fields[place]] = items
    decoy = Wish("call_decoy", "send_sms", {"body": "@@ decoy"})
    message |= {
        field: draw(st.sampled_from([[a(decoy)], [e_whole(decoy)], None, 5])) for field in fields[place + 1 :] if draw(st.booleans())
    }
    kind = draw(st.sampled_from(["tool-calls", "tool-calls", "tool_calls", None, 5, ...]))
    return Delivery(surrounded(draw, message, kind, b(decoy)), meant)


@st.composite
def function_calls(draw: st.DrawFn) -> Delivery:
    """The tool call of old."""
    (meant,) = draw(wishes().filter(bool))[:1]
    given = draw(st.sampled_from([meant.arguments, json.dumps(meant.arguments)]))
    call = {"name": meant.name, draw(st.sampled_from(["parameters", "arguments"])): given}
    call |= draw(st.sampled_from([{}, {"id": meant.id}, {"id": None}]))
    kind = draw(st.sampled_from(["function-call", "function-call", None, ...]))
    return Delivery(surrounded(draw, {"functionCall": call}, kind, c(meant)), (meant,), legacy=True)


def surrounded(draw: st.DrawFn, message: Fields, kind: Any, past: Fields) -> Fields:
    """The message with what comes along: a history that is nobody's order, and common fields in whatever form they may have."""
    history = {"messages": [{"role": "tool_calls", "toolCalls": [past]}], "toolCallList": [past]}
    around = {"artifact": draw(st.sampled_from([history, None])), "nonce": "@@", "customer": draw(CUSTOMERS)}
    if kind is not ...:
        around["type"] = kind
    for field, values in {"timestamp": TIMESTAMPS, "call": draw(st.sampled_from([CALLS, CALLS, NO_CALLS]))}.items():
        if draw(st.integers(0, 3)):
            around[field] = draw(values)
    pairs = list({**around, **message}.items())
    return dict(draw(st.permutations(pairs)))


DELIVERIES = tool_calls() | tool_calls() | tool_calls() | function_calls()

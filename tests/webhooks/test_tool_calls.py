import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.refusals import Invalid
from tests.webhooks.shapes import DELIVERIES, Delivery
from webhooks import keys
from webhooks.envelope import read
from webhooks.tool_calls import LONGEST_ARGUMENTS, MOST_ANSWERED, NO_TOOL, TOO_LONG, ToolCall, tool_calls

SLOT = {"slot": "Thu 09:30"}
BOOK = ToolCall("call_1", "book", SLOT)
SCHEMA = {"type": "object", "properties": {"slot": {"type": "string"}}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "name", "function", "arguments", "toolCall"]), inner)
    ),
    max_leaves=12,
)


def calls_of(**message: Any) -> list[ToolCall]:
    return tool_calls(read(json.dumps({"message": {"type": "tool-calls", **message}}).encode()).message)


def item(tool_call_id: str = "call_1", name: str = "book", arguments: Any = None) -> dict[str, Any]:
    return {"id": tool_call_id, "type": "function", "function": {"name": name, "arguments": SLOT if arguments is None else arguments}}


SHAPES = {
    "A, arguments as an object": {"toolCallList": [item()]},
    "A, without a type": {"toolCallList": [{"id": "call_1", "function": {"name": "book", "arguments": SLOT}}]},
    "B, arguments as a string": {"toolCallList": [item(arguments=json.dumps(SLOT))]},
    "C, flat arguments": {"toolCallList": [{"id": "call_1", "name": "book", "arguments": SLOT}]},
    "D, flat parameters": {"toolCallList": [{"id": "call_1", "name": "book", "parameters": SLOT}]},
    "E, name beside the call": {"toolWithToolCallList": [{"name": "book", "toolCall": {"id": "call_1", "parameters": SLOT}}]},
    "E, name in the definition": {
        "toolWithToolCallList": [
            {"type": "function", "function": {"name": "book", "parameters": SCHEMA}, "toolCall": {"id": "call_1", "parameters": SLOT}}
        ]
    },
    "E, name and arguments in the call": {
        "toolWithToolCallList": [{"type": "function", "function": {"name": "defined", "parameters": SCHEMA}, "toolCall": item()}]
    },
    "E, parameters in the call's function": {
        "toolWithToolCallList": [{"toolCall": {"id": "call_1", "function": {"name": "book", "parameters": SLOT}}}]
    },
    "F, toolCalls alone": {"toolCalls": [item()]},
    "F, beside the others": {"toolCalls": [item()], "toolCallList": [item()], "toolWithToolCallList": [{"toolCall": item()}]},
    "E, arguments directly on the call": {"toolWithToolCallList": [{"name": "book", "toolCall": {"id": "call_1", "arguments": SLOT}}]},
    "E, name under the tool": {"toolWithToolCallList": [{"tool": {"name": "book"}, "toolCall": {"id": "call_1", "arguments": SLOT}}]},
    "E, in the list of calls": {
        "toolCallList": [{"name": "book", "function": {"parameters": SCHEMA}, "toolCall": {"id": "call_1", "parameters": SLOT}}]
    },
    "E, the call's function being the definition": {
        "toolWithToolCallList": [{"toolCall": {"id": "call_1", "function": {"name": "book", "parameters": SCHEMA}, "arguments": SLOT}}]
    },
    "name under the tool": {"toolCallList": [{"id": "call_1", "tool": {"name": "book"}, "arguments": SLOT}]},
    "name under the tool's function": {"toolCallList": [{"id": "call_1", "tool": {"function": {"name": "book"}}, "parameters": SLOT}]},
    "a null name and null arguments before those that are some": {
        "toolCallList": [{"id": "call_1", "function": {"name": None, "arguments": None}, "name": "book", "arguments": SLOT}]
    },
    "no list that is one before the next": {"toolCallList": "x", "toolCalls": {}, "toolWithToolCallList": [{"toolCall": item()}]},
    "null before a list": {"toolCallList": None, "toolCalls": [item()]},
}


@pytest.mark.parametrize("message", SHAPES.values(), ids=SHAPES)
def test_every_shape_is_one_call(message: dict[str, Any]) -> None:
    assert calls_of(**message) == [BOOK]


def test_one_list_is_read_and_it_is_the_first_there_is() -> None:
    listed = {"toolCallList": [item("a")], "toolCalls": [item("b")], "toolWithToolCallList": [{"toolCall": item("c")}]}
    assert [call.id for call in calls_of(**listed)] == ["a"]
    assert [call.id for call in calls_of(**{**listed, "toolCallList": None})] == ["b"]
    assert [call.id for call in calls_of(toolWithToolCallList=listed["toolWithToolCallList"])] == ["c"]
    assert calls_of(toolCallList=[], toolCalls=[item("b")]) == []


def test_the_history_is_no_call() -> None:
    past = {"role": "tool_calls", "toolCalls": [item("old")]}
    assert calls_of(artifact={"messages": [past], "toolCallList": [item("old")]}, toolCallList=[item("new")])[0].id == "new"
    assert calls_of(artifact={"messages": [past]}) == []


def test_an_id_is_called_once_and_the_order_stays() -> None:
    found = calls_of(toolCallList=[item("b"), item("a"), item("b"), item("c")])
    assert [(call.id, call.arguments) for call in found] == [("b", SLOT), ("a", SLOT), ("c", SLOT)]


def test_an_id_with_other_arguments_is_answered_as_a_conflict() -> None:
    found = calls_of(toolCallList=[item("b"), item("b", arguments={"slot": "other"})])
    assert [(call.id, call.fault is None) for call in found] == [("b", True), ("b", False)]


def test_each_call_beyond_the_most_gets_an_answer_too() -> None:
    found = calls_of(toolCallList=[item(f"id-{number}") for number in range(70)])
    assert [call.fault is None for call in found] == [True] * 64 + [False] * 6


def test_a_long_id_comes_back_whole() -> None:
    assert calls_of(toolCallList=[item("i" * 300)])[0].id == "i" * 300


def test_an_id_that_is_no_identity_does_not_swallow_its_neighbours() -> None:
    """Hooks give every call the same id, hand-made bodies give none."""
    hooks = [item("hook-function-call", "book"), item("hook-function-call", "send")]
    assert [call.name for call in calls_of(toolCallList=hooks)] == ["book", "send"]
    bare: list[dict[str, Any]] = [{"function": {"name": name, "arguments": {}}} for name in ("book", "send")]
    assert [(call.id, call.name) for call in calls_of(toolCallList=bare)] == [(None, "book"), (None, "send")]


@pytest.mark.parametrize(
    ("given_arguments", "read_arguments"),
    [
        ({}, {}),
        ("{}", {}),
        ('{"a": {"b": 1}}', {"a": {"b": 1}}),
        ("", None),
        ("{", None),
        ("[]", None),
        ("null", {}),
        ('{"a": 1e999}', None),
        ("[" * 5000, None),
        ([], None),
        (5, None),
        (True, None),
    ],
    ids=str,
)
def test_arguments_are_an_object_or_unreadable(given_arguments: object, read_arguments: object) -> None:
    assert calls_of(toolCallList=[item(arguments=given_arguments)])[0].arguments == read_arguments


@pytest.mark.parametrize("call", [{"id": "x", "function": {"name": "now"}}, {"id": "x", "name": "now", "arguments": None}], ids=json.dumps)
def test_no_arguments_are_no_arguments(call: dict[str, Any]) -> None:
    assert calls_of(toolCallList=[call]) == [ToolCall("x", "now", {})]


def test_what_is_no_call_is_left_out() -> None:
    assert calls_of(toolCallList=[5, None, "book", item()]) == [BOOK]


def test_a_definition_without_a_call_is_none() -> None:
    defined = {"type": "function", "id": "tool-1", "function": {"name": "book", "parameters": SCHEMA}}
    for call in ({}, {"toolCall": None}, {"toolCall": 5}):
        assert calls_of(toolWithToolCallList=[{**defined, **call}]) == []


@pytest.mark.parametrize("listed", [{}, "book", 5, True], ids=str)
def test_lists_of_which_none_is_one_are_refused(listed: object) -> None:
    with pytest.raises(Invalid, match="toolCallList"):
        calls_of(toolCallList=listed)
    with pytest.raises(Invalid, match="toolCallList"):
        calls_of(toolCallList=listed, toolCalls=listed, toolWithToolCallList=listed)


@pytest.mark.parametrize(
    "given_arguments", [b'{"n":1e999}', b'{"n":' + b"1" * 5_000 + b"}", b'{"n":"\xff"}', b'{"n":' + b"[" * 900 + b"]" * 900 + b"}"], ids=len
)
def test_arguments_that_cannot_be_read_take_no_neighbour_with_them(given_arguments: bytes) -> None:
    raw = b'{"id":"%b","function":{"name":"book","arguments":%b}}'
    body = b'{"message":{"toolCallList":[' + raw % (b"a", given_arguments) + b"," + raw % (b"call_1", b'{"slot":"Thu 09:30"}') + b"]}}"
    first, second = tool_calls(read(body).message)
    assert (first.id, first.name) == ("a", "book")
    assert first.arguments is None or keys.canonical(first.arguments)
    assert second == BOOK


def test_half_a_character_in_arguments_of_text_is_mended() -> None:
    assert calls_of(toolCallList=[item(arguments='{"slot": "cut \\ud83d"}')])[0].arguments == {"slot": "cut \ufffd"}


def test_an_id_of_digits_is_an_id() -> None:
    assert calls_of(toolCallList=[{"id": 7, "name": "book", "arguments": SLOT}]) == [ToolCall("7", "book", SLOT)]


def test_arguments_and_names_without_end_are_answered_and_not_run() -> None:
    long, named = calls_of(toolCallList=[item(arguments={"slot": "x" * LONGEST_ARGUMENTS}), item("call_2", name="n" * 257)])
    assert (long.id, long.name, long.arguments, long.fault) == ("call_1", "book", None, TOO_LONG)
    assert (named.id, named.name, named.fault) == ("call_2", "n" * 257, NO_TOOL)


def test_more_calls_than_anybody_makes_are_refused() -> None:
    assert len(calls_of(toolCallList=[item(str(number)) for number in range(MOST_ANSWERED)])) == MOST_ANSWERED
    with pytest.raises(Invalid, match="1,000"):
        calls_of(toolCallList=[item(str(number)) for number in range(MOST_ANSWERED + 1)])


HOOK = "hook-function-call"


def hook(arguments: Any, tool_call_id: str = HOOK) -> list[ToolCall]:
    return calls_of(toolCallList=[item(tool_call_id, arguments=arguments)])


@pytest.mark.parametrize("as_text", [False, True])
def test_a_hook_gives_its_arguments_as_the_values_of_their_schema(as_text: bool) -> None:
    properties = {"slot": {"type": "string", "value": "Thu 09:30"}, "seats": {"type": "number", "value": 2}, "note": {"type": "string"}}
    schema = {"type": "object", "properties": properties, "required": ["slot"]}
    assert hook(json.dumps(schema) if as_text else schema) == [ToolCall(HOOK, "book", {"slot": "Thu 09:30", "seats": 2})]
    assert hook({"properties": {}}) == [ToolCall(HOOK, "book", {})]


@pytest.mark.parametrize(
    "arguments", [SLOT, {}, {"properties": {"a": {"value": 1}}, "slot": 1}, {"properties": 5}, {"type": "object"}], ids=json.dumps
)
def test_a_hook_may_give_arguments_as_everybody_does(arguments: dict[str, Any]) -> None:
    assert hook(arguments)[0].arguments == arguments


def test_only_a_hook_is_read_so() -> None:
    """Somebody's tool may have an argument named properties."""
    schema = {"type": "object", "properties": {"slot": {"value": 1}}}
    assert hook(schema, "call_1")[0].arguments == schema


def test_an_encrypted_argument_passes_through_as_text() -> None:
    """With encryptedPaths an argument arrives as base64 of RSA-OAEP; whoever has the key reads it."""
    sealed = {"card": "q1c/Jw+4AA==" * 40}
    assert calls_of(toolCallList=[item(arguments=sealed)])[0].arguments == sealed


@given(st.lists(JSON, max_size=4), st.sampled_from(["toolCallList", "toolCalls", "toolWithToolCallList"]))
def test_any_list_is_calls_with_different_ids_or_a_fault(listed: list[Any], field: str) -> None:
    found = calls_of(**{field: listed})
    ids = [call.id for call in found if call.id is not None and call.fault is None]
    assert len(ids) == len(set(ids))
    assert len(found) <= sum(isinstance(each, dict) for each in listed)


@given(DELIVERIES)
def test_a_list_read_in_one_go_reads_as_one_by_one(delivery: Delivery) -> None:
    message = read(delivery.rendered("x")).message
    quickly = tool_calls(message)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("webhooks.tool_calls.usual", lambda _raw: None)
        assert tool_calls(message) == quickly

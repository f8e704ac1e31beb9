"""What tool calls tell of a call, its assistant, fills what no better message told: whatever comes first."""

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from runtime.database import Database
from tests.late.lines import Line
from webhooks.activity import NOTE, Seen, as_json
from webhooks.late_reports import Rules, note_calls

RULES = Rules(lag=timedelta(0))
MINUTES = [timedelta(minutes=minutes) for minutes in (30, 20, 10)]


@pytest.mark.parametrize("order", list(permutations("abc")), ids="".join)
async def test_of_tool_calls_that_differ_the_same_one_is_believed(order: tuple[str, ...], line: Line, database: Database) -> None:
    for assistant, ago in zip(order, MINUTES, strict=True):
        await line.tool_call("call-1", ago, assistant=assistant)
        await note_calls(database, RULES)
    assert (await line.call("call-1"))["assistant_id"] == "c"


@pytest.mark.parametrize("noted_first", [True, False])
async def test_a_status_is_believed_before_a_tool_call(noted_first: bool, line: Line, database: Database) -> None:
    await line.tool_call("call-1", assistant="z")
    if noted_first:
        await note_calls(database, RULES)
    await line.heard("call-1", assistant="a")
    await note_calls(database, RULES)
    assert (await line.call("call-1"))["assistant_id"] == "a"


@pytest.mark.parametrize("noted_first", [True, False])
async def test_a_tool_call_fills_what_a_status_left_open(noted_first: bool, line: Line, neighbour: Line, database: Database) -> None:
    await line.tool_call("call-1", assistant="z")
    await neighbour.heard("call-1")
    if noted_first:
        await note_calls(database, RULES)
    await line.heard("call-1")
    await note_calls(database, RULES)
    call = await line.call("call-1")
    assert (call["assistant_id"], call["state"]) == ("z", "ended")
    assert (await neighbour.call("call-1"))["assistant_id"] is None


@pytest.mark.parametrize("order", list(permutations(("activity", "tool call", "status"))), ids=" ".join)
async def test_what_comes_often_is_believed_as_a_tool_call_is(order: tuple[str, ...], line: Line, database: Database) -> None:
    at = datetime.now(UTC)
    for one in order:
        if one == "activity":
            for assistant in ("y", "x"):
                seen = as_json({("call-1", "model-output"): Seen(at, at, assistant), ("call-2", "model-output"): Seen(at, at, assistant)})
                await database.call(line.tenant, NOTE, line.tenant, seen)
        elif one == "tool call":
            for call_id in ("call-1", "call-2"):
                await line.tool_call(call_id, assistant="b")
            await note_calls(database, RULES)
        else:
            await line.heard("call-1", assistant="a")
    assert ((await line.call("call-1"))["assistant_id"], (await line.call("call-2"))["assistant_id"]) == ("a", "y")

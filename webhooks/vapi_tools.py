"""Our tools at Vapi: which of them are there already, which are missing, which stand in the way; pure decisions.

A tool there belongs to the organisation, so several assistants share it. It is found again by its name and content and never changed:
a changed description makes a new tool, which takes the old one's place in this assistant only. It has no server of its own, so that its
calls go where the assistant's messages go, with the same credential and the same plan.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtime.refusals import Invalid
from webhooks.vapi_wish import Json, contains, model_of, tool_ids_of

POINTER = "/install_tools"
LONGEST_NAME = 64


@dataclass(frozen=True, slots=True)
class ToolPlan:
    """The names of ours in their order, what to make, what is there under which name, what leaves the assistant."""

    names: tuple[str, ...]
    missing: tuple[Json, ...]
    there: dict[str, str]
    leaving: frozenset[str]


def plan_tools(assistant: Json, existing: Sequence[Json], wanted: Sequence[Json], url: str) -> ToolPlan:
    """How to join our tools to an assistant.

    Raises:
        Invalid: it has a tool of such a name that goes elsewhere, or defines one in its model.
    """
    wishes = {name_of(each): without_server(each) for each in wanted}
    joined, leaving = set(tool_ids_of(assistant)), set()
    for name in inline_names(assistant) & wishes.keys():
        raise Invalid.at(POINTER, f"The assistant's model defines a tool {name} of its own at Vapi. Remove it there first.")
    there: dict[str, str] = {}
    for tool in sorted(existing, key=lambda each: each.get("id") not in joined):  # one that is joined already is the one to keep
        name, number = name_of(tool), tool.get("id")
        if name not in wishes or not isinstance(number, str):
            continue
        if number in joined and goes_elsewhere(tool, url):
            raise Invalid.at(POINTER, f"The assistant has a tool {name} at Vapi that goes to another server. Part them there first.")
        if name not in there and server_url(tool) is None and contains(tool, wishes[name]):
            there[name] = number
        elif number in joined:
            leaving.add(number)
    missing = tuple(wish for name, wish in wishes.items() if name not in there)
    return ToolPlan(tuple(wishes), missing, there, frozenset(leaving))


def ids_after(assistant: Json, plan: ToolPlan, made: Mapping[str, str]) -> list[str]:
    """The assistant's tools when the plan is done: those it had, in their order, then ours."""
    kept = [each for each in tool_ids_of(assistant) if each not in plan.leaving]
    ours = {**plan.there, **made}
    return list(dict.fromkeys([*kept, *(ours[name] for name in plan.names)]))


def without_server(tool: Json) -> Json:
    """A description as it is sent."""
    return {name: value for name, value in tool.items() if name != "server"}


def name_of(tool: Json) -> str:
    """The name that the model calls, or empty."""
    function = tool.get("function")
    name: Any = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else ""


def server_url(tool: Json) -> str | None:
    """Where a tool's calls go by its own word, which wins over the assistant's."""
    server = tool.get("server")
    url = server.get("url") if isinstance(server, dict) else None
    return url if isinstance(url, str) and url else None


def goes_elsewhere(tool: Json, url: str) -> bool:
    """Whether a tool's calls do not come to us."""
    own = server_url(tool)
    return own is not None and own != url


def inline_names(assistant: Json) -> set[str]:
    """The names of tools that stand in the assistant's model itself."""
    return {name_of(each) for each in inline_tools(assistant)} - {""}


def inline_tools(assistant: Json) -> list[Json]:
    """The tools that stand in the assistant's model itself; legacy functions are shaped like the inside of one."""
    model = model_of(assistant)
    tools, functions = model.get("tools"), model.get("functions")
    found = [each for each in tools if isinstance(each, dict)] if isinstance(tools, list) else []
    legacy = [{"function": each} for each in functions if isinstance(each, dict)] if isinstance(functions, list) else []
    return found + legacy


def attached(assistant: Json, existing: Iterable[Json]) -> list[Json]:
    """All tools of an assistant."""
    joined = set(tool_ids_of(assistant))
    return [each for each in existing if each.get("id") in joined] + inline_tools(assistant)

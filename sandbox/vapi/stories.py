"""Calls by name, and calls that a seed draws: what people ring up for, with amounts that are not round."""

from collections.abc import Callable
from random import Random

from sandbox.vapi.scripts import (
    AskAssistant,
    Conversation,
    Report,
    Script,
    Speech,
    Status,
    Step,
    ToolCall,
    Tools,
    Transcript,
    Transfer,
)
from sandbox.vapi.tool_shapes import Shape

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
_LARGEST_SHOWN = (20, 160, 640, 1300)  # kB of the conversation as a long call grows
_DRAWN = ("booking", "question", "inquiry", "reminders", "transfer")
_WEIGHTS = (40, 25, 20, 10, 5)


def story(name: str, rng: Random) -> tuple[str, Script]:
    """The call of this name, or with `any` one that the seed draws, and its name.

    Raises:
        ValueError: there is none of this name.
    """
    if name == "any":
        name = rng.choices(_DRAWN, _WEIGHTS)[0]
    if name not in STORIES:
        raise ValueError(f"there is no script {name!r}; there are any, {', '.join(STORIES)}")
    return name, STORIES[name](rng)


def _booking(rng: Random) -> Script:
    """A number with an assistant; the caller books and gets the time by text, in a shape that the seed draws."""
    shape: Shape = rng.choices(("A", "B", "E"), (8, 1, 1))[0]
    asked = [ToolCall("send_sms", {"body": _confirmation(rng)})]
    if rng.random() < 0.25:  # noqa: PLR2004  some models ask for the time along with it
        asked.insert(0, ToolCall("current_time"))
    return Script([*_beginning(rng), *_talk(rng), Tools(calls=asked, shape=shape, after=6), *_end(rng)])


def _question(rng: Random) -> Script:
    """Talk, and no tool."""
    return Script([*_beginning(rng), *_talk(rng), *_talk(rng), *_end(rng)])


def _inquiry(rng: Random) -> Script:
    """A number without an assistant: Vapi asks who takes the call."""
    asked = [ToolCall("current_time"), ToolCall("send_sms", {"body": _confirmation(rng)})]
    return Script([AskAssistant(), *_beginning(rng), *_talk(rng), Tools(calls=asked, after=5), *_end(rng)])


def _reminders(rng: Random) -> Script:
    """Two texts, in two deliveries."""
    steps: list[Step] = [*_beginning(rng)]
    for _ in range(2):
        steps += [*_talk(rng), Tools(calls=[ToolCall("send_sms", {"body": _confirmation(rng)})], after=4)]
    return Script([*steps, *_end(rng)])


def _transfer(rng: Random) -> Script:
    """The caller wants a person."""
    forwarded: list[Step] = [Transfer(after=4), Status(status="forwarding", after=1)]
    return Script([*_beginning(rng), *_talk(rng), *forwarded, *_end(rng)], ended_reason="assistant-forwarded-call")


def _long(rng: Random) -> Script:
    """A conversation that grows to 1.3 MB."""
    steps: list[Step] = [*_beginning(rng)]
    for size in _LARGEST_SHOWN:
        steps += [*_talk(rng), Conversation(turns=size, kilobytes=size, after=30)]
    return Script([*steps, *_end(rng)])


def _shapes(rng: Random) -> Script:
    """Every shape of a tool call once."""
    shapes: tuple[Shape, ...] = ("A", "B", "C", "D", "E", "F", "G", "H")
    calls: list[Step] = [
        Tools(calls=[ToolCall("send_sms", {"body": f"{_confirmation(rng)} (shape {shape})"})], shape=shape, after=2) for shape in shapes
    ]
    return Script([*_beginning(rng), *calls, *_end(rng)])


def _unanswered(_: Random) -> Script:
    """Nobody took it: no start, no cost."""
    ending: list[Step] = [Status(status="ringing"), Status(status="ended", after=25), Report(after=2)]
    return Script(ending, ended_reason="customer-did-not-answer", connected=False)


def _beginning(rng: Random) -> list[Step]:
    ringing: list[Step] = [Status(status="ringing")] if rng.random() < 0.5 else []  # noqa: PLR2004  not every provider tells
    return [*ringing, Status(status="in-progress", after=1), Speech(role="assistant", status="started", after=0.5)]


def _talk(rng: Random) -> list[Step]:
    """The caller says something, which is heard little by little, and the conversation is told anew."""
    day = rng.choice(_DAYS)
    words = f"Is there anything free on {day} after {rng.randrange(1, 6)}? I called {rng.randrange(2, 900)} minutes ago already."
    return [
        Speech(role="user", status="started", after=rng.uniform(0.5, 3)),
        Transcript(role="user", text=words[: rng.randrange(8, 30)], after=0.4),
        Transcript(role="user", text=words, final=True, after=1.2),
        Speech(role="user", status="stopped"),
        Conversation(turns=rng.randrange(2, 9), kilobytes=rng.uniform(1, 9)),
    ]


def _end(rng: Random) -> list[Step]:
    """The state tells before the report does, mostly; the report comes after the post-processing."""
    ended, report = Status(status="ended", after=rng.uniform(3, 20)), Report(after=rng.uniform(2, 15))
    return [report, ended] if rng.random() < 0.1 else [ended, report]  # noqa: PLR2004  any order is possible


def _confirmation(rng: Random) -> str:
    when = f"{rng.choice(_DAYS)} at {rng.randrange(8, 18)}:{rng.choice((0, 15, 30, 45)):02d}"
    extra = " Please bring your insurance card, and the list of what you take at present." * rng.randrange(3)
    return f"You are booked for {when}, number {rng.randrange(10_000, 99_999)}.{extra} Reply STOP to opt out."


STORIES: dict[str, Callable[[Random], Script]] = {
    "booking": _booking,
    "question": _question,
    "inquiry": _inquiry,
    "reminders": _reminders,
    "transfer": _transfer,
    "long": _long,
    "shapes": _shapes,
    "unanswered": _unanswered,
}

"""Scripts of calls: what Vapi sends, in which order, with which pauses. Data only; `stories.py` has some by name."""

from typing import Annotated, Any, Literal

import msgspec

from sandbox.vapi.tool_shapes import Shape

Pause = Annotated[float, msgspec.Meta(ge=0, le=3600)]
Text = Annotated[str, msgspec.Meta(max_length=1600)]


class _Step(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """`after` seconds of pause before it, divided by the speed; `copies` deliveries on purpose, all at once."""

    after: Pause = 0
    copies: Annotated[int, msgspec.Meta(ge=1, le=20)] = 1


class AskAssistant(_Step, tag="assistant-request"):
    """Who takes the call? Sent where the number has no assistant."""


class Status(_Step, tag="status-update"):
    """The call has another state; `ended` fixes its figures."""

    status: str


class Speech(_Step, tag="speech-update"):
    """Somebody begins or ends to speak."""

    role: Literal["assistant", "user"] = "assistant"
    status: Literal["started", "stopped"] = "started"


class Transcript(_Step, tag="transcript"):
    """Words as they are heard, or (`final`) as they stay; the latter have a type of their own."""

    role: Literal["assistant", "user"] = "user"
    text: Text = "I would like an appointment."
    final: bool = False


class Conversation(_Step, tag="conversation-update"):
    """The whole conversation so far: it grows to megabytes."""

    turns: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 4
    kilobytes: Annotated[float, msgspec.Meta(ge=0, le=8000)] = 2


class ToolCall(msgspec.Struct, forbid_unknown_fields=True):
    """One call of a tool; without an id it gets one of its own."""

    name: str
    arguments: dict[str, Any] = {}
    id: str | None = None


class Tools(_Step, tag="tool-calls"):
    """The model calls tools, several at once maybe, in one of the shapes of the wild; 51 kB as in real traffic."""

    calls: Annotated[list[ToolCall], msgspec.Meta(min_length=1, max_length=20)]
    shape: Shape = "A"

    def __post_init__(self) -> None:
        """The legacy shape holds one call.

        Raises:
            ValueError: it shall hold several.
        """
        if self.shape == "G" and len(self.calls) > 1:
            raise ValueError("shape G holds one call")


class Transfer(_Step, tag="transfer-destination-request"):
    """Whereto? Sent where the model named no destination."""

    reason: Text = "The caller wants to talk to a person."


class Report(_Step, tag="end-of-call-report"):
    """The end-of-call report, with the figures of the call."""


class Other(_Step, tag="other"):
    """A message of any type with fields of its own."""

    kind: str
    fields: dict[str, Any] = {}


Step = AskAssistant | Status | Speech | Transcript | Conversation | Tools | Transfer | Report | Other


class Script(msgspec.Struct, forbid_unknown_fields=True):
    """A call. What is not told is drawn by the seed; `connected` false is a call that nobody took: no start, no seconds, no cost."""

    steps: Annotated[list[Step], msgspec.Meta(min_length=1, max_length=2000)]
    seconds: Annotated[float, msgspec.Meta(ge=0, le=86_400)] | None = None
    cost: Annotated[float, msgspec.Meta(ge=0, le=1000)] | None = None
    ended_reason: str = "customer-ended-call"
    connected: bool = True

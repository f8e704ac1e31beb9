"""What stood at Vapi before an assistant was configured, and what undoes it; pure.

Its JSON is kept sealed: headers of a server may hold somebody's secrets.
"""

from collections.abc import Sequence

import msgspec

from webhooks.vapi_wish import FIELDS, Json, model_of, tool_ids_of


class Before(msgspec.Struct, frozen=True):
    """The fields that were ours to change, as they were; which tools were joined and parted since; which addresses of ours it got."""

    fields: Json
    joined: list[str] = []
    parted: list[str] = []
    ours: list[str] = []

    def __repr__(self) -> str:
        """Without anything that stood in the fields."""
        return f"Before({sorted(self.fields)})"


def before_of(assistant: Json) -> Before:
    """As the assistant is now."""
    return Before({name: assistant.get(name) for name in FIELDS})


def read(text: str | None) -> Before | None:
    """What was kept."""
    return None if text is None else msgspec.json.decode(text, type=Before)


def written(before: Before) -> str:
    """To be kept."""
    return msgspec.json.encode(before).decode()


def with_url(before: Before, url: str) -> Before:
    """The same, where this address is set next: we may have another one when it is put back."""
    return before if url in before.ours else msgspec.structs.replace(before, ours=[*before.ours, url])


def with_tools(before: Before, old: Sequence[str], new: Sequence[str]) -> Before:
    """The same, after the assistant's tools have changed once more."""
    came, went = [each for each in new if each not in old], [each for each in old if each not in new]
    joined = [each for each in before.joined if each not in went] + [each for each in came if each not in before.parted]
    parted = [each for each in before.parted if each not in came] + [each for each in went if each not in before.joined]
    return msgspec.structs.replace(before, joined=list(dict.fromkeys(joined)), parted=list(dict.fromkeys(parted)))


def patch_back(assistant: Json, before: Before) -> Json:
    """The fields to send so that the assistant is as it was; what others changed in its tools meanwhile stays."""
    now = tool_ids_of(assistant)
    kept = [each for each in now if each not in before.joined]
    ids = kept + [each for each in before.parted if each not in kept]
    return {**before.fields, **({} if ids == now else {"model": {**model_of(assistant), "toolIds": ids}})}

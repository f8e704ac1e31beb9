"""The 51 kB tool call as Vapi sends it, with room for ids of equal width, so that every request has the same length."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAYLOAD = Path(__file__).parent.parent / "sandbox" / "payloads" / "tool-calls-51kb.json"
TEXT = "Your table for two is booked for Friday at seven. Reply STOP to opt out."
AREAS = json.loads((Path(__file__).parents[1] / "messaging" / "area_codes.json").read_text("utf-8"))["states"]
# All of the United States, with 555 01xx behind them: nobody's numbers, and so many that nobody gets more texts than a person may in a day
AREA_CODES = tuple(sorted(area for areas in AREAS.values() for area in areas))

CALL, TOOL_CALL, CALLER = "{call id}", "{tool call id}", "{caller}"
SLOTS = {CALL: b"%(call)b", TOOL_CALL: b"%(tool_call)b", CALLER: b"%(caller)b"}


@dataclass(frozen=True, slots=True)
class Template:
    """A body with slots in `bytes %` form."""

    body: bytes
    assistant_id: str
    length: int  # bytes, the same for every number

    def render(self, run: int, number: int) -> bytes:
        """The whole body of delivery `number` in run `run`."""
        return self.body % identity(run, number)


def identity(run: int, number: int) -> dict[bytes, bytes]:
    """Ids that only this delivery has: 36 characters for the call, 29 for the tool call, 12 for the caller's number."""
    person = number + 9_973 * run  # each run begins with other people
    area = AREA_CODES[person // 100 % len(AREA_CODES)]
    return {
        b"call": b"%08x-0000-7000-8000-%012d" % (run, number),
        b"tool_call": b"call_%08x%016d" % (run, number),
        b"caller": b"+1%d55501%02d" % (area, person % 100),
    }


def load(path: Path = PAYLOAD) -> Template:
    """The recorded structure turned into a `send_sms` to the caller.

    Raises:
        SystemExit: the payload is missing or does not hold one call in all its places.
    """
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise SystemExit(f"The payload {path} is missing.") from None
    message = document["message"]
    old = {message["call"]["id"]: CALL, message["toolCallList"][0]["id"]: TOOL_CALL, message["customer"]["number"]: CALLER}
    tool = message["toolCallList"][0]["function"]["name"]
    text = json.dumps(texting(document, tool), ensure_ascii=False, separators=(",", ":"))
    for value, slot in old.items():
        text = text.replace(f'"{value}"', f'"{slot}"')
    for slot, times in {CALL: 1, TOOL_CALL: 3, CALLER: 2}.items():
        if text.count(f'"{slot}"') < times:
            raise SystemExit(f"The payload {path} holds its {slot} fewer than {times} times.")
    body = text.encode().replace(b"%", b"%%")
    for slot, form in SLOTS.items():
        body = body.replace(slot.encode(), form)
    return Template(body, message["call"]["assistantId"], len(body % identity(0, 0)))


def texting(node: Any, tool: str) -> Any:
    """The document with every call of `tool` turned into `send_sms` to the caller; arguments keep their form, object or string."""
    if isinstance(node, list):
        return [texting(item, tool) for item in node]
    if not isinstance(node, dict):
        return node
    changed = {key: texting(value, tool) for key, value in node.items()}
    if changed.get("name") == tool and "arguments" in changed:
        arguments = {"to": CALLER, "body": TEXT}
        changed |= {"name": "send_sms", "arguments": json.dumps(arguments) if isinstance(changed["arguments"], str) else arguments}
    elif changed.get("name") == tool and "parameters" in changed:
        changed["name"] = "send_sms"
    return changed

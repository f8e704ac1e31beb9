"""`make bench-decode`: what it costs to read a webhook, beside decoding all of it.

The sides take turns within each round; a round is compared with itself only, since the machine's weather changes. The last line is one
JSON object.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import msgspec

from benchmarks.payload import PAYLOAD
from webhooks.envelope import read
from webhooks.tool_calls import tool_calls

ROUNDS = 31
TURN_SECONDS = 0.02
SMALL, LARGE = 2_000, 1_300_000  # bytes; a tool call of a short prompt, and of a call of hours
Side = Callable[[bytes], object]


def ours(body: bytes) -> object:
    """What ingest does: envelope, ids, caller, tool calls."""
    webhook = read(body)
    return tool_calls(webhook.message)


SIDES: dict[str, Side] = {"trunkline": ours, "json": json.loads, "msgspec": msgspec.json.decode}


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description="Reading a webhook beside decoding it whole.")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--quick", action="store_true", help="three rounds: whether it works, not how fast")
    options = parser.parse_args()
    measured = {name: measure(body, 3 if options.quick else options.rounds) for name, body in bodies().items()}
    print(table(measured))
    print(json.dumps({"benchmark": "decode", "python": platform.python_version(), "msgspec": msgspec.__version__, "bodies": measured}))


def bodies() -> dict[str, bytes]:
    """One tool call in three sizes: as recorded, with a short prompt and no history, and with the history of a very long call."""
    recorded = json.loads(PAYLOAD.read_bytes())
    return {"2 kB": compact(small(recorded)), "51 kB": PAYLOAD.read_bytes(), "1.3 MB": compact(large(recorded))}


def small(document: dict[str, Any]) -> dict[str, Any]:
    """The fields of a tool call and as much of a prompt as fills two kilobytes."""
    message = document["message"]
    kept = {name: message[name] for name in ("timestamp", "type", "toolCalls", "toolCallList", "customer", "phoneNumber")}
    kept["call"] = {name: message["call"][name] for name in ("id", "orgId", "type", "status", "assistantId")}
    room = SMALL - len(compact({"message": {**kept, "assistant": {"prompt": ""}}}))
    return {"message": {**kept, "assistant": {"prompt": "You answer the phone. " * (room // 22)}}}


def large(document: dict[str, Any]) -> dict[str, Any]:
    """The recorded message with its conversation again and again."""
    message = document["message"]
    said = message["artifact"]["messages"][1:]  # without the prompt
    times = (LARGE - len(compact(document))) // len(compact(said)) + 1
    return {"message": {**message, "artifact": {**message["artifact"], "messages": said * times}}}


def compact(document: Any) -> bytes:
    """As it stands on the wire."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def measure(body: bytes, rounds: int) -> dict[str, Any]:
    """Microseconds per kB (1,000 bytes) of each side in the median round, and how many times as long as ours the others take."""
    turns = {name: repetitions(side, body) for name, side in SIDES.items()}
    taken: dict[str, list[float]] = {name: [] for name in SIDES}
    for number in range(rounds):
        names = list(SIDES)[number % len(SIDES) :] + list(SIDES)[: number % len(SIDES)]  # each is first, second and last in turn
        for name in names:
            taken[name].append(seconds_each(SIDES[name], body, turns[name]))
    per_kb = {name: statistics.median(values) * 1e6 / (len(body) / 1000) for name, values in taken.items()}
    ratios = {
        name: statistics.median(theirs / mine for theirs, mine in zip(values, taken["trunkline"], strict=True))
        for name, values in taken.items()
    }
    return {
        "bytes": len(body),
        "rounds": rounds,
        "us_per_kb": {name: round(value, 3) for name, value in per_kb.items()},
        "us": {name: round(statistics.median(values) * 1e6, 1) for name, values in taken.items()},
        "times_ours": {name: round(value, 2) for name, value in ratios.items() if name != "trunkline"},
    }


def repetitions(side: Side, body: bytes) -> int:
    """How often a side reads the body in one turn."""
    return max(1, int(TURN_SECONDS / min(seconds_each(side, body, 3) for _ in range(3))))


def seconds_each(side: Side, body: bytes, times: int) -> float:
    """Seconds of CPU for one reading; what a busy neighbour takes does not count."""
    began = time.process_time()
    for _ in range(times):
        side(body)
    return (time.process_time() - began) / times


def table(measured: dict[str, dict[str, Any]]) -> str:
    """One line for each body."""
    lines = [f"{'us per kB':<10}" + "".join(f"{name:>12}" for name in SIDES)]
    for name, row in measured.items():
        lines.append(f"{name:<10}" + "".join(f"{row['us_per_kb'][side]:>12.3f}" for side in SIDES))
    return "\n".join(lines)


if __name__ == "__main__":
    main()

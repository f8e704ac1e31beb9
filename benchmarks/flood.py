"""A flood of deliveries in a process of its own: what it shall do stands in its argument as JSON, what came of it is its one line."""

import asyncio
import itertools
import json
import sys
from typing import Any

import uvloop

from benchmarks import payload
from benchmarks.load import Phase, Target

TWIN = b"""{"message":{"type":"tool-calls","call":{"id":"%s"},"toolCallList":[{"id":"twin","function":{"name":"slow","arguments":{}}}]}}"""


def main() -> None:
    """Flood for as long as told; print how many were answered."""
    wanted: dict[str, Any] = json.loads(sys.argv[1])
    target = Target("flood", wanted["port"], wanted["path"], wanted["secret"], replay_mark=b"idempotent-replayed: true")
    answered = uvloop.run(twins(target, wanted) if wanted["kind"] == "twins" else deliveries(target, wanted))
    print(json.dumps({"answered": answered}))


async def deliveries(target: Target, wanted: dict[str, Any]) -> int:
    """First deliveries of 51 kB, every connection busy."""
    phase = Phase(target, payload.load(), wanted["run"], itertools.count(1), duplicates=False)
    outcome = await phase.drive(wanted["seconds"], wanted["connections"])
    return len(outcome.latencies)


async def twins(target: Target, wanted: dict[str, Any]) -> int:
    """One tool call of the tenant's own, delivered on every connection at once while its server is slow; then the next one."""
    until, answered = asyncio.get_running_loop().time() + wanted["seconds"], 0
    for number in itertools.count():
        left = until - asyncio.get_running_loop().time()
        if left <= 0:
            return answered
        body = TWIN % f"flood-{wanted['run']}-{number}".encode()
        answered += sum(await asyncio.gather(*(post(target, body) for _ in range(wanted["connections"]))))
    return answered


async def post(target: Target, body: bytes) -> int:
    """One delivery on a connection of its own; 1 if it was answered with 200."""
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
    head = f"POST {target.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {target.secret}\r\nConnection: close\r\n"
    writer.write(head.encode() + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    answer = await reader.read()
    writer.close()
    return int(answer.startswith(b"HTTP/1.1 200 "))


if __name__ == "__main__":
    main()

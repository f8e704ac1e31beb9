"""Every slot that the pacer grants, as Valkey's own MONITOR shows it: exact to the microsecond of the pacer's clock.

The pacer's script writes each slot into the key `…:recent` of its registration (`ZADD at id:segments`) and takes it out again when
it is given back (`ZREM id:segments`). A server that is killed cuts the watching, too: it begins anew at once, and the pacer grants
nothing in the first two seconds of a server's life, so nothing is missed.
"""

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple, Self
from urllib.parse import unquote, urlsplit

MICROSECONDS = 1_000_000
AGAIN_SECONDS = 0.05
_KEY = rb'"[^"]*pacer:\{[^}]+\}:([0-9a-f-]{36}):recent"'
_GRANTED = re.compile(rb'"ZADD" ' + _KEY + rb' "(\d+)" "([^"]+):(\d+)"', re.IGNORECASE)
_GIVEN_BACK = re.compile(rb'"ZREM" ' + _KEY + rb' "([^"]+):\d+"', re.IGNORECASE)


class Slot(NamedTuple):
    """A message's slot, in microseconds since 1970."""

    at: int
    segments: int


@dataclass
class SlotBook:
    """The slots by registration, without those that were given back. `cuts` counts how often the watching was interrupted."""

    redis_url: str
    cuts: int = -1  # the first connection is none
    _slots: dict[str, dict[str, Slot]] = field(default_factory=dict)
    _watching: asyncio.Task[None] | None = None
    _connected: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> Self:
        self._watching = asyncio.create_task(self._watch())
        await self._connected.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._watching:
            self._watching.cancel()
            await asyncio.wait([self._watching])

    def slots(self, registration_id: str) -> list[Slot]:
        """What a registration was granted, in order of time."""
        return sorted(self._slots.get(registration_id, {}).values())

    async def _watch(self) -> None:
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._read_until_cut()
            await asyncio.sleep(AGAIN_SECONDS)

    async def _read_until_cut(self) -> None:
        address = urlsplit(self.redis_url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            password = unquote(address.password or "")
            writer.write(f"AUTH {password}\r\nMONITOR\r\n".encode() if password else b"MONITOR\r\n")
            self.cuts += 1
            self._connected.set()
            while line := await reader.readline():
                self._note(line)
        finally:
            writer.transport.abort()

    def _note(self, line: bytes) -> None:
        text = line.replace(b'\\"', b'"') if b'\\"' in line else line
        if found := _GRANTED.search(text):
            registration, at, slot, segments = (part.decode() for part in found.groups())
            self._slots.setdefault(registration, {})[slot] = Slot(int(at), int(segments))
        elif found := _GIVEN_BACK.search(text):
            registration, slot = (part.decode() for part in found.groups())
            self._slots.get(registration, {}).pop(slot, None)


def excess(slots: Sequence[Slot], per_minute: int) -> float:
    """The most segments, over all windows, beyond what the rate allows in the window and one message; at most 0 is right.

    A window of w seconds closed on both sides holds at most rate · w segments and one message, the largest one here. Slots are
    sorted; times are whole microseconds, rounded up, so that a window may look one microsecond too short.
    """
    most, largest = 0.0, max((slot.segments for slot in slots), default=0)
    before, lowest = 0, float("inf")  # segments before this slot; the lowest "segments before - rate · time" of a window's begin
    for slot in slots:
        allowed = per_minute * (slot.at - slots[0].at + 1) / (60 * MICROSECONDS)
        lowest = min(lowest, before - (allowed - per_minute / (60 * MICROSECONDS)))
        before += slot.segments
        most = max(most, before - allowed - lowest - largest)
    return most

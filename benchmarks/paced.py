"""Deliveries at a steady rate: each has its time, and waiting for the one before counts as part of its latency."""

import asyncio
import time
from collections.abc import Iterator

from benchmarks.load import Line, Outcome, Phase, Target
from benchmarks.payload import Template


class PacedPhase(Phase):
    """A phase of so many deliveries a second over its connections."""

    def __init__(self, target: Target, template: Template, run: int, numbers: Iterator[int], rate: float) -> None:
        super().__init__(target, template, run, numbers, duplicates=False)
        self.rate, self.connections = rate, 1

    async def drive(self, seconds: float, connections: int) -> Outcome:
        """As the phase does, with lines that keep their time."""
        self.connections = connections
        loop = asyncio.get_running_loop()
        lines = [PacedLine(self, loop.create_future()) for _ in range(connections)]
        for line in lines:
            await loop.create_connection(lambda line=line: line, "127.0.0.1", self.target.port)  # type: ignore[misc]  # binds this line
        self.outcome.began = time.perf_counter()
        self.deadline = self.outcome.began + seconds
        for number, line in enumerate(lines):
            line.due = self.outcome.began + number / self.rate
            line.ask()
        async with asyncio.timeout(seconds + 15):
            await asyncio.gather(*(line.done for line in lines))
        return self.outcome


class PacedLine(Line):
    """One connection whose deliveries are due at fixed times."""

    phase: PacedPhase
    due = 0.0

    def ask(self) -> None:
        """Send the next delivery when it is due; a late one at once, measured from when it was due."""
        due = self.due
        self.due += self.phase.connections / self.phase.rate
        wait = due - time.perf_counter()
        if due >= self.phase.deadline or wait <= 0:
            self.send(due)
        else:
            asyncio.get_running_loop().call_later(wait, self.send, due)

    def send(self, due: float) -> None:
        """Send now, or end when the phase is over."""
        super().ask()
        if not self.done.done():
            self.asked = due

"""What a round is given and what it gives back."""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from tests.kills.client import Http
from tests.kills.installation import Installation

Figure = int | float | str


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a round plays; `number` counts from 1."""

    http: Http
    house: Installation
    number: int

    @property
    def kills(self) -> int:
        """How often it kills where it may choose: once, twice, three times, and again."""
        return 1 + (self.number - 1) % 3


@dataclass
class Round:
    """What came out: figures for whoever compares, faults for whoever repairs."""

    figures: dict[str, Figure] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every promise was kept."""
        return not self.faults


Scenario = Callable[[Stage], Awaitable[Round]]


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest rank: of 60 values the 99th percentile is the greatest."""
    return sorted(values)[max(0, math.ceil(len(values) * share) - 1)]

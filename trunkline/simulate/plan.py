"""A day of calls, drawn by a seed: who is called when, by whom. The same seed gives the same day."""

from dataclasses import dataclass
from random import Random

HOUR = 3600.0
OPENS, BUSIEST, CLOSES = 6 * HOUR, 11 * HOUR, 22 * HOUR
AREAS = ("213", "303", "312", "415", "503", "602", "617", "702", "718", "907")


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """A call to come: whose (the place of the seat), `at` seconds after the day's first call, from which number, with which draws."""

    seat: int
    at: float
    caller: str
    seed: str


def planned(seed: str, tenants: int, calls: int) -> list[PlannedCall]:
    """The day's calls in their order: few in the early morning, most towards noon; each tenant has some while there are enough."""
    rng = Random(f"{seed}:day")  # noqa: S311  a play, no secret
    moments = sorted(rng.triangular(OPENS, CLOSES, BUSIEST) for _ in range(calls))
    seats = [place if place < tenants else rng.randrange(tenants) for place in range(calls)]
    rng.shuffle(seats)
    return [
        PlannedCall(seat, moment - moments[0], f"+1{rng.choice(AREAS)}5550{rng.randrange(100, 200)}", f"{seed}:{number}")
        for number, (moment, seat) in enumerate(zip(moments, seats, strict=True))
    ]

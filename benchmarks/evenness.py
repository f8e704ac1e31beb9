"""What a row of sending times says about a rate: how far it was exceeded, how much of it was used, how even it was."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any


@dataclass(frozen=True, slots=True)
class Pace:
    """`most_over`: in the worst of all windows, the messages beyond rate times window plus one; 0 or less is within the rate.

    `used`: the share of the rate from first to last. `unevenness`: standard deviation of the gaps over their mean; 0 is a clock.
    """

    count: int
    most_over: float
    used: float
    unevenness: float

    def as_json(self) -> dict[str, Any]:
        """Rounded, for the report."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def pace_of(times: Sequence[float], per_minute: int) -> Pace:
    """The pace of messages of one segment that left at these seconds.

    Raises:
        ValueError: there are fewer than three.
    """
    if len(times) < 3:  # noqa: PLR2004  two gaps
        raise ValueError(f"{len(times)} messages show no pace")
    ordered, rate = sorted(times), per_minute / 60
    # the messages from the i-th to the j-th are j - i + 1 in t_j - t_i seconds: over by j - i - rate * (t_j - t_i)
    least, most_over = 0 - rate * ordered[0], float("-inf")
    for number, moment in enumerate(ordered[1:], 1):
        here = number - rate * moment
        most_over = max(most_over, here - least)
        least = min(least, here)
    gaps = [later - earlier for earlier, later in pairwise(ordered)]
    used = (len(ordered) - 1) / (rate * (ordered[-1] - ordered[0]))
    return Pace(len(ordered), most_over, used, statistics.pstdev(gaps) / statistics.fmean(gaps))

"""What waits before a text that is accepted now, and how long a tenant's queue may become. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

CLASSES = 3  # 0 one-time codes, 1 transactional, 2 marketing: each waits for those before it and for its own
COUNTED = 5_000  # messages of a class that a snapshot counts one by one

DueOfClass = tuple[int, int]  # segments, messages


class WaitingView(msgspec.Struct, frozen=True):
    """What is due of a registration, by class, when the snapshot was taken; `owed_for` seconds are not paid off yet."""

    due: tuple[DueOfClass, DueOfClass, DueOfClass] = ((0, 0), (0, 0), (0, 0))
    owed_for: float = 0.0

    def ahead(self, queued_segments: int) -> list[int]:
        """Segments before a new text of each class; beyond what was counted the schedule's own count of everything must do."""
        sums, total = list[int](), 0
        for segments, messages in self.due:
            total = max(total + segments, queued_segments) if messages >= COUNTED else total + segments
            sums.append(total)
        return sums


class QueueBounds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many texts of a tenant may wait, and for how many seconds; what happens to the next one then."""

    most_messages: Annotated[int, msgspec.Meta(ge=1, le=10_000_000, examples=[100_000])] = 100_000
    most_seconds: Annotated[int, msgspec.Meta(ge=1, le=864_000, examples=[36_000])] = 36_000  # Twilio too keeps a text for ten hours
    policy: Annotated[Literal["refuse", "drop_oldest_marketing"], msgspec.Meta(examples=["refuse"])] = "refuse"


USUAL_BOUNDS = QueueBounds()


@dataclass(slots=True)
class Line:
    """A registration's queue as this process knows it: when, on the monotonic clock, a new text of each class would leave."""

    tails: list[float]

    @classmethod
    def of(cls, ahead: Sequence[int], opens_in: float, per_minute: int, taken_at: float) -> "Line":
        """So many segments wait before each class, and the first slot opens in so many seconds."""
        return cls([taken_at + opens_in + segments * 60 / per_minute for segments in ahead])

    def wait(self, priority: int, now: float) -> float:
        """Seconds until a text of this class, accepted now, leaves."""
        return max(0.0, self.tails[priority] - now)

    def add(self, priority: int, segments: int, per_minute: int, now: float) -> None:
        """One more text waits: those of its class and of the classes after it leave later."""
        for later in range(priority, CLASSES):
            self.tails[later] = max(now, self.tails[later]) + segments * 60 / per_minute

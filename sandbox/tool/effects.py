"""What the endpoint did: one effect per Idempotency-Key and address, however often it is delivered."""

from dataclasses import asdict, dataclass, field
from typing import Any

from sandbox.clock import iso, monotonic, now


@dataclass
class Effect:
    """Something done once; `deliveries` counts the requests that asked for it, `arrived_at` is of the first, monotonic."""

    number: int
    key: str | None
    path: str
    method: str
    body: Any
    at: str = field(default_factory=lambda: iso(now()))
    arrived_at: float = field(default_factory=monotonic)
    deliveries: int = 1

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


class Effects:
    """All effects, oldest first. A request without a key is an effect of its own each time."""

    def __init__(self) -> None:
        self.done: list[Effect] = []
        self._by_key: dict[tuple[str, str], Effect] = {}

    def do(self, key: str | None, path: str, method: str, body: Any) -> Effect:
        """Does it, or finds that it was done."""
        known = self._by_key.get((path, key)) if key is not None else None
        if known is not None:
            known.deliveries += 1
            return known
        effect = Effect(len(self.done) + 1, key, path, method, body)
        self.done.append(effect)
        if key is not None:
            self._by_key[path, key] = effect
        return effect

    def forget(self) -> None:
        """Forgets everything, the keys too."""
        self.done.clear()
        self._by_key.clear()

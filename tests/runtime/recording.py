"""What would leave for Sentry, kept instead; and the tenants it is about."""

from typing import Any, NoReturn

from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from runtime.sentry import TenantTags

DSN = "http://key@127.0.0.1:1/1"  # nobody listens: the recorder takes what would be sent
ACME, BOLT = TenantTags("id-acme", "acme", "gold"), TenantTags("id-bolt", "bolt", "silver")


class Recorder(Transport):
    """Keeps every envelope as the bytes that would leave."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.events: list[dict[str, Any]] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.sent.append(envelope.serialize())
        self.events += [item.payload.json for item in envelope.items if item.payload.json is not None]

    @property
    def everything(self) -> str:
        return b"\n".join(self.sent).decode()


def fault(words: str = "broken") -> Exception:
    """An exception with a trace."""
    try:
        fail(RuntimeError(words))
    except RuntimeError as error:
        return error


def fail(error: BaseException) -> NoReturn:
    raise error


def own_tags(event: dict[str, Any]) -> tuple[str, ...]:
    return tuple(event["tags"][name] for name in ("tenant.id", "tenant.slug", "tenant.tier", "component"))

"""What may leave for Sentry: every event is built anew from an allow-list, so that a field nobody thought of stays here.

The SDK's events carry much more (docs.sentry.io, "data collected", Python SDK 2.x); whatever is not copied below is not sent.
"""

from collections.abc import Mapping
from typing import Any, cast

from sentry_sdk.types import Event, Hint

from runtime import metrics
from runtime.redaction import redacted, redacted_id

MISSING = "missing"
OWN_TAGS = ("tenant.id", "tenant.slug", "tenant.tier", "component")  # ours, and on every event
ENVELOPE = ("event_id", "timestamp", "start_timestamp", "type", "platform", "level", "release", "environment", "sdk", "transaction_info")
TRACE = ("trace_id", "span_id", "parent_span_id", "op", "status")
EXCEPTION = ("type", "module")
MECHANISM = ("type", "handled", "source", "exception_id", "parent_id", "is_exception_group")
FRAME = ("filename", "function", "module", "lineno", "in_app")


def clean(event: Event, hint: Hint) -> Event:
    """The event, rebuilt from what may leave the process; attachments never do."""
    hint.pop("attachments", None)
    given: Mapping[str, Any] = cast("Mapping[str, Any]", event)
    kept = picked(given, ENVELOPE)
    kept["tags"] = tags_of(given)
    kept["contexts"] = {"trace": picked(mapping(mapping(given.get("contexts")).get("trace")), TRACE)}
    if given.get("transaction"):
        kept["transaction"] = redacted(given["transaction"])
    if given.get("type") == "transaction":
        kept["spans"] = []
    errors = [exception_of(mapping(each)) for each in sequence(mapping(given.get("exception")).get("values"))]
    if errors:
        kept["exception"] = {"values": errors}
    return cast("Event", kept)


def tags_of(event: Mapping[str, Any]) -> dict[str, str]:
    """The tags, with the tenant's and the component's always among them; a forgotten tenant is counted."""
    given = mapping(event.get("tags"))
    if "tenant.id" not in given:
        metrics.EVENTS_WITHOUT_TENANT.inc()
    others = {str(name): redacted_id(value) for name, value in given.items() if name not in OWN_TAGS}
    return others | {name: str(given.get(name, MISSING)) for name in OWN_TAGS}


def exception_of(error: Mapping[str, Any]) -> dict[str, Any]:
    """One exception of a chain: its type, its redacted text, where it was raised."""
    frames = sequence(mapping(error.get("stacktrace")).get("frames"))
    return {
        **picked(error, EXCEPTION),
        "value": redacted(error.get("value")),
        "mechanism": picked(mapping(error.get("mechanism")), MECHANISM),
        "stacktrace": {"frames": [picked(mapping(frame), FRAME) for frame in frames]},
    }


def picked(given: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The named fields that are there."""
    return {name: given[name] for name in names if name in given}


def mapping(value: object) -> Mapping[str, Any]:
    """A mapping, or an empty one where the SDK gives something else or nothing."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: object) -> list[Any]:
    """A list, or an empty one where the SDK gives something else or nothing."""
    return value if isinstance(value, list) else []

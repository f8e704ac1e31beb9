"""Logs: one line of JSON (or of colour, for people) per event, with the tenant of whoever is at work and nothing private.

The standard library's loggers, which the packages below us use, end in the same lines.
"""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any

import structlog
from structlog.types import Processor

from runtime.redaction import PHONE_NUMBER, redacted, redacted_trace

SECRET_WORDS = ("secret", "token", "password", "authorization", "api_key", "body", "recipient", "transcript")
MOST_OF_A_LIBRARY = 2_000  # characters of what a package below us wants to say

# What every line of the present request or job carries. One variable with a value that is replaced, never changed: setting it is one
# step on the way of each webhook, where structlog's own context is one variable for each field.
FIELDS: ContextVar[Mapping[str, str]] = ContextVar("fields of a log line", default={})  # noqa: B039  nobody changes it


def configure_logs(style: str, component: str) -> None:
    """Set up structlog and the standard library's loggers; `style` is json or console."""

    def name_component(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.setdefault("component", component)
        return event

    first: list[Processor] = [
        add_fields,
        name_component,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Processor] = [
        tell_error,
        withhold_private,
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,  # the rich one prints local variables
        ),
    ]
    structlog.configure(
        processors=[*first, *last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*first, structlog.stdlib.add_logger_name, redact_event],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        ),
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def bind(**fields: str) -> None:
    """Put fields on every line from here on, until the request or job ends."""
    FIELDS.set({**FIELDS.get(), **fields})


def add_fields(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The fields of the present request or job, where the line has none of its own by that name."""
    for name, value in FIELDS.get().items():
        event.setdefault(name, value)
    return event


def tell_error(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put an exception's redacted trace where its object was: its own text holds row values and phone numbers."""
    given = event.pop("exc_info", None)
    error = given if isinstance(given, BaseException) else given[1] if isinstance(given, tuple) else sys.exception() if given else None
    if error is not None:
        event["exception"] = redacted_trace(error)
    event.pop("stack_info", None)
    return event


def redact_event(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """What a package below us says is free text, with exceptions printed into it."""
    event["event"] = redacted(str(event.get("event", "")), MOST_OF_A_LIBRARY)
    return event


def withhold_private(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop what a field's name or a number's form shows to be private: a second net, not a licence to log it."""
    return without_private(event)


def without_private(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields at any depth, those with a telling name withheld."""
    return {
        name: "[withheld]" if any(word in str(name).lower() for word in SECRET_WORDS) else public(value) for name, value in fields.items()
    }


def public(value: Any) -> Any:
    """A field's value without phone numbers and, inside it, without telling names."""
    if isinstance(value, str):
        return PHONE_NUMBER.sub("[number]", value)
    if isinstance(value, Mapping):
        return without_private(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [public(each) for each in value]
    return value


log: structlog.stdlib.BoundLogger = structlog.get_logger()

"""Logs: one line of JSON (or of colour, for people) per event, with the tenant of whoever is at work."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

SECRET_WORDS = ("secret", "token", "password", "authorization", "api_key", "body", "recipient", "transcript")


def configure_logs(style: str, component: str) -> None:
    """Set up structlog and the standard library's loggers; `style` is json or console."""
    renderer: Any = structlog.processors.JSONRenderer() if style == "json" else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            withhold_secrets,
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(component=component)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s", force=True)


def withhold_secrets(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop the value of any field whose name says that it is private: a second net, not a licence to log it."""
    for key in event:
        if any(word in key.lower() for word in SECRET_WORDS):
            event[key] = "[withheld]"
    return event


log: structlog.stdlib.BoundLogger = structlog.get_logger()

"""Sentry with tenant context on every event and nothing private in any.

The SDK's framework integrations parse bodies and send them; none is used. `isolated` gives each request or job a scope of
its own, and `clean` rebuilds every event from what may leave (docs.sentry.io, "data collected", Python SDK 2.x).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sentry_sdk
import structlog
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.types import Event, Hint

COLLECT: Any = {  # named field by field: what is not named is collected
    "http_bodies": [],
    "user_info": False,
    "cookies": {"mode": "off"},
    "url_query_params": {"mode": "off"},
    "http_headers": {"request": {"mode": "off"}},
    "database_query_data": False,
    "queues": False,
    "gen_ai": {"inputs": False, "outputs": False},
    "graphql": {"document": False, "variables": False},
    "stack_frame_variables": False,
}
LONG_NUMBER = re.compile(r"\+?\d[\d ().-]{6,}\d")
QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
KEPT_CONTEXTS = {"trace", "runtime", "tenant"}
UNRESOLVED = "unresolved"


@dataclass(frozen=True, slots=True)
class TenantTags:
    """What every event of a tenant's work carries."""

    id: str = UNRESOLVED
    slug: str = UNRESOLVED
    tier: str = UNRESOLVED


NOBODY = TenantTags("none", "none", "none")


def start_sentry(dsn: str, component: str, environment: str, release: str) -> None:
    """Begin reporting; without a DSN nothing is loaded and nothing leaves."""
    if not dsn:
        return
    sentry_sdk.init(
        dsn=dsn,
        environment=environment,
        release=release,
        data_collection=COLLECT,
        before_send=clean,
        before_send_transaction=clean,
        max_breadcrumbs=0,
        default_integrations=True,
        auto_enabling_integrations=False,
        integrations=[LoggingIntegration(level=None, event_level=None)],
        send_client_reports=False,
        server_name="",
    )
    sentry_sdk.get_global_scope().set_tag("component", component)


@contextmanager
def isolated(tenant: TenantTags, name: str) -> Iterator[None]:
    """A scope for one request or one job; its tenant is always set, so that it cannot inherit a neighbour's."""
    if not sentry_sdk.get_client().is_active():
        with structlog.contextvars.bound_contextvars():
            bind_logs(tenant)
            yield
        return
    with sentry_sdk.isolation_scope() as scope, structlog.contextvars.bound_contextvars():
        scope.clear()
        scope.set_transaction_name(name)
        bind_tenant(tenant)
        yield


def bind_tenant(tenant: TenantTags) -> None:
    """Name the tenant whose work this is, for events, streamed spans and logs."""
    bind_logs(tenant)
    if sentry_sdk.get_client().is_active():
        tag(**{"tenant.id": tenant.id, "tenant.slug": tenant.slug, "tenant.tier": tenant.tier})


def bind_logs(tenant: TenantTags) -> None:
    """Name the tenant on every log line from here on."""
    structlog.contextvars.bind_contextvars(**{"tenant.id": tenant.id, "tenant.slug": tenant.slug, "tenant.tier": tenant.tier})


def tag(**values: str) -> None:
    """Set tags (events) and attributes (streamed spans) of the present request or job; ids only."""
    if not sentry_sdk.get_client().is_active():
        return
    scope = sentry_sdk.get_isolation_scope()
    for key, value in values.items():
        scope.set_tag(key, value)
        scope.set_attribute(key, value)


def transaction(template: str) -> None:
    """Name the present request by its route's template, never by its path."""
    if sentry_sdk.get_client().is_active():
        sentry_sdk.get_isolation_scope().set_transaction_name(template)


def report(error: BaseException) -> None:
    """Send a bug. Refusals and passing conditions are not bugs and are not sent."""
    sentry_sdk.capture_exception(error)


def clean(event: Event, _hint: Hint) -> Event:
    """The event, rebuilt from what may leave the process."""
    request = event.pop("request", None)
    if request:
        event["request"] = {"method": request.get("method")}
    event["contexts"] = {key: value for key, value in (event.get("contexts") or {}).items() if key in KEPT_CONTEXTS}
    for key in ("extra", "user", "breadcrumbs", "modules", "logentry", "message", "server_name", "threads"):
        event.pop(key, None)  # type: ignore[misc]  # a TypedDict wants a literal
    for error in (event.get("exception") or {}).get("values", []):
        error["value"] = redacted(error.get("value"))
        for frame in (error.get("stacktrace") or {}).get("frames", []):
            for private in ("vars", "pre_context", "context_line", "post_context"):
                frame.pop(private, None)
    event["spans"] = []
    tags = event.get("tags")
    if isinstance(tags, dict):
        tags.setdefault("tenant.id", "missing")
    else:
        event["tags"] = {"tenant.id": "missing"}
    return event


def redacted(text: object) -> str:
    """An exception's text without row values, quoted values and anything that looks like a phone number."""
    if not isinstance(text, str):
        return ""
    return LONG_NUMBER.sub("[number]", QUOTED.sub("[quoted]", text.split("DETAIL:")[0].split("[parameters:")[0]))[:500]

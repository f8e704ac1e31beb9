"""Sentry with tenant context on every event and nothing private in any.

The SDK's framework integrations parse bodies and send them; none is used. `isolated` gives each request or job a scope of
its own, and `clean` rebuilds every event from what may leave (docs.sentry.io, "data collected", Python SDK 2.x).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sentry_sdk
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.excepthook import ExcepthookIntegration

from runtime import logs
from runtime.sentry_events import clean

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
    "frame_context_lines": 0,
}
OPTIONS: dict[str, Any] = {  # an upgrade of the SDK is a change of privacy: a test pins these
    "data_collection": COLLECT,
    "before_send": clean,
    "before_send_transaction": clean,
    "max_breadcrumbs": 0,
    "include_local_variables": False,
    "include_source_context": False,
    "default_integrations": False,  # they watch outgoing calls and processes, and threads inherit the tenant of who started them
    "auto_enabling_integrations": False,
    "auto_session_tracking": False,
    "enable_logs": False,
    "enable_metrics": False,
    "trace_propagation_targets": [],
    "send_client_reports": False,
    "server_name": "",
    "spotlight": False,  # else the environment could open a second way out
    "debug": False,
}
UNRESOLVED = "unresolved"


@dataclass(frozen=True, slots=True)
class TenantTags:
    """What every event of a tenant's work carries."""

    id: str = UNRESOLVED
    slug: str = UNRESOLVED
    tier: str = UNRESOLVED

    def by_name(self) -> dict[str, str]:
        """As tags, attributes and fields of a log line."""
        return {"tenant.id": self.id, "tenant.slug": self.slug, "tenant.tier": self.tier}


NOBODY = TenantTags("none", "none", "none")


@dataclass(slots=True)
class Reporting:
    """Whether this process reports: the SDK's own answer to it takes a microsecond, and each webhook asks five times."""

    on: bool = False


REPORTING = Reporting()


def start_sentry(dsn: str, component: str, environment: str, release: str) -> None:
    """Begin reporting; without a DSN nothing is loaded and nothing leaves."""
    if not dsn:
        return
    integrations = [AtexitIntegration(callback=lambda _pending, _timeout: None), DedupeIntegration(), ExcepthookIntegration()]
    sentry_sdk.init(dsn=dsn, environment=environment, release=release, integrations=integrations, **OPTIONS)
    sentry_sdk.get_global_scope().set_tag("component", component)
    REPORTING.on = True


@contextmanager
def isolated(tenant: TenantTags, name: str) -> Iterator[None]:
    """A scope for one request or one job; its tenant is always set, so that it cannot inherit a neighbour's, and ends with it."""
    before = logs.FIELDS.get()
    logs.bind(**tenant.by_name())
    try:
        if not REPORTING.on:
            yield
            return
        with sentry_sdk.isolation_scope() as scope:
            scope.clear()
            scope.set_transaction_name(name)
            tag(**tenant.by_name())
            yield
    finally:
        logs.FIELDS.set(before)  # by value: a generator may end in another context than the one it began in


def bind_tenant(tenant: TenantTags) -> None:
    """Name the tenant whose work this is, for events, streamed spans and logs."""
    logs.bind(**tenant.by_name())
    tag(**tenant.by_name())


def bind_request(request_id: str) -> None:
    """Name the request on its events and log lines: people quote it."""
    logs.bind(request_id=request_id)
    tag(**{"request.id": request_id})


def tag(**values: str) -> None:
    """Set tags (events) and attributes (streamed spans) of the present request or job; ids only."""
    if not REPORTING.on:
        return
    scope = sentry_sdk.get_isolation_scope()
    for key, value in values.items():
        scope.set_tag(key, value)
        scope.set_attribute(key, value)


def transaction(template: str) -> None:
    """Name the present request by its route's template, never by its path."""
    if REPORTING.on:
        sentry_sdk.get_isolation_scope().set_transaction_name(template)


def report(error: BaseException) -> None:
    """Send a bug. Refusals and passing conditions are not bugs and are not sent."""
    sentry_sdk.capture_exception(error)

"""What every process of ours shows of itself: logs, Sentry, metrics."""

from prometheus_client import start_http_server

from runtime.logs import configure_logs
from runtime.sentry import start_sentry
from runtime.settings import Settings
from runtime.version import VERSION


def observe(settings: Settings, component: str) -> None:
    """Begin to log and report as `component`; serve metrics on a port of their own where one is set."""
    configure_logs(settings.log_format, component)
    start_sentry(settings.sentry_dsn, component, settings.environment, VERSION)
    if settings.metrics_port:
        start_http_server(settings.metrics_port, addr=settings.host)

"""`trunkline serve`: the API in one process, any number of replicas."""

import asyncio

import uvicorn
from prometheus_client import start_http_server

from api.app import create_edge
from migrations.run import newest
from runtime.logs import configure_logs
from runtime.sentry import start_sentry
from runtime.settings import Settings
from trunkline.version import VERSION

DRAIN_SECONDS = 25


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C; requests in flight are answered first."""
    configure_logs(settings.log_format, "api")
    start_sentry(settings.sentry_dsn, "api", settings.environment, VERSION)
    if settings.metrics_port:
        start_http_server(settings.metrics_port, addr=settings.host)
    config = uvicorn.Config(
        create_edge(settings, newest()),
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        timeout_keep_alive=75,
        backlog=1024,
        lifespan="on",
    )
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(uvicorn.Server(config).serve())

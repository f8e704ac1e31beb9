"""`trunkline serve`: the API in one process, any number of replicas."""

import asyncio

import uvicorn

from api.app import create_edge
from migrations.run import newest
from runtime.settings import Settings
from trunkline.observed import observe
from trunkline.whole_answers import WholeAnswers

DRAIN_SECONDS = 25


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C; requests in flight are answered first."""
    observe(settings, "api")
    config = uvicorn.Config(
        create_edge(settings, newest()),
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=WholeAnswers,
        access_log=False,
        log_level="warning",
        server_header=False,
        date_header=False,
        proxy_headers=False,  # nobody in front of us is believed about who calls
        timeout_graceful_shutdown=DRAIN_SECONDS,
        timeout_keep_alive=75,
        backlog=1024,
        lifespan="on",
    )
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(uvicorn.Server(config).serve())

"""Health and metrics. Liveness touches nothing; readiness asks PostgreSQL, and is not lost with Redis: texts wait, webhooks are stored."""

import asyncio

from litestar import Response, get
from litestar.datastructures import State
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import text

from api.wiring import wiring_of
from runtime.refusals import Unavailable

PATIENCE_SECONDS = 2.0


@get("/health/live", tags=["Health"], summary="Is the process alive?", security=[])
async def live() -> dict[str, str]:
    """Always, while it can answer."""
    return {"status": "ok"}


@get("/health/ready", tags=["Health"], summary="Can it store a webhook?", security=[])
async def ready(state: State) -> dict[str, str]:
    """The database answers and has the schema that this code needs."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            async with wiring_of(state).database.unscoped() as connection:  # unscoped: asks which schema this is
                found = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar()
    except TimeoutError as error:
        raise Unavailable("The database does not answer.") from error
    if found != state.schema:
        raise Unavailable(f"The schema is {found}, this code needs {state.schema}; run `trunkline migrate`.")
    return {"status": "ok", "schema": found}


@get("/metrics", tags=["Health"], summary="Metrics for Prometheus", security=[], media_type=CONTENT_TYPE_LATEST)
async def metrics_page() -> Response[bytes]:
    """Counters and histograms; no label holds a tenant's data."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

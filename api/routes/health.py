"""Health and metrics. Liveness touches nothing; readiness asks PostgreSQL, and is not lost with Redis: texts wait, webhooks are stored."""

import asyncpg
from litestar import Response, get
from litestar.datastructures import State
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import text

from api.wiring import wiring_of
from runtime.database import Database
from runtime.patience import within
from runtime.refusals import Unavailable
from webhooks.body_days import days_ahead, word_for

PATIENCE_SECONDS = 2.0


@get("/health/live", tags=["Health"], summary="Is the process alive?", security=[])
async def live() -> dict[str, str]:
    """Always, while it can answer."""
    return {"status": "ok"}


@get("/health/ready", tags=["Health"], summary="Can it store a webhook?", security=[])
async def ready(state: State) -> dict[str, str]:
    """The database answers and has the schema that this code needs.

    `bodies` is "ok" or "missing days" (of kept bodies, made ahead by the worker): a webhook is stored all the same, so it stays ready.
    """
    database = wiring_of(state).database
    try:
        found = await within(PATIENCE_SECONDS, schema_of(database))
    except TimeoutError as error:
        raise Unavailable("The database does not answer.") from error
    if found is None or found < state.schema:  # a newer schema still works with the code one release back
        raise Unavailable(f"The schema is {found}, this code needs {state.schema}; run `trunkline migrate`.")
    return {"status": "ok", "schema": found, "bodies": await bodies_of(database)}


async def bodies_of(database: Database) -> str:
    """What is said of the days of kept bodies; "unknown" where the database tells it too slowly or not at all."""
    try:
        return word_for(await within(PATIENCE_SECONDS, days_ahead(database)))
    except (TimeoutError, asyncpg.PostgresError, OSError):
        return "unknown"


async def schema_of(database: Database) -> str | None:
    """The revision of the schema that is there."""
    async with database.unscoped() as connection:  # unscoped: asks which schema this is
        found: str | None = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar()
        return found


@get("/metrics", tags=["Health"], summary="Metrics for Prometheus", security=[], media_type=CONTENT_TYPE_LATEST)
async def metrics_page() -> Response[bytes]:
    """Counters and histograms; no label holds a tenant's data."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

"""`trunkline doctor`: what an installation stands on, looked at in turn; each finding says what to do. It changes nothing.

Cheap whatever the history: sizes and rows come from the catalogue, keys by tenant from the planner's statistics, times from an index.
"""

import asyncio
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import asyncpg
from sqlalchemy import text

from messaging.legal_hours import rules_of
from migrations.run import newest
from runtime.database import Database, open_database
from runtime.patience import within
from runtime.redis import RedisError, open_redis
from runtime.settings import SettingError, Settings
from trunkline.database_health import LAGS_AFTER, health_of
from webhooks.body_days import ENOUGH_DAYS, days_ahead

PATIENCE_SECONDS = 5.0
LATE = timedelta(minutes=10)  # behind its time: no worker took it
EXPECTED = ("fold_duplicates", "make_room", "release_holds", "repair_schedule", "reconcile_calls", "ask_prices", "clean_up")
TROUBLE = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)

SCHEMA = text("SELECT version_num FROM alembic_version")
DUTIES = text("""
SELECT name, last_run, last_error, next_run, app.now() - next_run > :late AND lease_until <= app.now() AS is_late
FROM control.duties ORDER BY name
""")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; `what_to_do` is empty when it is as it should be."""

    name: str
    found: str
    what_to_do: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing is to be done."""
        return not self.what_to_do


async def examine(settings: Settings) -> dict[str, Any]:
    """Everything: {ok, findings: [{name, ok, found, what_to_do}], health: {tables, keys} or null where the database cannot be asked}."""
    findings = [await redis_answers(settings), quiet_hours_rules(settings)]
    health: dict[str, Any] | None = None
    try:
        database = await within(PATIENCE_SECONDS, open_database(settings.database_url, connections=2))
    except TROUBLE as error:
        findings.insert(
            0, Finding("database", f"does not answer ({type(error).__name__})", "Start PostgreSQL, or mend TRUNKLINE_DATABASE_URL.")
        )
    else:
        try:
            findings.insert(0, Finding("database", "answers"))
            findings.append(await schema(database))
            if findings[-1].ok:
                findings += [await body_days(database), *await duties(database)]
                health = await health_of(database)
                findings += health_findings(health)
        finally:
            await database.close()
    return {"ok": all(each.ok for each in findings), "findings": [{**asdict(each), "ok": each.ok} for each in findings], "health": health}


async def redis_answers(settings: Settings) -> Finding:
    """Texts wait while it is away; webhooks are stored."""
    redis = open_redis(settings.redis_url)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await redis.ping()
    except (RedisError, OSError, TimeoutError) as error:
        return Finding(
            "redis", f"does not answer ({type(error).__name__})", "Start Redis, or mend TRUNKLINE_REDIS_URL: no text leaves meanwhile."
        )
    finally:
        await redis.aclose()
    return Finding("redis", "answers")


def quiet_hours_rules(settings: Settings) -> Finding:
    """Which rules about hours API and worker judge by, if they have these settings too."""
    try:
        rules = rules_of(settings.quiet_hours_file)
    except SettingError as error:
        return Finding("quiet hours", str(error), "Mend the file, or unset the setting: API and worker do not start with it.")
    return Finding("quiet hours", f"rules of {rules.data.as_of}, {settings.quiet_hours_file or 'as they came with this release'}")


async def schema(database: Database) -> Finding:
    """The schema is the one that this code was built with, or newer."""
    async with database.unscoped() as connection:  # unscoped: asks which schema this is
        found = (await connection.execute(SCHEMA)).scalar()
    if found is None or found < newest():
        return Finding("schema", f"revision {found}, this code needs {newest()}", "Run `trunkline migrate`.")
    return Finding("schema", f"revision {found}")


async def body_days(database: Database) -> Finding:
    """The days of kept bodies are made ahead, as readiness says too."""
    ahead = await days_ahead(database)
    if ahead >= ENOUGH_DAYS:
        return Finding("body days", f"made until {ahead - 1} days ahead")
    lost = "bodies of today are not kept" if ahead == 0 else f"made until {ahead - 1} days ahead only"
    return Finding("body days", lost, "Run `trunkline cleanup`, which makes them, and see why the worker's duty clean_up does not.")


async def duties(database: Database) -> list[Finding]:
    """Each periodic duty ran when it was due and without an error."""
    async with database.unscoped() as connection:  # unscoped: duties stand in the schema control
        rows = {row["name"]: row for row in (await connection.execute(DUTIES, {"late": LATE})).mappings()}
    return [duty_finding(name, rows.get(name)) for name in (*EXPECTED, *sorted(rows.keys() - set(EXPECTED)))]


def duty_finding(name: str, row: Any) -> Finding:
    """One duty by its row."""
    what = f"duty {name}"
    if row is None:
        return Finding(what, "no worker ever announced it", "Start `trunkline worker`.")
    last = "never ran" if row["last_run"] is None else f"last run {row['last_run']:%Y-%m-%d %H:%M:%S} UTC"
    if row["is_late"]:
        return Finding(
            what, f"{last}, due since {row['next_run']:%Y-%m-%d %H:%M:%S} UTC", "Start `trunkline worker`, or see why it is stuck."
        )
    if row["last_error"]:
        return Finding(what, f"{last}, failed with {row['last_error']}", "Look into the worker's log; it tries again by itself.")
    return Finding(what, last)


def health_findings(health: dict[str, Any]) -> list[Finding]:
    """What in the sizes and times is not as it should be."""
    found = [
        Finding(
            f"table {table['name']}",
            f"{table['dead_rows']:,} dead rows beside {table['rows_estimate']:,} live ones",
            f"Autovacuum lags: look for long transactions, then run VACUUM {table['name']}.",
        )
        for table in health["tables"]
        if table["bloated"]
    ]
    late = [tenant["slug"] for tenant in health["keys"]["by_tenant"] if tenant["lags"]]
    if late:
        hours = int(LAGS_AFTER.total_seconds() // 3600)
        found.append(
            Finding(
                "clean-up", f"keys are over for more than {hours} hours: {', '.join(late)}", "Run `trunkline cleanup`; see duty clean_up."
            )
        )
    return found

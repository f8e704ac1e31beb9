"""The doctor finds nothing wrong where nothing is, and each thing that is, with what to do; as a program too."""

import asyncio
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from migrations.run import newest
from runtime.database import Database
from runtime.settings import Settings
from tests.retention.conftest import Keys, MakeKeeper, Owner, Travel
from trunkline.dev.databases import DatabaseUrls
from trunkline.dev.ports import free_port
from trunkline.doctor import EXPECTED, examine
from trunkline.doctor_page import page
from trunkline.duties import long_duties, standing_duties

HOUSE = Path(__file__).parents[2]
WELL = """
INSERT INTO control.duties (name, next_run, last_run) SELECT name, app.now() + interval '1 h', app.now() FROM unnest($1::text[]) AS name"""


@pytest.fixture
def settings(own_urls: DatabaseUrls, redis_url: str) -> Settings:
    return Settings(database_url=own_urls.app_url, redis_url=redis_url, environment="test")


@pytest.fixture(autouse=True)
async def well(owner: Owner) -> None:
    """Every duty ran just now."""
    await owner.execute("DELETE FROM control.duties")
    await owner.execute(WELL, list(EXPECTED))


def wrong(result: dict[str, Any]) -> dict[str, str]:
    """What is wrong and what to do, by name."""
    assert result["ok"] is all(each["ok"] for each in result["findings"])
    assert "Something is wrong" in page(result) if not result["ok"] else "Nothing is wrong." in page(result)
    return {each["name"]: each["what_to_do"] for each in result["findings"] if not each["ok"]}


async def test_nothing_is_wrong(settings: Settings, keys: Keys, make_keeper: MakeKeeper, owner: Owner) -> None:
    few, many = await make_keeper(), await make_keeper()
    first, last = datetime.now(UTC) - timedelta(hours=60), datetime.now(UTC) - timedelta(hours=1)
    for tenant, count in ((few, 3), (many, 40)):
        for number in range(count):
            await keys.put(tenant, first + (last - first) * number / (count - 1), id_at=first + (last - first) * number / (count - 1))
    await owner.execute("ANALYZE processed_webhooks")
    result = await examine(settings)
    assert (wrong(result), result["ok"]) == ({}, True)
    listed = {each["tenant_id"]: each for each in result["health"]["keys"]["by_tenant"]}
    assert (listed[str(many)]["keys_estimate"], listed[str(few)]["keys_estimate"]) == (40, 3)
    assert list(listed) == [str(many), str(few)]
    assert listed[str(many)]["oldest"] == first.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert result["health"]["keys"]["newest"] == last.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    table = next(each for each in result["health"]["tables"] if each["name"] == "processed_webhooks")
    assert table["bytes"] > 8_192
    assert table["rows_estimate"] == 43
    assert result["health"]["bodies"]["days"] == 24
    assert not any(each["name"].startswith("webhook_bodies") for each in result["health"]["tables"])


async def test_what_cannot_be_reached(own_urls: DatabaseUrls) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    gone = Settings(database_url=f"postgresql://a:b@{nowhere}/c", redis_url=f"redis://{nowhere}/0", environment="test")
    result = await examine(gone)
    assert set(wrong(result)) == {"database", "redis"}
    assert "TRUNKLINE_DATABASE_URL" in wrong(result)["database"]
    assert result["health"] is None
    assert set(wrong(await examine(Settings(database_url=own_urls.app_url, redis_url=gone.redis_url)))) == {"redis"}


async def test_an_old_schema(settings: Settings, owner: Owner) -> None:
    await owner.execute("UPDATE alembic_version SET version_num = '0001'")
    try:
        assert wrong(await examine(settings)) == {"schema": "Run `trunkline migrate`."}
    finally:
        await owner.execute("UPDATE alembic_version SET version_num = $1", newest())


async def test_duties_that_fail_or_do_not_run(settings: Settings, owner: Owner) -> None:
    failed, late, never, missing = EXPECTED[:4]
    await owner.execute("UPDATE control.duties SET last_error = 'TimeoutError' WHERE name = $1", failed)
    await owner.execute("UPDATE control.duties SET next_run = app.now() - interval '11 minutes' WHERE name = $1", late)
    await owner.execute("UPDATE control.duties SET last_run = NULL WHERE name = $1", never)  # announced just now: it is not due yet
    await owner.execute("DELETE FROM control.duties WHERE name = $1", missing)
    found = wrong(await examine(settings))
    assert set(found) == {f"duty {failed}", f"duty {late}", f"duty {missing}"}
    assert "trunkline worker" in found[f"duty {missing}"]


async def test_missing_days_and_a_clean_up_that_lags(
    settings: Settings, owner: Owner, travel: Travel, keys: Keys, make_keeper: MakeKeeper
) -> None:
    tenant, now = await make_keeper(), datetime.now(UTC)
    await keys.put(tenant, now - timedelta(hours=72 + 23), id_at=now - timedelta(hours=200))
    assert wrong(await examine(settings)) == {}
    await travel.to(now + timedelta(hours=2))
    await owner.execute("UPDATE control.duties SET next_run = app.now()")
    assert set(wrong(await examine(settings))) == {"clean-up"}
    await travel.to(now + timedelta(days=2))
    await owner.execute("UPDATE control.duties SET next_run = app.now()")
    assert set(wrong(await examine(settings))) == {"clean-up", "body days"}


async def run(own_urls: DatabaseUrls, redis_url: str, *argv: str) -> tuple[int, str]:
    environment = {
        "TRUNKLINE_DATABASE_URL": own_urls.app_url,
        "TRUNKLINE_REDIS_URL": redis_url,
        "TRUNKLINE_ENVIRONMENT": "test",
        "PYTHONPATH": str(HOUSE),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "trunkline.cli", *argv, env=os.environ | environment, stdout=asyncio.subprocess.PIPE, cwd=HOUSE
    )
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


async def test_the_commands(own_urls: DatabaseUrls, redis_url: str, keys: Keys, make_keeper: MakeKeeper, owner: Owner) -> None:
    tenant = await make_keeper()
    await keys.put(tenant, datetime.now(UTC) - timedelta(days=30))
    code, out = await run(own_urls, redis_url, "cleanup", "--dry-run", "--json")
    planned = json.loads(out)
    assert (code, planned["dry_run"], planned["by_tenant"][str(tenant)]) == (0, True, 1)
    assert len(await keys.of(tenant)) == 1
    code, out = await run(own_urls, redis_url, "cleanup")
    assert code == 0
    assert f"tenant {tenant}" in out
    assert await keys.of(tenant) == set()
    code, out = await run(own_urls, redis_url, "doctor", "--json")
    assert (code, json.loads(out)["ok"]) == (0, True)
    await owner.execute("UPDATE control.duties SET last_error = 'RuntimeError' WHERE name = 'clean_up'")
    code, out = await run(own_urls, redis_url, "doctor")
    assert code == 1
    assert "RuntimeError" in out


def test_the_doctor_knows_every_duty(database: Database) -> None:
    assert {duty.name for duty in (*standing_duties(database, None), *long_duties(database, None, None))} == set(EXPECTED)  # type: ignore[arg-type]  # nothing runs

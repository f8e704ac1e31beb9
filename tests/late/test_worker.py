"""The duty in a worker's own process, and what a run costs when there is nothing to do."""

import asyncio
import os
import statistics
import sys

import pytest

from runtime.clock import monotonic
from runtime.crypto import new_master_key
from runtime.ids import uuid7
from sandbox.vapi import VapiSandbox
from tests.dispatch.desk import until
from tests.late.lines import BILLED, Line, MakeDuty
from trunkline.dev.databases import DatabaseUrls

PROGRAM = """
import asyncio
from runtime.logs import configure_logs
from runtime.settings import load
from trunkline.worker import work
configure_logs("json", "worker")
asyncio.run(work(load()))
"""
IDLE = 1_000


async def test_a_worker_asks_with_the_operators_key(line: Line, vapi: VapiSandbox, urls: DatabaseUrls, redis_url: str) -> None:
    await line.owner.execute("DELETE FROM control.duties")
    await line.tool_call("call-1")
    line.told("call-1", "the-operators")
    environment = {
        "TRUNKLINE_DATABASE_URL": urls.app_url,
        "TRUNKLINE_REDIS_URL": redis_url,
        "TRUNKLINE_TWILIO_BASE_URL": "http://127.0.0.1:9",
        "TRUNKLINE_VAPI_BASE_URL": vapi.url,
        "TRUNKLINE_VAPI_API_KEY": "the-operators",
        "TRUNKLINE_SECRET_KEYS": new_master_key("test1"),
        "TRUNKLINE_ENVIRONMENT": "test",
        "PATH": os.environ["PATH"],
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, env=environment, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        await until(lambda: billed(line), seconds=30)
        process.terminate()
        _, said = await asyncio.wait_for(process.communicate(), 10)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    assert b"a call without a report is settled" in said
    assert str(line.tenant).encode() in said
    assert b"the-operators" not in said


async def billed(line: Line) -> bool:
    return await line.usage() == BILLED


async def test_what_a_run_costs_with_a_thousand_idle_tenants(line: Line, make_duty: MakeDuty, capsys: pytest.CaptureFixture[str]) -> None:
    """Measured and printed, not asserted: but an idle tenant is not written to."""
    await line.owner.execute(
        "INSERT INTO control.tenants (id, slug, name, timezone, plan) SELECT t, 'idle-' || t, 'Idle', 'UTC', 'standard'"
        " FROM unnest($1::uuid[]) AS t",
        [uuid7() for _ in range(IDLE)],
    )
    duty, taken = make_duty(), []
    await duty.reconcile()
    for _ in range(7):
        began = monotonic()
        assert await duty.reconcile() == 0
        taken.append(monotonic() - began)
    tenants = await line.owner.fetchval("SELECT count(*) FROM control.tenants")
    for table in ("calls", "control.call_watch"):
        written = f"SELECT count(*) FROM {table} JOIN control.tenants AS t ON t.id = tenant_id WHERE t.slug LIKE 'idle-%'"
        assert await line.owner.fetchval(written) == 0
    with capsys.disabled():
        sys.stdout.write(f"\na run over {tenants} idle tenants: {1000 * statistics.median(taken):.0f} ms (median of {len(taken)})\n")
    await line.owner.execute("DELETE FROM control.tenants WHERE slug LIKE 'idle-%'")

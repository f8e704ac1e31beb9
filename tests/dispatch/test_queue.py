"""`trunkline queue` and the metrics beside it tell what the outbox holds, each tenant's own."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from messaging.queue_statistics import TenantQueue, queue_totals, queues_of
from runtime.database import Database
from tests.dispatch.desk import Desk, MakeDesk, MakeDispatcher
from trunkline.dev.databases import DatabaseUrls

HOUSE = Path(__file__).parents[2]
FOLD = "SELECT app.fold_arrivals_v1(1000)"
Owner = asyncpg.Connection


async def queue_of(database: Database, desk: Desk) -> TenantQueue:
    (queue,) = await queues_of(database, {desk.tenant: desk.slug})
    return queue


async def test_a_tenants_queue_is_its_own(database: Database, desk: Desk, neighbour: Desk, owner: Owner) -> None:
    first = await desk.text(segments=2)
    await desk.text()
    await neighbour.text()
    await owner.fetch(FOLD)
    due = (await desk.message(first))["due_at"].isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert await queue_of(database, desk) == TenantQueue(desk.tenant, desk.slug, 2, 3, 0, 0, 0, due, None)
    assert (await queue_of(database, neighbour)).queued == 1
    totals = await queue_totals(database)
    assert (totals.queued_messages, totals.queued_segments, totals.held_registrations) == (3, 4, 0)


async def test_what_is_under_way_in_doubt_and_gone(
    database: Database, desk: Desk, neighbour: Desk, make_dispatcher: MakeDispatcher, owner: Owner
) -> None:
    await neighbour.text()
    for _ in range(3):
        await desk.text(segments=2)
    assert await (await make_dispatcher()).dispatch_once() == 4
    under_way, doubtful = await desk.text(), await desk.text()
    await owner.fetch(FOLD)
    await owner.execute("UPDATE messages SET status = 'sending' WHERE id = $1", under_way)
    await owner.execute("UPDATE messages SET status = 'unknown' WHERE id = $1", doubtful)
    queue = await queue_of(database, desk)
    assert (queue.sending, queue.unknown, queue.segments_left_last_hour, queue.oldest_due) == (1, 1, await desk.billed(), None)
    assert queue.segments_left_last_hour > 0
    await owner.execute("UPDATE usage_events SET occurred_at = occurred_at - interval '61 min' WHERE tenant_id = $1", desk.tenant)
    assert (await queue_of(database, desk)).segments_left_last_hour == 0
    assert (await queue_of(database, neighbour)).segments_left_last_hour == 1


async def test_a_hold_is_named_and_lateness_is_that_of_who_may_leave(database: Database, desk: Desk, neighbour: Desk, owner: Owner) -> None:
    for one in (desk, neighbour):
        await one.text()
    await owner.fetch(FOLD)
    await owner.execute("UPDATE control.schedule SET next_at = app.now() - interval '1 h'")
    await owner.execute("UPDATE control.schedule SET hold_reason = 'sending held' WHERE tenant_id = $1", desk.tenant)
    await owner.execute("UPDATE control.schedule SET next_at = app.now() - interval '5 s' WHERE tenant_id = $1", neighbour.tenant)
    assert ((await queue_of(database, desk)).held, (await queue_of(database, neighbour)).held) == ("sending held", None)
    totals = await queue_totals(database)
    assert (totals.held_registrations, 5 <= totals.late_seconds < 60) == (1, True)


async def test_nobody_ever_had_work(database: Database, desk: Desk, owner: Owner) -> None:
    await owner.execute("DELETE FROM control.schedule")
    assert await queues_of(database, {desk.tenant: desk.slug}) == []
    totals = await queue_totals(database)
    assert (totals.queued_messages, totals.queued_segments, totals.held_registrations, totals.late_seconds) == (0, 0, 0, 0.0)


async def queue_command(urls: DatabaseUrls, *argv: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    environment = os.environ | {"TRUNKLINE_DATABASE_URL": urls.app_url, "TRUNKLINE_ENVIRONMENT": "test", "PYTHONPATH": str(HOUSE)}
    command = [sys.executable, "-P", "-m", "trunkline.cli", "queue", *argv]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=pipe, stderr=pipe, cwd=HOUSE)
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_the_command_shows_the_longest_first_and_leaves_the_idle_out(urls: DatabaseUrls, make_desk: MakeDesk, owner: Owner) -> None:
    few, many, idle = [await make_desk() for _ in range(3)]
    for desk, count in ((few, 1), (many, 3)):
        for _ in range(count):
            await desk.text()
    await owner.fetch(FOLD)
    code, out, err = await queue_command(urls, "--json")
    result: dict[str, Any] = json.loads(out)
    assert (code, err, [each["slug"] for each in result["tenants"]]) == (0, "", [many.slug, few.slug])
    assert (result["total"]["queued"], result["total"]["tenants"] >= 3) == (4, True)
    code, out, _ = await queue_command(urls)
    assert (code, out.index(many.slug) < out.index(few.slug), idle.slug in out) == (0, True, False)


@pytest.mark.parametrize("words", [("--tenant",), ("--all", "--tenant")])
async def test_one_tenant_is_shown_also_when_idle(
    words: tuple[str, ...], urls: DatabaseUrls, desk: Desk, neighbour: Desk, owner: Owner
) -> None:
    for one in (desk, neighbour):
        await one.text()
    await owner.fetch(FOLD)
    await owner.execute("DELETE FROM messages")
    code, out, _ = await queue_command(urls, *words, desk.slug)
    assert (code, desk.slug in out, neighbour.slug in out, "1 tenant " in out) == (0, True, False, True)


async def test_a_slug_of_nobody_is_an_error_in_one_line(urls: DatabaseUrls) -> None:
    assert await queue_command(urls, "--tenant", "nobody") == (2, "", "There is no tenant nobody.\n")

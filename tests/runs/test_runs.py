"""Runs that somebody else's server has a part in: each once, whoever asks, and whoever dies."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import msgspec
import pytest

from runtime.database import Database, open_database
from runtime.refusals import Unavailable
from tests.api.outages import Relay
from tests.runs.conftest import DOUBTFUL, KEY, OTHER_KEY, Desk, MakeRuns, wanted, work
from trunkline.dev.databases import DatabaseUrls
from webhooks import runs as module
from webhooks.runs import CLAIM, FINISH, RENEW, Ran, Runs

FIRST = '{"result":"first"}'
LINE = f"effect:{KEY}"
SHORT = 0.6  # seconds of a lease that a test waits for


async def test_it_is_done_once_billed_once_and_replayed(desk: Desk, make_runs: MakeRuns) -> None:
    doing, twin = work(), work("second")
    assert await desk.once(make_runs(), doing) == Ran("new", FIRST)
    assert [await desk.once(make_runs(process), twin) for process in (0, 1)] == [Ran("replay", FIRST)] * 2
    assert (doing.begun, twin.begun) == (1, 0)
    row = await desk.row()
    assert (row["state"], row["answer"], row["attempt"], row["lease_until"]) == ("done", FIRST, 1, None)
    assert await desk.bill() == [LINE]


async def test_a_hundred_at_once_over_two_processes_are_one(desk: Desk, neighbour: Desk, make_runs: MakeRuns) -> None:
    both, doing = [make_runs(process) for process in (0, 1)], {id(each): work() for each in (desk, neighbour)}
    asked = [(each, runs) for _ in range(25) for each in (desk, neighbour) for runs in both]
    ran = await asyncio.gather(*(each.once(runs, doing[id(each)]) for each, runs in asked))
    assert {each.answer for each in ran} == {FIRST}
    for tenant in (desk, neighbour):
        outcomes = [each.outcome for (asker, _), each in zip(asked, ran, strict=True) if asker is tenant]
        assert (outcomes.count("new"), outcomes.count("replay")) == (1, 49)
        assert (doing[id(tenant)].begun, await tenant.bill()) == (1, [LINE])


async def test_something_else_under_the_same_key_is_a_conflict(desk: Desk, make_runs: MakeRuns) -> None:
    await desk.once(make_runs(), work())
    other = work("second")
    assert await desk.once(make_runs(), other, wanted(fingerprint="0e" * 16)) == Ran("conflict", None)
    assert (other.begun, (await desk.row())["answer"]) == (0, FIRST)


async def test_a_twin_in_another_process_waits_and_replays(desk: Desk, make_runs: MakeRuns) -> None:
    doing, twin = work(slow=True), work("second")
    first = desk.begins(make_runs(0), doing)
    await doing.started.wait()
    second = desk.begins(make_runs(1), twin)
    await asyncio.sleep(0.2)
    assert not second.done()
    doing.may_end.set()
    assert (await first, await second) == (Ran("new", FIRST), Ran("replay", FIRST))
    assert (twin.begun, await desk.bill()) == (0, [LINE])


async def test_a_twin_that_waits_too_long_is_told_to_come_again(desk: Desk, make_runs: MakeRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TWIN_SECONDS", 0.3)
    doing, twin = work(slow=True), work("second")
    first = desk.begins(make_runs(0), doing)
    await doing.started.wait()
    with pytest.raises(Unavailable):
        await desk.once(make_runs(1), twin)
    doing.may_end.set()
    assert await first == Ran("new", FIRST)
    assert (await desk.once(make_runs(1), twin), twin.begun) == (Ran("replay", FIRST), 0)


async def test_a_lease_that_is_over_is_taken_over_under_the_next_attempt(desk: Desk, make_runs: MakeRuns) -> None:
    await desk.left_by_the_dead(wanted())
    doing = work()
    assert await desk.once(make_runs(), doing) == Ran("new", FIRST)
    assert (doing.begun, (await desk.row())["attempt"], await desk.bill()) == (1, 2, [LINE])


async def test_a_lease_that_lives_is_not_taken_over(desk: Desk, make_runs: MakeRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TWIN_SECONDS", 0.3)
    await desk.left_by_the_dead(wanted())
    await desk.owner.execute("UPDATE processed_webhooks SET lease_until = app.now() + interval '9 s' WHERE tenant_id = $1", desk.tenant)
    doing = work()
    with pytest.raises(Unavailable):
        await desk.once(make_runs(), doing)
    assert (doing.begun, (await desk.row())["attempt"]) == (0, 1)


async def test_of_many_heirs_one_takes_over(desk: Desk, make_runs: MakeRuns) -> None:
    await desk.left_by_the_dead(wanted())
    doing = work()
    ran = await asyncio.gather(*(desk.once(make_runs(number % 2), doing) for number in range(30)))
    assert sorted(each.outcome for each in ran) == ["new", *["replay"] * 29]
    assert (doing.begun, (await desk.row())["attempt"], await desk.bill()) == (1, 2, [LINE])


async def test_whoever_lost_the_lease_changes_nothing_and_answers_with_what_stands(
    desk: Desk, make_runs: MakeRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEATS", 0.01)  # as if it had stopped: no beat comes in time
    zombie, heir = work("too late", slow=True), work()
    late = desk.begins(make_runs(0), zombie)
    await zombie.started.wait()
    await desk.over()
    assert await desk.once(make_runs(1), heir) == Ran("new", FIRST)
    before = await desk.row()
    zombie.may_end.set()
    assert await late == Ran("replay", FIRST)
    assert (await desk.row(), await desk.bill()) == (before, [LINE])


async def test_whoever_lost_the_lease_changes_nothing_while_the_heir_still_works(
    desk: Desk, make_runs: MakeRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEATS", 0.01)
    zombie, heir = work("too late", slow=True), work(slow=True)
    late = desk.begins(make_runs(0), zombie)
    await zombie.started.wait()
    await desk.over()
    inherits = desk.begins(make_runs(1), heir)
    await heir.started.wait()
    zombie.may_end.set()
    await asyncio.sleep(0.1)
    assert ((await desk.row())["state"], late.done()) == ("in_flight", False)
    heir.may_end.set()
    assert (await inherits, await late) == (Ran("new", FIRST), Ran("replay", FIRST))
    assert await desk.bill() == [LINE]


@pytest.mark.parametrize("wrong", ["owner", "attempt"])
async def test_the_fence_is_owner_and_attempt_together(desk: Desk, processes: list[Database], wrong: str) -> None:
    gone = await desk.left_by_the_dead(wanted(), attempt=2)
    owner, attempt = (uuid4(), 2) if wrong == "owner" else (gone, 1)
    lease, key = timedelta(seconds=9), bytes.fromhex(KEY)
    before = await desk.row()
    (renewed,) = await processes[0].call(desk.tenant, RENEW, desk.tenant, key, owner, attempt, lease)
    (finished,) = await processes[0].call(desk.tenant, FINISH, desk.tenant, key, owner, attempt, "done", FIRST, "tool_calls", None, False)
    assert (renewed[0], finished[0]) == (False, False)
    assert (await desk.row(), await desk.bill()) == (before, [])
    (finished,) = await processes[0].call(desk.tenant, FINISH, desk.tenant, key, gone, 2, "done", FIRST, "tool_calls", None, False)
    assert (finished[0], (await desk.row())["state"], await desk.bill()) == (True, "done", [LINE])


async def test_a_heartbeat_keeps_a_run_longer_than_its_lease(desk: Desk, make_runs: MakeRuns) -> None:
    doing, twin = work(slow=True), work("second")
    first = desk.begins(make_runs(0, lease=SHORT), doing)
    await doing.started.wait()
    second = desk.begins(make_runs(1, lease=SHORT), twin)
    await asyncio.sleep(3 * SHORT)
    assert ((await desk.row())["held"], second.done()) == (True, False)
    doing.may_end.set()
    assert (await first, await second) == (Ran("new", FIRST), Ran("replay", FIRST))
    assert (twin.begun, (await desk.row())["attempt"]) == (0, 1)


async def test_a_database_that_is_slow_does_not_lose_a_lease_that_lives(desk: Desk, make_runs: MakeRuns) -> None:
    """Beats and claims wait in one queue for the row: the beat that came first renews it, and whoever waits behind it sees that."""
    doing, twin = work(slow=True), work("second")
    first = desk.begins(make_runs(0, lease=SHORT), doing)
    await doing.started.wait()
    async with desk.owner.transaction():
        await desk.owner.execute("SELECT key FROM processed_webhooks WHERE tenant_id = $1 FOR UPDATE", desk.tenant)
        await asyncio.sleep(SHORT + 0.2)
        second = desk.begins(make_runs(1, lease=SHORT), twin)
        await asyncio.sleep(0.3)
    await asyncio.sleep(0.3)
    assert (twin.begun, (await desk.row())["held"]) == (0, True)
    doing.may_end.set()
    assert (await first, await second) == (Ran("new", FIRST), Ran("replay", FIRST))


async def test_a_database_that_goes_away_for_a_beat_does_not_lose_a_lease_that_lives(desk: Desk, urls: DatabaseUrls) -> None:
    async with Relay.to(urls.app_url) as relay:
        database = await open_database(relay.url)
        doing = work(slow=True)
        first = desk.begins(Runs(database, lease=2.0), doing)
        await doing.started.wait()
        await relay.cut()
        await asyncio.sleep(0.5)
        await relay.mend()
        await asyncio.sleep(1.8)  # past the first lease
        assert (await desk.row())["held"]
        doing.may_end.set()
        assert await first == Ran("new", FIRST)
        await database.close()


async def test_a_claim_whose_answer_was_lost_finds_its_own_run(desk: Desk, processes: list[Database]) -> None:
    mine, lease = uuid4(), timedelta(seconds=9)
    found = [await claim(desk, processes[0], owner, lease) for owner in (mine, mine, uuid4())]
    assert found == [("run", None, 1), ("run", None, 1), ("wait", None, 0)]


async def test_a_claim_of_the_same_thing_whose_answer_was_lost_is_still_the_same(
    desk: Desk, make_runs: MakeRuns, processes: list[Database]
) -> None:
    await desk.once(make_runs(), work(), wanted(business=b"b" * 16, business_seconds=60))
    mine, lease = uuid4(), timedelta(seconds=9)
    found = [await claim(desk, processes[0], mine, lease, OTHER_KEY, b"b" * 16) for _ in range(2)]
    assert found == [("same", FIRST, 1), ("same", FIRST, 1)]


async def claim(
    desk: Desk, database: Database, owner: object, lease: timedelta, key: str = KEY, business: bytes | None = None
) -> tuple[str, str | None, int]:
    effect = msgspec.json.encode(wanted(key).effect).decode()
    (row,) = await database.call(desk.tenant, CLAIM, desk.tenant, effect, owner, lease, business, timedelta(seconds=60), True)
    return row[0], row[1], row[2]


async def test_what_may_not_be_asked_twice_stays_in_doubt_for_good(desk: Desk, make_runs: MakeRuns) -> None:
    await desk.left_by_the_dead(wanted(repeatable=False))
    doing = work()
    for process in (0, 1):
        assert await desk.once(make_runs(process), doing, wanted(repeatable=False)) == Ran("replay", DOUBTFUL)
    assert (doing.begun, (await desk.row())["state"], await desk.bill()) == (0, "failed", [])


async def test_a_fault_of_ours_leaves_it_dead_and_it_is_run_again(desk: Desk, make_runs: MakeRuns) -> None:
    assert (await desk.once(make_runs(), work(fault=ZeroDivisionError()))).outcome == "new"
    row = await desk.row()
    assert (row["state"], row["reason"], row["lease_until"]) == ("dead", "a fault of ours: ZeroDivisionError", None)
    assert await desk.bill() == []
    doing = work()
    assert await desk.once(make_runs(1), doing) == Ran("new", FIRST)
    assert doing.turn is not None
    assert (doing.turn.attempt, doing.turn.doubtful) == (2, True)
    row = await desk.row()
    assert (row["state"], row["reason"], await desk.bill()) == ("done", None, [LINE])


async def test_after_a_fault_of_ours_what_may_not_be_asked_twice_stays_in_doubt(desk: Desk, make_runs: MakeRuns) -> None:
    await desk.once(make_runs(), work(fault=ZeroDivisionError()), wanted(repeatable=False))
    doing = work()
    assert await desk.once(make_runs(1), doing, wanted(repeatable=False)) == Ran("replay", DOUBTFUL)
    assert (doing.begun, (await desk.row())["state"], await desk.bill()) == (0, "failed", [])


@pytest.mark.parametrize("repeatable", [True, False])
async def test_what_never_reached_anybody_is_run_again(desk: Desk, make_runs: MakeRuns, *, repeatable: bool) -> None:
    await desk.once(make_runs(), work("nobody there", state="dead"), wanted(repeatable=repeatable))
    first, doing = await desk.row(), work()
    assert await desk.once(make_runs(1), doing, wanted(repeatable=repeatable)) == Ran("new", FIRST)
    assert doing.turn is not None
    assert (doing.turn.attempt, doing.turn.doubtful, first["state"]) == (2, False, "dead")


async def test_what_failed_for_good_is_replayed_and_not_billed(desk: Desk, make_runs: MakeRuns) -> None:
    doing = work(state="failed")
    assert [(await desk.once(make_runs(), doing)).outcome for _ in range(2)] == ["new", "replay"]
    assert (doing.begun, (await desk.row())["state"], await desk.bill()) == (1, "failed", [])


async def test_a_run_of_a_key_that_was_forgotten_is_no_second_line_on_the_bill(desk: Desk, make_runs: MakeRuns) -> None:
    await desk.once(make_runs(), work())
    await desk.owner.execute("DELETE FROM processed_webhooks WHERE tenant_id = $1", desk.tenant)  # as clean-up does after its time
    doing = work()
    assert await desk.once(make_runs(), doing) == Ran("new", FIRST)
    assert (doing.begun, await desk.bill()) == (1, [LINE])


async def test_whoever_asked_may_go_away(desk: Desk, make_runs: MakeRuns) -> None:
    doing = work(slow=True)
    runs = make_runs()
    first = desk.begins(runs, doing)
    await doing.started.wait()
    first.cancel()
    await asyncio.sleep(0.05)
    doing.may_end.set()
    assert (await desk.once(make_runs(1), work("second")), doing.begun) == (Ran("replay", FIRST), 1)


async def test_two_tenants_with_equal_keys_run_each(desk: Desk, neighbour: Desk, make_runs: MakeRuns) -> None:
    mine, theirs = work(), work("theirs")
    assert await desk.once(make_runs(), mine, wanted(business=b"b" * 16, business_seconds=60)) == Ran("new", FIRST)
    assert await neighbour.once(make_runs(), theirs, wanted(business=b"b" * 16, business_seconds=60)) == Ran("new", '{"result":"theirs"}')
    assert (mine.begun, theirs.begun) == (1, 1)
    assert (await desk.bill(), await neighbour.bill()) == ([LINE], [LINE])

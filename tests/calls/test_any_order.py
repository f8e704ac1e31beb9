"""Whatever messages tell of a call, in whatever order, how often, at once or in turn, its record and its bill are the same."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.crypto import Keyring, new_master_key
from runtime.database import Database
from runtime.ids import uuid7
from tenants.privacy import Privacy
from tenants.snapshot import Snapshot, TenantBook
from tests.conftest import MakeTenant
from webhooks import call_list
from webhooks.activity import NOTE, Seen, as_json
from webhooks.call_contents import Content
from webhooks.call_records import BY_ANSWER, BY_REPORT, BY_STATUS, FIELDS, Told, content_of, mark, put_together
from webhooks.calls import RANKS, CallFacts
from webhooks.claims import Claims
from webhooks.late_reports import Unreported, Verdict, record
from webhooks.modes import Mode

Owner = asyncpg.Connection
KEEPS_ALL = Privacy("encrypted", transcripts=True, summaries=True)
FIRST = datetime(2026, 3, 1, 17, tzinfo=UTC)
NOTED = "1"  # what comes many times in a call tells its assistant only, as a tool call does
moments = st.none() | st.integers(0, 3).map(lambda minutes: FIRST + timedelta(minutes=minutes))
figures = st.none() | st.integers(0, 4).map(lambda number: Decimal(number) / 4)
words = st.none() | st.sampled_from(["a", "b", "ü"])


@dataclass(frozen=True)
class Telling:
    """One message; of a kind and time, so few that many stand nearly alike."""

    who: str
    facts: CallFacts
    content: Content
    assistant: str | None
    mode: Mode


def states(who: str) -> st.SearchStrategy[str]:
    return st.sampled_from([*RANKS, "not-found", "deletion-failed"]) if who == BY_STATUS else st.just("ended")


@st.composite
def tellings(draw: st.DrawFn) -> Telling:
    who = draw(st.sampled_from([NOTED, BY_STATUS, BY_ANSWER, BY_REPORT]))
    if who == NOTED:
        return Telling(who, CallFacts("unknown"), Content(), draw(words), "enforce")
    told = who != BY_STATUS
    facts = CallFacts(
        state=draw(states(who)),
        started_at=draw(moments) if told else None,
        ended_at=draw(moments) if told else None,
        seconds=draw(figures) if told else None,
        estimated_seconds=draw(figures) if told else None,
        cost_usd=draw(figures) if told else None,
        ended_reason=draw(words),
        phone_number_id=draw(words),
        call_type=draw(words),
        said_ms=draw(st.integers(0, 2)),
    )
    content = Content(draw(words), draw(words) if told else None, draw(words) if told else None)
    return Telling(who, facts, content, draw(words), draw(st.sampled_from(list(Mode.__args__))))  # type: ignore[attr-defined]  # of a Literal


@dataclass
class Office:
    """A tenant that keeps everything, and what tells it of calls."""

    owner: Owner
    database: Database
    keyring: Keyring
    tenant: Snapshot

    async def hear(self, call_id: str, one: Telling) -> None:
        if one.who == NOTED:
            seen = Seen(FIRST, FIRST, one.assistant)
            await self.database.call(self.tenant.id, NOTE, self.tenant.id, as_json({(call_id, "model-output"): seen}))
            return
        told = self.told(one)
        if one.who == BY_ANSWER:
            await record(self.database, self.unreported(call_id), Verdict("told", told=told))
            return
        kind, key = ("end-of-call-report", call_id) if one.who == BY_REPORT else ("status-update", f"{call_id} {one.facts.state}")
        await Claims(self.database).record_call(
            self.tenant.id, uuid7(), kind, call_id, one.assistant, key.encode(), b"f", told, final=one.who == BY_REPORT, mode=one.mode
        )

    def told(self, one: Telling) -> Told:
        return put_together(one.who, one.facts, one.content, one.assistant, self.keyring, self.tenant)

    def unreported(self, call_id: str) -> Unreported:
        return Unreported(self.tenant.id, call_id, None, 0, FIRST, timedelta(0))

    async def shown(self, call_id: str) -> dict[str, Any]:
        async with self.database.tenant_scope(self.tenant.id) as connection:
            row = await call_list.call(connection, self.tenant.id, call_id, self.tenant.privacy)
            content = await content_of(connection, self.keyring, self.tenant.id, row)
        fields = {name: row[name] for name in (*FIELDS, "assistant_id", "state", "reported_by")}
        return fields | {name: content[name] for name in ("customer", "transcript", "summary", "unreadable")}

    async def bill(self, call_id: str) -> dict[str, tuple[int, Decimal]]:
        """By meter: how many first lines, and what all lines sum up to."""
        rows = await self.owner.fetch(
            "SELECT meter, count(*) FILTER (WHERE source_id = 'call:' || $2) AS first, sum(quantity) AS quantity FROM usage_events"
            " WHERE tenant_id = $1 AND (source_id = 'call:' || $2 OR source_id LIKE 'call-correction:%:' || $2) GROUP BY meter",
            self.tenant.id, call_id,
        )  # fmt: skip
        return {row["meter"]: (row["first"], row["quantity"]) for row in rows}


@pytest.fixture
async def office(owner: Owner, database: Database, make_tenant: MakeTenant) -> Office:
    tenant = await make_tenant()
    await owner.execute(
        """UPDATE control.tenants SET privacy = '{"customer": "encrypted", "transcripts": true, "summaries": true}' WHERE id = $1""", tenant
    )
    snapshot = await TenantBook(database).by_id(tenant)
    assert snapshot is not None
    assert snapshot.privacy == KEEPS_ALL
    return Office(owner, database, Keyring.parse(new_master_key("calls1")), snapshot)


def expected(told: Sequence[Telling], keyring: Keyring) -> dict[str, Any]:
    """The rule, written down a second time: of every field what the message of the highest standing that tells it says."""

    def standing(one: Telling) -> tuple[str, int, str]:
        if one.who == NOTED:
            return one.who, 0, one.assistant or ""
        return one.who, one.facts.said_ms, mark(one.facts, one.content, one.assistant, keyring)

    def best(value: Any) -> Any:
        those = [one for one in told if value(one) is not None]
        return value(max(those, key=standing)) if those else None

    record = {name: best(lambda one, name=name: getattr(one.facts, name)) for name in FIELDS}
    record |= {name: best(lambda one, name=name: getattr(one.content, name)) for name in ("customer", "transcript", "summary")}
    kinds = {one.who for one in told}
    return record | {
        "assistant_id": best(lambda one: one.assistant),
        "state": max((one for one in told if one.who != NOTED), key=lambda one: (one.facts.rank, standing(one))).facts.state,
        "reported_by": "report" if BY_REPORT in kinds else "vapi" if BY_ANSWER in kinds else None,
        "unreadable": [],
    }


def expected_bill(record: dict[str, Any]) -> dict[str, tuple[int, Decimal]]:
    """As the record has it, once."""
    if record["reported_by"] is None:
        return {}
    lines = {"calls": Decimal(1), "call_seconds": record["seconds"], "vapi_cost_usd": record["cost_usd"]}
    return {meter: (1, quantity) for meter, quantity in lines.items() if quantity is not None}


OPENING = Telling(BY_STATUS, CallFacts("queued"), Content(), None, "enforce")  # Vapi is asked only about calls that are known


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=st.lists(tellings(), max_size=10), data=st.data())
async def test_a_call_is_what_its_messages_tell_in_any_order(office: Office, told: list[Telling], data: st.DataObject) -> None:
    call_id = str(uuid4())
    again = data.draw(st.lists(st.sampled_from(told), max_size=5)) if told else []
    for one in [OPENING, *data.draw(st.permutations([*told, *again]))]:
        await office.hear(call_id, one)
    wanted = expected([OPENING, *told], office.keyring)
    assert await office.shown(call_id) == wanted
    assert await office.bill(call_id) == expected_bill(wanted)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=st.lists(tellings(), min_size=2, max_size=10))
async def test_a_call_is_what_its_messages_tell_at_once(office: Office, told: list[Telling]) -> None:
    call_id = str(uuid4())
    await office.hear(call_id, OPENING)
    await asyncio.gather(*(office.hear(call_id, one) for one in [*told, *told]))
    wanted = expected([OPENING, *told], office.keyring)
    assert await office.shown(call_id) == wanted
    assert await office.bill(call_id) == expected_bill(wanted)


async def test_what_is_told_again_writes_nothing(office: Office) -> None:
    call_id, report = (
        str(uuid4()),
        Telling(BY_REPORT, CallFacts("ended", seconds=Decimal(60), said_ms=5), Content("+12025550123"), "a", "enforce"),
    )
    await office.hear(call_id, report)
    row = "SELECT xmin::text || ctid::text FROM calls WHERE tenant_id = $1 AND call_id = $2"
    before = await office.owner.fetchval(row, office.tenant.id, call_id)
    await office.hear(call_id, report)
    assert await office.owner.fetchval(row, office.tenant.id, call_id) == before


async def test_corrections_of_two_calls_are_never_one_line(office: Office) -> None:
    """An id is any text: also one that looks like a correction of another call."""
    names = ["c", "1:c", "call-correction:1:c"]
    for name in names:
        for seconds in (60, 70):
            await office.hear(
                name, Telling(BY_REPORT, CallFacts("ended", seconds=Decimal(seconds), said_ms=seconds), Content(), None, "enforce")
            )
    lines = await office.owner.fetch(
        "SELECT source_id, quantity FROM usage_events WHERE tenant_id = $1 AND meter = 'call_seconds'", office.tenant.id
    )
    firsts = {f"call:{name}": 60 for name in names}
    assert {row["source_id"]: row["quantity"] for row in lines} == firsts | {f"call-correction:1:{name}": 10 for name in names}


async def test_what_the_release_before_wrote_stands_as_the_kind_that_told_it(office: Office) -> None:
    """It writes no standings; its report is not overruled by a status, and by every later report."""
    call_id = str(uuid4())
    await office.owner.execute(
        "INSERT INTO calls (tenant_id, call_id, state, state_rank, seconds, ended_reason, reported_at, reported_by)"
        " VALUES ($1, $2, 'ended', 90, 60, 'of old', app.now(), 'report')",
        office.tenant.id, call_id,
    )  # fmt: skip
    await office.owner.execute(
        "INSERT INTO usage_events (tenant_id, meter, source_id, quantity, occurred_at)"
        " VALUES ($1, 'call_seconds', 'call:' || $2, 60, app.now())",
        office.tenant.id, call_id,
    )  # fmt: skip
    await office.hear(
        call_id, Telling(BY_STATUS, CallFacts("in-progress", ended_reason="of a status", said_ms=9), Content(), "a", "enforce")
    )
    shown = await office.shown(call_id)
    assert (shown["state"], shown["ended_reason"], shown["assistant_id"]) == ("ended", "of old", "a")
    await office.hear(call_id, Telling(BY_REPORT, CallFacts("ended", seconds=Decimal(61)), Content(), None, "enforce"))
    assert (await office.shown(call_id))["seconds"] == 61
    assert (await office.bill(call_id))["call_seconds"] == (1, 61)

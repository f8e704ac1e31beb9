"""In whatever order statuses, tool calls, reports, answers, deaths and given-up looks come, a call is billed as its record has it."""

import asyncio
from datetime import timedelta
from itertools import count

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.late.lines import Line, MakeDuty
from webhooks import late_reports
from webhooks.late_reports import Rules

STEPS = st.lists(st.sampled_from(["status", "tool call", "report", "answer", "late answer", "absent", "give up", "new key"]), max_size=10)
numbers = count()


class Story:
    """One call; whatever takes no time in the story is due at once."""

    def __init__(self, line: Line, make_duty: MakeDuty) -> None:
        self.line = line
        self.duty = make_duty()
        self.name = f"call-{next(numbers)}"
        self.told: set[str] = set()  # who told how it ended

    async def take(self, step: str) -> None:
        line = self.line
        if step == "status":
            await line.heard(self.name)
        elif step == "tool call":
            await line.tool_call(self.name, ago=timedelta(hours=3))
        elif step == "report":
            await line.reported(self.name, cost=0.25)
            self.told.add("report")
        elif step == "new key":
            await line.takes_key("key-of-the-tenant-1")
        else:
            await self.ask(step)

    async def ask(self, step: str) -> None:
        """A worker asks; with `late answer` another one has asked meanwhile, too."""
        line, key = self.line, ("", self.name)
        await late_reports.note_calls(line.database, Rules())
        await line.due_again()
        line.vapi.calls.pop(key, None)
        if step in ("answer", "late answer"):
            line.told(self.name, cost=0.5)
        if step == "late answer":
            taken, _ = await late_reports.take(line.database, line.tenant, Rules())
            await line.due_again()
            await asyncio.gather(self.duty.reconcile(), self.duty._settle(line.tenant, taken, end=float("inf")))
        else:
            for _ in range(2 if step == "give up" else 1):
                await self.duty.reconcile()
                await line.due_again()
        found = await line.owner.fetchrow(
            "SELECT c.reported_by FROM calls AS c WHERE tenant_id = $1 AND call_id = $2", line.tenant, self.name
        )
        if found is not None and found["reported_by"] == "vapi":
            self.told.add("vapi")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_any_order_is_one_call_and_one_bill(line: Line, make_duty: MakeDuty, steps: list[str]) -> None:
    await line.takes_key("key-of-the-tenant-1")
    story = Story(line, make_duty)
    for step in steps:
        await story.take(step)
    bill = await line.owner.fetch(
        "SELECT meter, sum(quantity) AS quantity, count(*) FILTER (WHERE source_id = $2) AS first FROM usage_events"
        " WHERE tenant_id = $1 AND position($3 IN source_id) > 0 GROUP BY meter",
        line.tenant, f"call:{story.name}", story.name,
    )  # fmt: skip
    assert all(row["first"] == 1 for row in bill)
    if not story.told:
        assert bill == []
        return
    who = "report" if "report" in story.told else "vapi"
    cost = 0.25 if who == "report" else 0.5
    assert {row["meter"]: float(row["quantity"]) for row in bill} == {"calls": 1.0, "call_seconds": 58.72, "vapi_cost_usd": cost}
    call = await line.call(story.name)
    assert (call["reported_by"], call["state"], float(call["seconds"]), float(call["cost_usd"])) == (who, "ended", 58.72, cost)

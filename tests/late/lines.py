"""A tenant with calls, as the tests of this folder see it, and what Vapi knows of them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec

from runtime.crypto import Keyring
from runtime.database import Database
from runtime.ids import TenantId
from sandbox.vapi import VapiSandbox
from sandbox.vapi.bodies import end_of_call_report
from sandbox.vapi.server import organisation_of
from tenants import vapi_accounts
from tenants.snapshot import TenantBook
from webhooks.call_contents import Content
from webhooks.call_records import BY_REPORT, BY_STATUS, put_together
from webhooks.calls import CallFacts, report_facts, status_facts
from webhooks.late_calls import LateCalls
from webhooks.late_reports import ask_again

Owner = asyncpg.Connection
ENDED = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=3)
BILLED = {"calls": (1, 1.0), "call_seconds": (1, 58.72), "vapi_cost_usd": (1, 0.0691)}
RECORD = "SELECT outcome FROM app.record_call_v3($1, $2, $3, $4, $5, $6, $7, '{}', $8, 'enforce', $9, $10, $11)"


def ended_call(assistant: str | None = None, **more: Any) -> dict[str, Any]:
    """What Vapi says of a call that has ended: a report's figures, at the top level."""
    report = end_of_call_report("c", ended_at=ENDED)["message"]
    known = {name: report[name] for name in ("startedAt", "endedAt", "endedReason", "cost", "costBreakdown", "costs")}
    return {"status": "ended", "type": "inboundPhoneCall", "assistantId": assistant, **known, **more}


@dataclass(frozen=True)
class Line:
    """A tenant with an assistant of its own."""

    owner: Owner
    database: Database
    keyring: Keyring
    vapi: VapiSandbox
    tenant: TenantId
    assistant: str

    async def heard(self, call_id: str, state: str = "ended", ago: timedelta = timedelta(hours=3), assistant: str | None = None) -> None:
        """A status update came, so long ago."""
        facts = status_facts(msgspec.json.encode({"message": {"type": "status-update", "status": state}}))
        await self._record("status-update", call_id, facts, assistant, final=False)
        await self.owner.execute(
            "UPDATE calls SET updated_at = $3, created_at = $3 WHERE tenant_id = $1 AND call_id = $2",
            self.tenant, call_id, datetime.now(UTC) - ago,
        )  # fmt: skip

    async def tool_call(
        self, call_id: str, ago: timedelta = timedelta(hours=3), source: str = "vapi", assistant: str | None = None
    ) -> UUID:
        """A tool call was stored, so long ago."""
        at = datetime.now(UTC) - ago
        webhook = UUID(int=int(at.timestamp() * 1000) << 80 | 7 << 76 | 2 << 62 | uuid4().int & (1 << 60) - 1)
        await self.owner.execute(
            "INSERT INTO processed_webhooks (tenant_id, key, fingerprint, webhook_id, place, source, type, state, call_id, answer,"
            " received_at, assistant_id) VALUES ($1, $2, 'f', $3, 0, $4, 'tool-calls', 'done', $5, '{}', $6, $7)",
            self.tenant, uuid4().bytes, webhook, source, call_id, at, assistant,
        )  # fmt: skip
        return webhook

    async def reported(self, call_id: str, **more: Any) -> str:
        """Its report came, after all."""
        body = {**end_of_call_report(call_id, ended_at=ENDED)["message"], **more}
        return await self._record("end-of-call-report", call_id, report_facts(msgspec.json.encode({"message": body})), None, final=True)

    async def _record(self, kind: str, call_id: str, facts: CallFacts, assistant: str | None, *, final: bool) -> str:
        snapshot = await TenantBook(self.database).by_id(self.tenant)
        assert snapshot is not None
        told = put_together(BY_REPORT if final else BY_STATUS, facts, Content(), assistant, self.keyring, snapshot)
        how = (final, told.standing, told.says, told.keep_days)
        values = (self.tenant, uuid4(), kind, call_id, assistant, uuid4().bytes, b"f", *how)
        outcome: str = (await self.database.call(self.tenant, RECORD, *values))[0][0]
        return outcome

    async def takes_key(self, key: str) -> None:
        """As PUT /v1/vapi does."""
        async with self.database.tenant_scope(self.tenant) as connection:
            await vapi_accounts.put_account(connection, self.keyring, self.tenant, key, "admin")
            await ask_again(connection, self.tenant)

    def told(self, call_id: str, key: str = "", **more: Any) -> None:
        """Vapi knows this of the call; with a key, only who has that one."""
        self.vapi.calls[organisation_of(key) if key else "", call_id] = {"id": call_id, **ended_call(self.assistant, **more)}

    async def registers(self, assistant: str) -> None:
        """Another assistant."""
        sql = "INSERT INTO control.assistant_routes (vapi_assistant_id, tenant_id) VALUES ($1, $2)"
        await self.owner.execute(sql, assistant, self.tenant)

    async def grows_old(self, ago: timedelta) -> None:
        """The last news of all of its calls is so old."""
        await self.owner.execute("UPDATE calls SET updated_at = $2 WHERE tenant_id = $1", self.tenant, datetime.now(UTC) - ago)

    async def due_again(self) -> None:
        """The pauses of all of its calls are over."""
        await self.owner.execute("UPDATE calls SET look_at = app.now() WHERE tenant_id = $1 AND look_at IS NOT NULL", self.tenant)

    async def call(self, call_id: str) -> dict[str, Any]:
        """The stored row."""
        row = await self.owner.fetchrow("SELECT c.* FROM calls AS c WHERE tenant_id = $1 AND call_id = $2", self.tenant, call_id)
        assert row is not None
        return dict(row)

    async def pause(self, call_id: str) -> float:
        """Minutes until the next look."""
        row = await self.call(call_id)
        return round((row["look_at"] - datetime.now(UTC)).total_seconds() / 60)

    async def usage(self) -> dict[str, tuple[int, float]]:
        """By meter: how many lines of the bill, and their sum."""
        query = "SELECT meter, count(*), sum(quantity) FROM usage_events WHERE tenant_id = $1 GROUP BY meter"
        return {row[0]: (row[1], float(row[2])) for row in await self.owner.fetch(query, self.tenant)}


MakeLine = Callable[[], Awaitable[Line]]
MakeDuty = Callable[..., LateCalls]

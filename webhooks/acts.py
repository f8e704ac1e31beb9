"""Doing what changes what is there already: one round trip that claims the key, acts, and stores the answer that says what happened."""

import asyncpg
import msgspec

from messaging.outbox import CANCELABLE
from runtime.database import Database
from runtime.ids import TenantId
from webhooks import keys
from webhooks.asked import Asked
from webhooks.claims import TOOL_CALLS, Claimed, Effect, columns_of
from webhooks.modes import Mode
from webhooks.persistence import persistently
from webhooks.prepared import Act

ACT = "SELECT outcome, answer, message_id FROM app.act_v1($1, $2, $3)"
SAME_CANCEL_SECONDS = 5.0  # within a call; the model often calls a tool twice with two ids


class Acts:
    """Acts on what a tenant has."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def act(self, tenant: TenantId, asked: Asked, effect: Effect, act: Act, mode: Mode) -> Claimed:
        """Act once, and say what happened, or what happened the first time.

        Raises:
            Unavailable: nothing was done.
        """
        wanted = as_json(tenant, asked, effect, act)

        async def once() -> Claimed:
            (row,) = await self._database.call(tenant, ACT, tenant, wanted, mode)
            if row[0] == "absent":
                raise asyncpg.SerializationError("a key ended between the claim and the look")  # claim again
            return Claimed(row[0], row[1], row[2])

        return await persistently(once)


def as_json(tenant: TenantId, asked: Asked, effect: Effect, act: Act) -> str:
    """An effect as app.act_v1 takes it; what is null is left out."""
    columns = columns_of(effect)
    says = {
        happened: {"state": "failed" if said.result is None else "done", "answer": asked.said(result=said.result, error=said.error)}
        for happened, said in act.says.items()
    }
    columns |= {
        "act": act.kind,
        "recipient": act.recipient,
        "waiting": CANCELABLE,
        "lock": keys.lock_number(act.kind, tenant, act.recipient),
        "meter": TOOL_CALLS,
        "says": says,
    }
    if asked.replay_of is None:  # an explicit wish is one of its own
        columns["same_within"] = SAME_CANCEL_SECONDS
    return msgspec.json.encode(columns).decode()

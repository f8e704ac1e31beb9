"""What Twilio's answers and callbacks teach about a sender: lowered rates, lowered concurrency, holds (app.teach_v1).

AIMD as in congestion control (Chiu and Jain 1989): halve on a signal, rise by a constant step while none comes. An answer to a create
teaches where its outcome is recorded, a callback teaches here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from messaging.faults import describe, fault
from messaging.outcomes import TOO_MANY_AT_ONCE
from runtime.clock import rfc3339
from runtime.ids import TenantId
from runtime.logs import log
from runtime.metrics import DAY_CAPS, LEARNED
from tenants.tables import learned_concurrency, learned_rates, registration_holds, senders

CIRCUIT = frozenset({"open_circuit", "stop_sender"})  # what is held for these goes on as soon as the sender is declared anew
TEACHING = CIRCUIT | {"slow_down", "hold_until_day_reset", "hold_1h", "hold_24h", "pause_sender"}
TEACH = text("""
SELECT taught, held_until FROM app.teach_v1(:tenant, :registration, :sender, :code, :action, CAST(:left_at AS timestamptz), NULL)
""")
CLOSE_CIRCUIT = text("SELECT app.close_circuit_v1(:tenant, :account, :number, :service, :campaign)")


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing of a registration leaves before `until`; `code` is Twilio's."""

    until: datetime
    reason: str
    code: int | None
    action: str

    @property
    def opens_circuit(self) -> bool:
        """Whether the sender is at fault, so that declaring it anew ends the hold."""
        return self.action in CIRCUIT

    @property
    def what_to_do(self) -> str:
        """One sentence for the tenant."""
        return describe(self.code).what_to_do


@dataclass(frozen=True, slots=True)
class Lowered:
    """What may be used now, of segments per minute or of requests at once, since `since` for Twilio's `code`."""

    now: int
    since: datetime
    code: int


def lesson(code: int | None, action: str | None) -> str | None:
    """What an answer of this code teaches, by the action of errors.json; None where it concerns one text alone."""
    if code == TOO_MANY_AT_ONCE:
        return "too_many_at_once"
    return action if action in TEACHING else None


async def learn(connection: AsyncConnection, tenant: TenantId, row: Mapping[Any, Any], code: int) -> None:
    """Learn from the error that a callback reported of a message's row; in the tenant's scope, tells what is new once."""
    action = fault(code).action
    if lesson(code, action) is None:
        return
    left_at = row["sending_at"] or row["sent_at"]  # when its request began: what was under way then belongs to the same overload
    parameters = {"registration": row["registration_id"], "sender": row["sender_id"], "code": code, "action": action, "left_at": left_at}
    taught, until = (await connection.execute(TEACH, {"tenant": tenant, **parameters})).one()
    if taught is None:
        return
    LEARNED.labels(action).inc()
    if action == "hold_until_day_reset":
        DAY_CAPS.inc()
    log.warning(
        "learned from a callback",
        taught=taught,
        code=code,
        reason=fault(code).reason,
        registration_id=str(row["registration_id"]),
        until=rfc3339(until) if until else None,
    )


async def close_circuit(
    connection: AsyncConnection, tenant: TenantId, account: str, number: str | None, service: str | None, campaign: str | None
) -> None:
    """A sender is about to be declared anew: what waits for it may leave at once. Call it first, it locks rows of the schedule."""
    named = {"account": account, "number": number, "service": service, "campaign": campaign}
    await connection.execute(CLOSE_CIRCUIT, {"tenant": tenant, **named})


async def holds(connection: AsyncConnection, tenant: TenantId) -> dict[UUID, Hold]:
    """The registrations of which nothing leaves now, in the tenant's scope."""
    held = registration_holds.c
    query = select(held.registration_id, held.held_until, held.reason, held.code, held.action)
    found = await connection.execute(query.where(held.tenant_id == tenant, held.held_until > func.app.now()))
    return {row[0]: Hold(*row[1:]) for row in found}


async def lowered_rate(connection: AsyncConnection, tenant: TenantId, registration: UUID, granted: int) -> Lowered | None:
    """The rate in segments per minute that a registration is held to, None where it may use what it was granted."""
    rates = learned_rates.c
    query = select(func.app.rate_now_v1(tenant, registration, granted), rates.lowered_at, rates.code)
    row = (await connection.execute(query.where(rates.tenant_id == tenant, rates.registration_id == registration))).one_or_none()
    return None if row is None or row[0] >= granted else Lowered(*row)


async def lowered_concurrency(connection: AsyncConnection, tenant: TenantId, sender_id: UUID) -> Lowered | None:
    """The requests that each worker may have in flight with the account of a sender, None where that is not limited."""
    account = select(senders.c.account_sid).where(senders.c.tenant_id == tenant, senders.c.id == sender_id).scalar_subquery()
    learned = learned_concurrency.c
    query = select(func.app.at_once_v1(tenant, learned.account_sid), learned.lowered_at, learned.code)
    row = (await connection.execute(query.where(learned.tenant_id == tenant, learned.account_sid == account))).one_or_none()
    return None if row is None or row[0] is None else Lowered(*row)

"""Calls whose report never came: which they are, what asking Vapi about one means, and how that is kept."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime import clock
from runtime.database import Database
from runtime.ids import TenantId
from webhooks.call_records import Told

NOTE = "SELECT following, noted FROM app.note_calls_v2($1, $2, $3, $4, $5)"
TAKE = """
SELECT tenant_id, call_id, assistant_id, looks, claimed_until, quiet FROM app.take_unreported_calls_v1($1, $2, $3, $4, $5, $6, $7)
"""
RECORD = "SELECT app.record_late_call_v2($1, $2, $3, $4, $5, $6, $7, $8)"
ASK_AGAIN = text("SELECT app.ask_again_v1(:tenant, :since)")

START = UUID(int=0)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
PAUSES = (5 * MINUTE, 15 * MINUTE, HOUR, 6 * HOUR, 24 * HOUR)  # after the first, second, … look that told nothing
PATIENCE = 7 * DAY  # for a service that is away or a key that is missing; then the call is given up
WITHOUT_KEY = HOUR  # until a key is looked for again; a new one is used at once
HORIZON = 14 * DAY  # older calls are neither noted nor asked about again

Seen = Literal["ended", "open", "nonsense", "absent", "foreign", "refused", "later", "unopened", "keyless"]
UNANSWERED = ("refused", "later", "unopened", "keyless")  # nobody could be asked, or nobody spoke


@dataclass(frozen=True, slots=True)
class Rules:
    """How many at once, how patiently. `lag`: how old a webhook is before its call is noted; an id is made before its row is committed."""

    tenants: int = 500  # in one round trip
    effects: int = 5_000  # of a tenant, walked in one run; and about as many in one round trip
    each: int = 16  # calls of a tenant, taken at once
    most: int = 64
    together: int = 8  # tenants asked for at once; one tenant's calls are asked about in turn
    seconds: float = 60.0  # no question is begun later in a run: a duty has a lease of 120 s
    lag: timedelta = 5 * MINUTE
    ended: timedelta = 5 * MINUTE  # reports come within seconds; Vapi's figures are final by then
    open: timedelta = 2 * HOUR
    claim: timedelta = 5 * MINUTE  # longer than a run


@dataclass(frozen=True, slots=True)
class Unreported:
    """A call that is claimed for one look. `quiet`: since its last news."""

    tenant: TenantId
    call_id: str
    assistant_id: str | None
    looks: int
    claimed_until: datetime
    quiet: timedelta


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a look means, as app.record_late_call_v2 takes it; `pause` until the next look, `told` with the word told."""

    word: Literal["told", "again", "later", "nobody"]
    pause: timedelta | None = None
    told: Told | None = None


def verdict(seen: Seen, one: Unreported, wait: float = 0.0) -> Verdict:
    """What follows from a look that did not find the end of the call.

    Who could not be asked is asked later, for a week. A look that told nothing is followed by others, after growing pauses; a call that
    Vapi does not know is asked about twice. Another's call is one that Vapi does not know: nothing else may show.
    """
    if seen in UNANSWERED:
        if one.quiet >= PATIENCE:
            return Verdict("nobody")
        return Verdict("later", max(PAUSES[0], timedelta(seconds=wait)) if seen == "later" else WITHOUT_KEY)
    looks = 1 if seen in ("absent", "foreign") else len(PAUSES)
    return Verdict("again", PAUSES[one.looks]) if one.looks < looks else Verdict("nobody")


async def note_calls(database: Database, rules: Rules) -> int:
    """Find the calls that only tool calls spoke of, of every tenant; gives how many. What half a run's time is too short for is left."""
    first: UUID | None = START
    total, end = 0, clock.monotonic() + rules.seconds / 2
    while first is not None and clock.monotonic() < end:
        found = await database.call_for_many(NOTE, first, rules.tenants, rules.effects, rules.lag, HORIZON)
        first, total = found[0]["following"], total + found[0]["noted"]
    return total


async def take(database: Database, first: UUID, rules: Rules) -> tuple[list[Unreported], UUID | None]:
    """Claim calls of the tenants from `first` on; gives them with the tenant to go on with, None when the round is over."""
    *rows, last = await database.call_for_many(TAKE, first, rules.tenants, rules.each, rules.most, rules.ended, rules.open, rules.claim)
    return [Unreported(TenantId(row["tenant_id"]), *list(row.values())[1:]) for row in rows], last["tenant_id"]


async def record(database: Database, one: Unreported, found: Verdict) -> bool:
    """Keep what a look meant; False when the call was settled meanwhile, or is somebody else's to look at by now."""
    told = found.told
    says = (None, None, None) if told is None else (told.standing, told.says, told.keep_days)
    values = (one.tenant, one.call_id, one.claimed_until, found.word, found.pause, *says)
    changed: bool = (await database.call(one.tenant, RECORD, *values))[0][0]
    return changed


async def ask_again(connection: AsyncConnection, tenant: TenantId) -> int:
    """The tenant has another key: ask again about what could not be asked, or was asked in vain; gives how many calls."""
    found: int = (await connection.execute(ASK_AGAIN, {"tenant": tenant, "since": HORIZON})).scalar_one()
    return found

"""The duty that asks Vapi about calls whose report never came.

A call's id comes from a body that a tenant posted, so it may be somebody else's. With its own key a tenant learns only what its own
account knows. The operator's key sees every call of the operator's account: its answer counts only where the call's assistant is
registered for this tenant and for nobody else.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from runtime import clock, metrics, sentry
from runtime.crypto import Keyring, SealBroken
from runtime.database import Database, passing_condition
from runtime.ids import TenantId
from runtime.logs import log
from runtime.refusals import Invalid
from tenants.assistants import owners_of
from tenants.snapshot import TenantBook
from tenants.vapi_accounts import VapiKeys
from webhooks.call_contents import content_of_answer
from webhooks.call_records import BY_ANSWER, Told, told_by
from webhooks.calls import answer_facts
from webhooks.envelope import CALL, identifier, number_in, reread, text_in
from webhooks.late_reports import START, UNANSWERED, Rules, Seen, Unreported, Verdict, note_calls, record, take, verdict
from webhooks.vapi_client import VapiClient

UNSEEN: dict[str, Seen] = {"absent": "absent", "refused": "refused", "later": "later"}


@dataclass(frozen=True, slots=True)
class Key:
    """Whose key asks."""

    secret: str = field(repr=False)
    own: bool


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of one call; `told` of one that has ended."""

    seen: Seen
    wait: float = 0.0
    told: Told | None = None

    def verdict(self, one: Unreported) -> Verdict:
        """What follows from it."""
        if self.seen == "ended":
            return Verdict("told", told=self.told)
        return verdict(self.seen, one, self.wait)


class LateCalls:
    """One worker's part in it. `operator_key` may be empty."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        vapi: VapiClient,
        keys: VapiKeys,
        tenants: TenantBook,
        operator_key: str,
        rules: Rules | None = None,
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._vapi = vapi
        self._keys = keys
        self._tenants = tenants
        self._operator_key = operator_key
        self._rules = rules or Rules()
        self._together = asyncio.Semaphore(self._rules.together)
        self._first = START  # where the next run goes on: one that had no time for all must not favour the same tenants again

    async def reconcile(self) -> int:
        """Note what nobody noted, then ask about what is due, in rounds while Vapi answers and time lasts; gives how many."""
        end = clock.monotonic() + self._rules.seconds
        metrics.CALLS_NOTED.inc(await note_calls(self._database, self._rules))
        total = told = 0
        while clock.monotonic() < end:
            taken, following = await take(self._database, self._first, self._rules)
            told += await self._ask_for_all(taken, end)
            total += len(taken)
            self._first = following or START
            if following is None:
                if not told:
                    break
                told = 0
        return total

    async def _ask_for_all(self, taken: Sequence[Unreported], end: float) -> int:
        """Tenants side by side; each is heard to its end before a fault is raised. Gives how often Vapi answered."""
        by_tenant = [(TenantId(tenant), list(calls)) for tenant, calls in groupby(taken, lambda one: one.tenant)]
        ended = await asyncio.gather(*(self._ask_for(tenant, calls, end) for tenant, calls in by_tenant), return_exceptions=True)
        for each in ended:
            if isinstance(each, BaseException):
                raise each
        return sum(each for each in ended if isinstance(each, int))

    async def _ask_for(self, tenant: TenantId, calls: Sequence[Unreported], end: float) -> int:
        """One tenant's calls; what a fault leaves is claimed again when the claim ends."""
        async with self._together:
            snapshot = await self._tenants.by_id(tenant)
            with sentry.isolated(snapshot.tags if snapshot else sentry.TenantTags(str(tenant)), "reconcile calls"):
                try:
                    return await self._settle(tenant, calls, end)
                except Exception as error:  # noqa: BLE001  one tenant's trouble must not end the others' looks
                    log.warning("calls without a report were not settled", calls=len(calls), error=type(error).__name__)
                    if passing_condition(error) is None:
                        sentry.report(error)
                    return 0

    async def _settle(self, tenant: TenantId, calls: Sequence[Unreported], end: float) -> int:
        """In turn, since they share a key. A key that does not serve is not tried with the next call. Gives how often Vapi answered."""
        told = 0
        key: Key | None = None
        met: Look | None = None
        try:
            key = await self._key_of(tenant)
        except SealBroken:
            met = Look("unopened")
        for one in calls:
            if met is None and clock.monotonic() >= end:
                break
            look = met or await self._look_with_both(one, key)
            await self._keep(one, look)
            told += look.seen not in UNANSWERED
            if look.seen == "refused" or look.wait:
                met = look
            elif look.seen == "later":
                break  # the others' claims end before this one's pause, so that one call Vapi chokes on does not hold them up
        return told

    async def _key_of(self, tenant: TenantId) -> Key | None:
        own = await self._keys.key(tenant)
        if own is not None:
            return Key(own, own=True)
        return Key(self._operator_key, own=False) if self._operator_key else None

    async def _look_with_both(self, one: Unreported, key: Key | None) -> Look:
        """The tenant's account may not know a call of an assistant that lives in the operator's: then that one is asked, as for others."""
        look = await self._look(one, key)
        if look.seen == "absent" and key is not None and key.own and self._operator_key:
            other = await self._look(one, Key(self._operator_key, own=False))
            return other if other.seen in ("ended", "open") else look
        return look

    async def _look(self, one: Unreported, key: Key | None) -> Look:
        """Ask, holding no connection; what the operator's key shows of another's call is not seen."""
        if key is None or not (key.own or one.assistant_id is None or await self._ours_alone(one.tenant, one.assistant_id)):
            return Look("keyless")
        asked = await self._vapi.call(one.call_id, key.secret)
        if asked.reason:
            log.info("asking Vapi about a call told nothing", reason=asked.reason)
        if asked.word != "found":
            return Look(UNSEEN.get(asked.word, "nonsense"), asked.wait)
        try:
            return await self._seen(one, key, asked.body)
        except Invalid:
            return Look("nonsense")

    async def _seen(self, one: Unreported, key: Key, body: bytes) -> Look:
        """What an answer of Vapi shows.

        Raises:
            Invalid: it cannot be read.
        """
        answer, facts = reread(CALL, body), answer_facts(body)
        assistant = identifier("assistantId", text_in(answer.assistant_id))
        if text_in(answer.id) != one.call_id:
            return Look("nonsense")
        if not key.own and not await self._ours_alone(one.tenant, assistant):
            return Look("foreign")
        if facts is None:
            return Look("open")
        tenant = await self._tenants.by_id(one.tenant)
        if tenant is None:
            return Look("keyless")  # it was closed a moment ago
        content = content_of_answer(body, number_in(answer.customer), tenant.privacy)
        return Look("ended", told=await told_by(BY_ANSWER, facts, content, assistant, self._keyring, tenant))

    async def _ours_alone(self, tenant: TenantId, assistant_id: str | None) -> bool:
        """Whether an assistant is registered for this tenant and for nobody else; a transient one is for nobody."""
        if assistant_id is None:
            return False
        async with self._database.unscoped() as connection:  # unscoped: assistants' owners stand in the schema control
            return await owners_of(connection, assistant_id) == {tenant}

    async def _keep(self, one: Unreported, look: Look) -> None:
        found = look.verdict(one)
        changed = await record(self._database, one, found)
        metrics.LATE_CALLS.labels("nobody" if found.word == "nobody" else look.seen).inc()
        if changed and found.word in ("told", "nobody"):
            log.info("a call without a report is settled", word=found.word, seen=look.seen, looks=one.looks + 1)

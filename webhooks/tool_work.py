"""Doing tool calls, each once: ours together in one round trip, the tenant's own each under a lease."""

import asyncio
from collections.abc import Callable, Sequence

from messaging import text_policy
from messaging.wake import WakeHint
from runtime import clock, metrics, sentry
from runtime.database import passing_condition
from runtime.ids import TenantId, uuid7
from runtime.logs import log
from tenants.snapshot import Snapshot
from webhooks import answers, keys
from webhooks.acts import Acts
from webhooks.asked import Asked, storable
from webhooks.claims import TOOL_CALLS, Claimed, Claims, Effect, TextLimits
from webhooks.duplicates import DuplicateCounter
from webhooks.modes import ENFORCE, Mode
from webhooks.own_tools import OwnTools
from webhooks.prepared import Act, Prepared
from webhooks.tools import OPTED_OUT, SAME_TEXT, SAME_TEXT_SECONDS, TIMED, prepare

Longer = Callable[[float], None]


class ToolWork:
    """What a process needs to do tool calls."""

    def __init__(self, claims: Claims, acts: Acts, own: OwnTools, wake: WakeHint, duplicates: DuplicateCounter) -> None:
        self._claims = claims
        self._acts = acts
        self._own = own
        self._wake = wake
        self._duplicates = duplicates

    async def do(self, tenant: Snapshot, asked: Sequence[Asked], mode: Mode, longer: Longer) -> list[Claimed]:
        """Do the calls of one delivery; what became of each, in their order, with the entry that answers it.

        `longer` is told by how many seconds at most the answer may take, where somebody else's server is asked.

        Raises:
            Unavailable: not all of it was stored; a repetition does the rest.
        """
        own = [place for place, each in enumerate(asked) if self.is_own(tenant, each)]
        if not own:  # as most deliveries are: no task for it
            claimed = await self._do_ours(tenant, asked, mode)
            return [answered(each, found) for each, found in zip(asked, claimed, strict=True)]
        longer(self._own.longest(tenant, [asked[place].tool.name for place in own]))
        return await self._do_both(tenant, asked, own, mode)

    async def _do_both(self, tenant: Snapshot, asked: Sequence[Asked], own: list[int], mode: Mode) -> list[Claimed]:
        """Ours in one round trip, and meanwhile the tenant's own, each under its lease."""
        ours = [place for place in range(len(asked)) if place not in own]
        found_ours, found_own = await asyncio.gather(
            self._do_ours(tenant, [asked[place] for place in ours], mode),
            asyncio.gather(*(self._own.call(tenant, asked[place], mode) for place in own)),
        )
        claimed = dict(zip(ours, found_ours, strict=True)) | dict(zip(own, found_own, strict=True))
        for place in own:
            self._count(tenant, asked[place].key, claimed[place])
        return [answered(asked[place], claimed[place]) for place in range(len(asked))]

    async def _do_ours(self, tenant: Snapshot, asked: Sequence[Asked], mode: Mode) -> list[Claimed]:
        """What is written anew in one round trip; what acts on what is there in its turn, so that it sees what was asked before it."""
        prepared = [prepared_for(tenant, each) for each in asked]
        effects = [effect_of(tenant, each, what) for each, what in zip(asked, prepared, strict=True)]
        claimed: list[Claimed] = []
        for place, what in enumerate(prepared):
            if what.act is not None:
                claimed += await self.accept(tenant, effects[len(claimed) : place], mode)
                claimed.append(await self._act(tenant, asked[place], effects[place], what.act, mode))
        return claimed + await self.accept(tenant, effects[len(claimed) :], mode)

    async def _act(self, tenant: Snapshot, asked: Asked, effect: Effect, act: Act, mode: Mode) -> Claimed:
        claimed = await self._acts.act(tenant.id, asked, effect, act, mode)
        self._count(tenant, asked.key, claimed)
        return claimed

    async def accept(self, tenant: Snapshot, effects: list[Effect], mode: Mode = ENFORCE) -> list[Claimed]:
        """Claim effects of ours, count what came again, and wake the dispatcher for what is new.

        Raises:
            Unavailable: nothing was stored.
        """
        if not effects:
            return []
        claimed = await self._claims.accept(tenant.id, effects, mode)
        for effect, each in zip(effects, claimed, strict=True):
            self._count(tenant, bytes.fromhex(effect.key), each)
            if each.refusal is not None:
                metrics.TEXT_REFUSALS.labels(each.refusal).inc()
            if (
                effect.message is not None
                and each.message_id == effect.message["message_id"]
                and each.outcome not in ("replay", "conflict")
            ):
                tenant.note_accepted(effect.message)
                self._wake.publish()
        return claimed

    @staticmethod
    def is_own(tenant: Snapshot, asked: Asked) -> bool:
        """Whether the tenant's own server does this call."""
        runnable = tenant.status == "active" and asked.tool.fault is None and asked.tool.arguments is not None
        return runnable and asked.tool.name in tenant.tools

    def _count(self, tenant: Snapshot, key: bytes, claimed: Claimed) -> None:
        metrics.effects_ended(claimed.outcome).inc()
        if claimed.outcome in ("replay", "repeated"):
            self._duplicates.count(tenant.id, key)


def effect_of(tenant: Snapshot, asked: Asked, prepared: Prepared) -> Effect:
    """A tool call of ours as an effect: what to write and what to answer."""
    message = prepared.text.as_effect() if prepared.text else None
    same = same_text(tenant.id, asked, message) if message else None
    limited = message is not None and asked.call_id is not None
    return Effect(
        webhook_id=asked.webhook_id,
        place=asked.place,
        source="vapi",
        type=asked.type,
        call_id=asked.call_id,
        assistant_id=asked.assistant_id,
        key=asked.key.hex(),
        fingerprint=asked.fingerprint.hex(),
        answer=asked.said(result=prepared.result, error=prepared.error),
        store=prepared.final,
        state="done" if prepared.result is not None else "failed",
        name=storable(asked.tool.name),
        tool_call_id=storable(asked.tool.id) if asked.tool.id else None,
        arguments=asked.arguments.decode(),
        caller=storable(asked.caller) if asked.caller else None,
        replay_of=asked.replay_of,
        suppressed_answer=asked.said(error=OPTED_OUT) if message else None,
        duplicate_answer=asked.said(result=SAME_TEXT) if same is not None else None,
        same_within=SAME_TEXT_SECONDS if same is not None else None,
        business=same,
        meter=TOOL_CALLS if prepared.result is not None else None,
        message=message,
        counted=counted(tenant.id, asked.call_id, message) if message else None,
        limits=limits_now(tenant) if limited else None,
        call_full_answer=asked.said(error=text_policy.CALL_FULL) if limited else None,
        recipient_full_answer=asked.said(error=text_policy.RECIPIENT_FULL) if limited else None,
        refusal=prepared.refusal,
        refusal_id=uuid7() if prepared.refusal else None,
    )


def limits_now(tenant: Snapshot) -> TextLimits:
    """The limits of the tenant's policy, today."""
    policy = tenant.text_policy
    begins = text_policy.day_from(tenant.zone, clock.now())
    return TextLimits(policy.texts_per_call, policy.texts_per_recipient_day, begins, text_policy.since_id(begins))


def counted(tenant: TenantId, call_id: str | None, message: dict[str, object]) -> tuple[int, int] | None:
    """The numbers under which the texts of one call, and those of calls to one recipient, wait for each other to be counted."""
    if call_id is None:
        return None
    return keys.lock_number("texts of a call", tenant, call_id), keys.lock_number("texts to a recipient", tenant, str(message["recipient"]))


def same_text(tenant: TenantId, asked: Asked, message: dict[str, object]) -> int | None:
    """The number under which the same text in the same call meets itself; a replay that is wished for is a text of its own."""
    if asked.call_id is None or asked.replay_of is not None:
        return None
    return keys.lock_number("text", tenant, asked.call_id, str(message["recipient"]), str(message["body"]), str(message["due_at"]))


def prepared_for(tenant: Snapshot, asked: Asked) -> Prepared:
    """What the call will do: nothing for a suspended tenant, or where the webhook itself is wrong about it, or where we are at fault."""
    if tenant.status != "active":
        return Prepared(error=answers.SUSPENDED, final=False)
    if asked.tool.fault is not None:
        return Prepared(error=asked.tool.fault, final=False)
    try:
        moment = asked.moment if asked.tool.name in TIMED else None
        return prepare(tenant, asked.tool.name, asked.caller, asked.tool.arguments, call_id=asked.call_id, moment=moment)
    except Exception as error:
        if passing_condition(error) is not None:
            raise
        sentry.report(error)
        log.error("a tool failed by a fault of ours", error=type(error).__name__, exc_info=error)
        return Prepared(error=answers.NOT_NOW, final=False)


def answered(asked: Asked, claimed: Claimed) -> Claimed:
    """What became of it, with the words for an id that was used for something else."""
    if claimed.outcome == "unfinished":
        return Claimed(claimed.outcome, asked.said(error=answers.NOT_NOW), None)
    if claimed.outcome == "conflict" or claimed.answer is None:
        return Claimed(claimed.outcome, asked.said(error=answers.CONFLICT), None)
    return claimed

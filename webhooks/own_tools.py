"""Tools of the tenant's own: its server is asked under a lease, with the idempotency key, and its answer becomes one line."""

from collections.abc import Iterable

import msgspec

from runtime import clock
from runtime.ids import uuid7
from tenants.snapshot import Snapshot, ToolView
from webhooks import answers, keys
from webhooks.asked import Asked, storable
from webhooks.claims import TOOL_CALLS, Claimed, Claims, Effect
from webhooks.modes import ENFORCE, OFF, Mode
from webhooks.runs import TWIN_SECONDS, Ended, Ran, RunEffect, Runs, Turn, Wanted, Work, attempted
from webhooks.tool_answer import ToolOutcome
from webhooks.tool_http import ToolHttp
from webhooks.tool_request import ToolRequest

CALL_SECONDS = 18.0  # Vapi gives a tool call 20 s unless it is told otherwise
MARGIN_SECONDS = 1.0  # to store the answer


class OwnTools:
    """Asks the tenants' servers."""

    def __init__(self, runs: Runs, http: ToolHttp, claims: Claims) -> None:
        self._runs = runs
        self._http = http
        self._claims = claims

    @staticmethod
    def longest(tenant: Snapshot, names: Iterable[str]) -> float:
        """Seconds after which these calls are answered, one way or another: several attempts, or the wait for a twin."""
        slowest = max(tenant.tools[name].timeout_ms for name in names) / 1000
        return max(CALL_SECONDS, slowest + TWIN_SECONDS) + 2 * MARGIN_SECONDS

    async def call(self, tenant: Snapshot, asked: Asked, mode: Mode) -> Claimed:
        """Ask the tenant's server once for this call, or find what it answered.

        Raises:
            Unavailable: the same call is still being asked elsewhere, or nothing was stored.
        """
        tool, deadline = tenant.tools[asked.tool.name], clock.monotonic() + CALL_SECONDS - MARGIN_SECONDS

        async def work(turn: Turn) -> Ended:
            return ended(asked, await self._http.run(tool, request_of(tenant, asked, turn), deadline), repeatable=tool.repeatable)

        if mode == OFF:
            return Claimed("unchecked", await self._unchecked(tenant, asked, work), None)
        run = wanted(tool, asked, business_of(tool, asked) if mode == ENFORCE else None)
        ran = await self._runs.once(tenant.id, run, work, lambda answer: same_again(asked, answer))
        if mode != ENFORCE and ran.outcome in ("replay", "conflict"):
            return Claimed("repeated", await self._unchecked(tenant, asked, work), None)
        return claimed(ran)

    async def _unchecked(self, tenant: Snapshot, asked: Asked, work: Work) -> str:
        """Ask without a record of the key; what was done is on the bill all the same."""
        ended = await attempted(work, Turn(1, clock.now(), doubtful=False))
        if ended.state == "done" and ended.meter:
            key = asked.key.hex()
            line = Effect(
                webhook_id=uuid7(), place=0, source="vapi", type=asked.type, key=key, fingerprint=key, answer="{}", meter=ended.meter
            )
            await self._claims.accept(tenant.id, [line], OFF)
        return ended.answer


def wanted(tool: ToolView, asked: Asked, business: bytes | None) -> Wanted:
    """The run to claim."""
    effect = RunEffect(
        webhook_id=asked.webhook_id,
        place=asked.place,
        source="vapi",
        type=asked.type,
        key=asked.key.hex(),
        fingerprint=asked.fingerprint.hex(),
        doubtful_answer=asked.said(error=answers.UNCERTAIN),
        call_id=asked.call_id,
        assistant_id=asked.assistant_id,
        name=storable(asked.tool.name),
        tool_call_id=storable(asked.tool.id) if asked.tool.id else None,
        arguments=asked.arguments.decode(),
        caller=storable(asked.caller) if asked.caller else None,
        replay_of=asked.replay_of,
    )
    return Wanted(effect, tool.repeatable, business, tool.business_seconds)


def business_of(tool: ToolView, asked: Asked) -> bytes | None:
    """What the tool's arguments name within the call, under whatever id; None where one is missing, or a replay is wished for."""
    given, named = asked.tool.arguments or {}, tool.business_arguments
    if not named or asked.call_id is None or asked.replay_of is not None or any(name not in given for name in named):
        return None
    return keys.business_key(asked.call_id, tool.name, *(keys.stable(keys.canonical(given[name])) for name in tool.business_arguments))


def request_of(tenant: Snapshot, asked: Asked, turn: Turn) -> ToolRequest:
    """What the tenant's server is told."""
    return ToolRequest(
        tenant=tenant.id,
        zone=tenant.zone,
        idempotency_key=asked.key.hex(),
        asked_at=turn.asked_at,
        repeated=turn.doubtful,
        call_id=asked.call_id,
        tool_call_id=asked.tool.id,
        assistant_id=asked.assistant_id,
        caller=asked.caller,
        arguments=asked.tool.arguments or {},
    )


def ended(asked: Asked, outcome: ToolOutcome, *, repeatable: bool) -> Ended:
    """How the run ends. Done and refused are final; what never arrived may be run again; in doubt it depends on the tool."""
    match outcome.kind:
        case "done":
            return Ended("done", asked.said(result=outcome.text), TOOL_CALLS)
        case "refused":
            return Ended("failed", asked.said(error=outcome.text))
        case "doubtful" if not repeatable:
            return Ended("failed", asked.said(error=outcome.text), doubtful=True)
        case _:
            return Ended("dead", asked.said(error=outcome.text), reason=outcome.text, doubtful=outcome.kind == "doubtful")


def same_again(asked: Asked, answer: str) -> Ended:
    """The same thing was done under another id: its words, under this id, and no second line on the bill."""
    told = msgspec.json.decode(answer)
    return Ended("done", asked.said(result=str(told.get("result", "Done.")) if isinstance(told, dict) else "Done."))


def claimed(ran: Ran) -> Claimed:
    """A run as any other effect."""
    return Claimed(ran.outcome, ran.answer, None)

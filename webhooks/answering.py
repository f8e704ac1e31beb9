"""Messages that need an answer and have no effect of ours: answered from the tenant's configuration, or by an endpoint of its own.

What stands in memory is answered even when it cannot be recorded: somebody is on the line. An endpoint is asked under a lease, as a tool
of the tenant's own is; where it is away, slow or wrong, the safe answer of the type is given.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Literal
from uuid import UUID

import msgspec
from msgspec import Raw

from runtime import clock, metrics, sentry
from runtime.logs import log
from runtime.refusals import Refusal, Unavailable
from tenants import answerers
from tenants.answerers import AnswererView
from tenants.snapshot import Snapshot, ToolView
from webhooks import keys
from webhooks.answer_shapes import SAFE, TRANSFER, checked
from webhooks.answers import NOTHING, Answer
from webhooks.envelope import Webhook, reread
from webhooks.inbound_calls import taker
from webhooks.information import information
from webhooks.modes import ENFORCE, OFF, mode_of
from webhooks.own_tools import MARGIN_SECONDS
from webhooks.runs import TWIN_SECONDS, Ended, RunEffect, Runs, Turn, Wanted, Work, attempted
from webhooks.tool_answer import ToolOutcome
from webhooks.tool_http import ToolHttp
from webhooks.tool_request import ToolRequest
from webhooks.tool_work import Longer, ToolWork
from webhooks.transfers import transfer

RECORD_SECONDS = 2.0  # a caller is waiting
NOT_NOW = "Sorry, this call cannot be taken just now. Please try again in a moment."
REASONS = {
    "wrong": "The endpoint's answer is none that Vapi takes for this type.",
    "refused": "The endpoint refused the request.",
    "away": "The endpoint gave no answer in time.",
}


class Answering:
    """What a process needs to answer where Vapi asks."""

    def __init__(self, runs: Runs, http: ToolHttp, tools: ToolWork) -> None:
        self._runs = runs
        self._http = http
        self._tools = tools

    async def assistant(self, tenant: Snapshot, webhook: Webhook) -> Answer:
        """Who takes this call; Vapi waits at most 7.5 s, and so does the caller."""
        told = unless_broken(lambda: taker(tenant, webhook.body, clock.now()), {"error": NOT_NOW})
        answer = await self._from_memory(tenant, webhook, told)
        return Answer(answer.body, answer.replayed)

    async def asked(self, tenant: Snapshot, webhook: Webhook, longer: Longer) -> Answer:
        """The answer to any other type; `longer` is told when the tenant's endpoint has to be asked.

        Raises:
            Invalid: the body cannot be read. Unavailable: the same message is still being asked elsewhere, or nothing was stored.
        """
        answerer = tenant.answerers.get(webhook.type)
        if answerer is None or tenant.status != "active":
            return await self._from_memory(tenant, webhook, without_endpoint(tenant, webhook))
        longer(answerer.timeout_ms / 1000 + TWIN_SECONDS + 2 * MARGIN_SECONDS)
        return await self._from_endpoint(tenant, webhook, answerer)

    async def _from_memory(self, tenant: Snapshot, webhook: Webhook, told: dict[str, Any]) -> Answer:
        """Recorded once, and the recorded answer is given again; what a suspended tenant is told is not recorded, so that a retry runs."""
        answer = msgspec.json.encode(told)
        effect = msgspec.structs.replace(information(webhook, answer.decode()), store=tenant.status == "active")
        try:
            async with asyncio.timeout(RECORD_SECONDS):
                (claimed,) = await self._tools.accept(tenant, [effect], mode_of(tenant))
        except (Unavailable, TimeoutError):
            metrics.effects_ended("unrecorded").inc()
            return Answer(answer)
        key = bytes.fromhex(effect.key)
        if claimed.outcome == "replay" and claimed.answer not in (None, NOTHING.decode()):
            return Answer((claimed.answer or "").encode(), replayed=True, key=key)
        return Answer(answer, key=key, recorded=effect.webhook_id if claimed.outcome == "new" else None)

    async def _from_endpoint(self, tenant: Snapshot, webhook: Webhook, answerer: AnswererView) -> Answer:
        """Ask the tenant's endpoint once for this message, or find what it answered."""
        mode, effect = mode_of(tenant), information(webhook, NOTHING.decode())

        async def work(turn: Turn) -> Ended:
            request = request_of(tenant, webhook, effect.key, turn)
            outcome = await self._http.run(tool_of(answerer), request, clock.monotonic() + answerer.timeout_ms / 1000)
            return ended(tenant, webhook, outcome)

        if mode == OFF:
            return Answer(await unchecked(tenant, webhook, work))
        run = Wanted(run_effect(webhook, effect.webhook_id, effect.key, effect.fingerprint), repeatable=True)
        ran = await self._runs.once(tenant.id, run, work, lambda answer: Ended("done", answer))
        if mode != ENFORCE and ran.outcome == "replay":
            return Answer(await unchecked(tenant, webhook, work))
        recorded = effect.webhook_id if ran.outcome == "new" else None
        return Answer(spoken(tenant, webhook, ran.answer), ran.outcome == "replay", bytes.fromhex(effect.key), recorded)


def without_endpoint(tenant: Snapshot, webhook: Webhook) -> dict[str, Any]:
    """The directory's answer, or the safe one of the type.

    Raises:
        Invalid: the body cannot be read.
    """
    if webhook.type != TRANSFER or tenant.status != "active":
        return SAFE[webhook.type]
    return unless_broken(lambda: transfer(tenant, carried_by(webhook), clock.now()), SAFE[TRANSFER])


def unless_broken(decide: Callable[[], dict[str, Any]], otherwise: dict[str, Any]) -> dict[str, Any]:
    """What is decided; by a fault of ours, which is reported, what is said otherwise: somebody is on the line.

    Raises:
        Invalid: the body cannot be read.
    """
    try:
        return decide()
    except Refusal:
        raise
    except Exception as error:  # noqa: BLE001  whatever it is, the caller is answered
        sentry.report(error)
        log.error("an answer failed by a fault of ours", error=type(error).__name__, exc_info=error)
        return otherwise


def carried_by(webhook: Webhook) -> dict[str, Raw]:
    """What only this type carries, still undecoded: no prompt, no credential of the number, nothing of the call's history.

    Raises:
        Invalid: the body cannot be read.
    """
    fields = reread(keys.FIELDS, webhook.body).message
    return {name: fields[name] for name in sorted(fields.keys() - keys.COMMON_FIELDS)}


def tool_of(answerer: AnswererView) -> ToolView:
    """An answerer as what is asked over HTTP: a question may be asked twice."""
    return ToolView(
        name=answerer.type,
        url=answerer.url,
        method=answerer.method,
        timeout_ms=answerer.timeout_ms,
        secret_sealed=answerer.secret_sealed,
        previous_secret_sealed=answerer.previous_secret_sealed,
        repeatable=True,
        business_arguments=(),
        business_seconds=1,
        sealed_for=answerers.COLUMN,
    )


def request_of(tenant: Snapshot, webhook: Webhook, key: str, turn: Turn) -> ToolRequest:
    """What the tenant's endpoint is told."""
    return ToolRequest(
        tenant=tenant.id,
        zone=tenant.zone,
        idempotency_key=key,
        asked_at=turn.asked_at,
        arguments={},
        message=carried_by(webhook),
        repeated=turn.doubtful,
        call_id=webhook.call_id,
        assistant_id=webhook.assistant_id,
        caller=webhook.caller,
    )


def run_effect(webhook: Webhook, delivery: UUID, key: str, fingerprint: str) -> RunEffect:
    """The run to claim: no arguments are kept, since what was said to a caller is nobody's here."""
    return RunEffect(
        webhook_id=delivery,
        place=0,
        source="vapi",
        type=webhook.type,
        key=key,
        fingerprint=fingerprint,
        doubtful_answer=NOTHING.decode(),
        call_id=webhook.call_id,
        assistant_id=webhook.assistant_id,
    )


def ended(tenant: Snapshot, webhook: Webhook, outcome: ToolOutcome) -> Ended:
    """How asking ended: with an answer, with one that is none (final), or without (the next delivery asks again)."""
    if outcome.reply is not None:
        told = checked(webhook.type, outcome.reply.text, tenant)
        if told is not None:
            metrics.ANSWERS.labels(webhook.type, "given").inc()
            return Ended("done", msgspec.json.encode(told).decode())
    word = "wrong" if outcome.reply is not None else "refused" if outcome.kind == "refused" else "away"
    metrics.ANSWERS.labels(webhook.type, word).inc()
    log.warning("an answerer gave no answer, the safe one stands", type=webhook.type, outcome=word, status=outcome.status)
    state: Literal["failed", "dead"] = "dead" if word == "away" else "failed"
    return Ended(state, safe(tenant, webhook).decode(), reason=REASONS[word], doubtful=outcome.kind == "doubtful")


def safe(tenant: Snapshot, webhook: Webhook) -> bytes:
    """What is said where nobody else says anything."""
    return msgspec.json.encode(without_endpoint(tenant, webhook))


def spoken(tenant: Snapshot, webhook: Webhook, answer: str | None) -> bytes:
    """The answer that stands; an empty one, where the run failed by a fault of ours, is the safe one."""
    return safe(tenant, webhook) if answer in (None, NOTHING.decode()) else (answer or "").encode()


async def unchecked(tenant: Snapshot, webhook: Webhook, work: Work) -> bytes:
    """Ask without a record of the key."""
    return spoken(tenant, webhook, (await attempted(work, Turn(1, clock.now(), doubtful=False))).answer)

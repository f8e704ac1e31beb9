"""The way of a webhook whose sender is known (webhooks/gate.py): envelope, keys, prepare, one round trip, answer.

Order of refusals: 400, 403, 503; a tool call that is none of these is answered with 200.
"""

from collections.abc import Awaitable, Callable
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from runtime import metrics, sentry
from runtime.crypto import Keyring
from runtime.database import Database, passing_condition
from runtime.fresh import FreshCache
from runtime.ids import uuid7
from runtime.logs import log
from runtime.refusals import Forbidden, Refusal, Unprocessable
from tenants.assistants import owners_of
from tenants.snapshot import Snapshot
from webhooks import answers, keys, records
from webhooks.activity import Activity, comes_often
from webhooks.answer_shapes import SAFE
from webhooks.answering import Answering
from webhooks.answers import NOTHING, Answer
from webhooks.asked import asked_by
from webhooks.bodies import body_of
from webhooks.call_contents import content_of_report, content_of_status
from webhooks.call_records import BY_REPORT, BY_STATUS, Told, told_by
from webhooks.calls import CallFacts, report_facts, status_facts
from webhooks.claims import Claims
from webhooks.dead_letters import DeadLetters, settle
from webhooks.duplicates import DuplicateCounter
from webhooks.envelope import Webhook, read
from webhooks.information import information
from webhooks.kinds import CONTROL, is_known
from webhooks.modes import OFF, mode_of
from webhooks.tool_work import Longer, ToolWork

KEEP_ALL = "all"

Keep = Callable[[Snapshot, UUID, bytes], Awaitable[None]]


class Ingest:
    """Everything that happens to a webhook between its bytes and its answer."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        claims: Claims,
        tools: ToolWork,
        answering: Answering,
        activity: Activity,
        duplicates: DuplicateCounter,
        keep: Keep,
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._claims = claims
        self._tools = tools
        self._answering = answering
        self._activity = activity
        self._duplicates = duplicates
        self._keep = keep
        self._dead = DeadLetters(database, keep)
        self._owners: FreshCache[str, frozenset[UUID]] = FreshCache(lambda assistant: load_owners(database, assistant))

    async def handle(self, tenant: Snapshot, body: bytes, longer: Longer) -> Answer:
        """Do what a webhook asks for, once, and answer; `longer` is told when somebody else's server has to be asked.

        Raises:
            Invalid: not JSON or not an envelope. Forbidden: another tenant's assistant. Unprocessable: a type that cannot be
            served. Unavailable: nothing was stored.
        """
        webhook = read(body)
        sentry.tag(**{"webhook.type": webhook.type, "call.id": webhook.call_id or "none", "assistant.id": webhook.assistant_id or "none"})
        await self._refuse_foreign_assistant(tenant, webhook)
        try:
            answer = await self._handle(tenant, webhook, longer)
        except Exception as error:
            if isinstance(error, Refusal | TimeoutError) or passing_condition(error) is not None or webhook.type in ANSWERED:
                raise
            await self._dead.bury(tenant, webhook, error)
            return Answer(NOTHING)
        keeps = tenant.capture == KEEP_ALL or not is_known(webhook.type)
        if keeps and answer.key is not None and mode_of(tenant) != OFF:  # off leaves no record that a body could belong to
            await self._keep_body(tenant, answer, webhook.body)
        return answer

    async def _keep_body(self, tenant: Snapshot, answer: Answer, body: bytes) -> None:
        """Keep the body, also when it comes again: the process that recorded it may have died before it kept it."""
        first = answer.recorded
        try:
            if first is None:
                async with self._database.tenant_scope(tenant.id) as connection:
                    first = await records.webhook_of_key(connection, tenant.id, answer.key or b"")
                    if first is not None and await body_of(connection, tenant.id, first) is not None:
                        return
        except Exception as error:
            if passing_condition(error) is None:
                raise
            return  # what it asks for is done and stored: it is answered all the same
        if first is not None:
            await self._keep(tenant, first, body)

    async def _handle(self, tenant: Snapshot, webhook: Webhook, longer: Longer) -> Answer:
        match webhook.type:
            case "tool-calls" | "function-call":
                return await self._tool_calls(tenant, webhook, longer)
            case "end-of-call-report":
                return await self._report(tenant, webhook)
            case "status-update":
                return await self._status(tenant, webhook)
            case "assistant-request":
                return await self._answering.assistant(tenant, webhook)
            case "voice-request":
                raise Unprocessable("This service makes no speech; a 200 would be played as audio. Point voice.server elsewhere.")
            case asked if asked in SAFE:
                return await self._answering.asked(tenant, webhook, longer)
            case _:
                return await self._only_informs(tenant, webhook)

    async def _refuse_foreign_assistant(self, tenant: Snapshot, webhook: Webhook) -> None:
        if webhook.assistant_id is None or webhook.assistant_id in tenant.assistants:
            return
        owners = await self._owners.get(webhook.assistant_id)
        if owners and tenant.id not in owners:
            raise Forbidden("This assistant is not registered here.")

    async def _tool_calls(self, tenant: Snapshot, webhook: Webhook, longer: Longer) -> Answer:
        delivery = uuid7()
        asked = asked_by(webhook, delivery)
        claimed = await self._tools.do(tenant, asked, mode_of(tenant), longer)
        entries = [each.answer or "" for each in claimed]
        body = entries[0].encode() if webhook.type == answers.FUNCTION_CALL else answers.results(entries)
        new = any(each.outcome == "new" for each in claimed)
        replayed = bool(claimed) and all(each.outcome == "replay" for each in claimed)
        return Answer(body, replayed=replayed, key=asked[0].key if asked else None, recorded=delivery if new else None)

    async def _report(self, tenant: Snapshot, webhook: Webhook) -> Answer:
        if webhook.call_id is None:
            return await self._information(tenant, webhook)
        facts = report_facts(webhook.body)
        content = content_of_report(webhook.body, webhook.caller, tenant.privacy)
        told = await told_by(BY_REPORT, facts, content, webhook.assistant_id, self._keyring, tenant)
        return await self._record(tenant, webhook, keys.report_key(webhook.call_id), told, final=True)

    async def _status(self, tenant: Snapshot, webhook: Webhook) -> Answer:
        if webhook.call_id is None:
            return await self._information(tenant, webhook)
        facts = status_facts(webhook.body)
        content = content_of_status(webhook.caller, tenant.privacy)
        told = await told_by(BY_STATUS, facts, content, webhook.assistant_id, self._keyring, tenant)
        return await self._record(tenant, webhook, keys.status_key(webhook.call_id, facts.state), told, final=False)

    async def _record(self, tenant: Snapshot, webhook: Webhook, key: bytes, told: Told, *, final: bool) -> Answer:
        delivery, fingerprint = uuid7(), facts_fingerprint(told.facts)
        outcome = await self._claims.record_call(
            tenant.id, delivery, webhook.type, webhook.call_id or "", webhook.assistant_id, key, fingerprint, told,
            final=final, mode=mode_of(tenant),
        )  # fmt: skip  # what it is, then how it is taken
        metrics.effects_ended(outcome).inc()
        if outcome not in ("new", "unchecked"):
            self._duplicates.count(tenant.id, key)
        return Answer(NOTHING, replayed=outcome == "replay", key=key, recorded=delivery if outcome == "new" else None)

    async def _only_informs(self, tenant: Snapshot, webhook: Webhook) -> Answer:
        """What comes many times in a call is noted on it, anything else is recorded once."""
        if comes_often(webhook):
            self._activity.note(tenant, webhook)
            return Answer(NOTHING)
        if webhook.type == CONTROL:
            warn_of_control(webhook)
        return await self._information(tenant, webhook)

    async def _information(self, tenant: Snapshot, webhook: Webhook) -> Answer:
        effect = information(webhook, NOTHING.decode())
        (claimed,) = await self._tools.accept(tenant, [effect], mode_of(tenant))
        if claimed.outcome == "unfinished":
            await settle(self._database, tenant.id, bytes.fromhex(effect.key))
        recorded = effect.webhook_id if claimed.outcome == "new" else None
        return Answer(NOTHING, replayed=claimed.outcome == "replay", key=bytes.fromhex(effect.key), recorded=recorded)


ANSWERED = {"tool-calls", "function-call", "assistant-request", "voice-request", *SAFE}  # an answer is waited for: nothing is put off


def facts_fingerprint(facts: CallFacts) -> bytes:
    """What a message says of a call."""
    return keys.digest(*(None if part is None else str(part) for part in facts.figures))


def warn_of_control(webhook: Webhook) -> None:
    """Whoever subscribes to phone-call-control takes over hanging up and forwarding: our configuration never does, and nobody here acts."""
    metrics.PHONE_CALL_CONTROL.inc()
    log.warning("phone-call-control is recorded and not acted on: remove it from serverMessages", assistant_id=webhook.assistant_id)


async def load_owners(database: Database, vapi_assistant_id: str) -> frozenset[UUID]:
    """Which tenants registered an assistant."""
    connection: AsyncConnection
    async with database.unscoped() as connection:  # unscoped: assistant routes stand in the schema control
        return await owners_of(connection, vapi_assistant_id)

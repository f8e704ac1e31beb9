"""The way of a webhook: credential, envelope, keys, prepare, one round trip, answer.

Order of refusals: 401 before the body is read, 413, 400, 403, 503; a tool call that is none of these is answered with 200.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import astuple
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime import metrics, sentry
from runtime.crypto import Keyring
from runtime.database import Database, passing_condition
from runtime.fresh import FreshCache
from runtime.ids import uuid7
from runtime.refusals import Forbidden, Refusal, Unauthorized, Unavailable, Unprocessable
from tenants.assistants import owners_of
from tenants.snapshot import Snapshot, TenantBook
from webhooks import answers, keys, records
from webhooks.asked import asked_by
from webhooks.bodies import body_of
from webhooks.calls import CallFacts, report_facts, status_facts
from webhooks.claims import Claims
from webhooks.credentials import authenticates, presented_secrets
from webhooks.dead_letters import DeadLetters, settle
from webhooks.duplicates import DuplicateCounter
from webhooks.envelope import Webhook, read
from webhooks.information import information
from webhooks.kinds import is_known
from webhooks.modes import OFF, mode_of
from webhooks.tool_work import Longer, ToolWork

RECORD_SECONDS = 2.0  # a caller is waiting
NO_ASSISTANT = "Sorry, nobody is set up to take this call yet. Please try again later."
SUSPENDED_CALL = "Sorry, this service is paused at the moment. Please try again later."
KEEP_ALL = "all"

Keep = Callable[[Snapshot, UUID, bytes], Awaitable[None]]


class Answer(msgspec.Struct, frozen=True):
    """What goes back to Vapi with 200; the key it was recorded under, and the webhook's id where this delivery was the first."""

    body: bytes
    replayed: bool = False
    key: bytes | None = None
    recorded: UUID | None = None


NOTHING = b"{}"


class Ingest:
    """Everything that happens to a webhook between its bytes and its answer."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        tenants: TenantBook,
        claims: Claims,
        tools: ToolWork,
        duplicates: DuplicateCounter,
        keep: Keep,
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._tenants = tenants
        self._claims = claims
        self._tools = tools
        self._duplicates = duplicates
        self._keep = keep
        self._dead = DeadLetters(database, keep)
        self._owners: FreshCache[str, frozenset[UUID]] = FreshCache(lambda assistant: load_owners(database, assistant))

    async def authenticate(self, slug: str, authorization: str | None, vapi_secret: str | None) -> Snapshot:
        """The tenant of the URL, if the headers hold one of its secrets.

        Raises:
            Unauthorized: unknown tenant, missing, empty or wrong secret: one answer for all.
        """
        tenant = await self._tenants.by_slug(slug)
        if not authenticates(tenant, self._keyring, presented_secrets(authorization, vapi_secret)) or tenant is None:
            raise Unauthorized
        sentry.bind_tenant(tenant.tags)
        return tenant

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
                return await self._assistant_request(tenant, webhook)
            case "voice-request":
                raise Unprocessable("This service makes no speech; a 200 would be played as audio. Point voice.server elsewhere.")
            case _:
                return await self._information(tenant, webhook)

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
        return await self._record(tenant, webhook, keys.report_key(webhook.call_id), report_facts(webhook.body), final=True)

    async def _status(self, tenant: Snapshot, webhook: Webhook) -> Answer:
        if webhook.call_id is None:
            return await self._information(tenant, webhook)
        facts = status_facts(webhook.body)
        return await self._record(tenant, webhook, keys.status_key(webhook.call_id, facts.state), facts, final=False)

    async def _record(self, tenant: Snapshot, webhook: Webhook, key: bytes, facts: CallFacts, *, final: bool) -> Answer:
        delivery, fingerprint = uuid7(), facts_fingerprint(facts)
        outcome = await self._claims.record_call(
            tenant.id, delivery, webhook.type, webhook.call_id or "", webhook.assistant_id, key, fingerprint, facts,
            final=final, mode=mode_of(tenant),
        )  # fmt: skip  # what it is, then how it is taken
        metrics.EFFECTS.labels(outcome).inc()
        if outcome not in ("new", "unchecked"):
            self._duplicates.count(tenant.id, key)
        return Answer(NOTHING, replayed=outcome == "replay", key=key, recorded=delivery if outcome == "new" else None)

    async def _information(self, tenant: Snapshot, webhook: Webhook) -> Answer:
        effect = information(webhook, NOTHING.decode())
        (claimed,) = await self._tools.accept(tenant, [effect], mode_of(tenant))
        if claimed.outcome == "unfinished":
            await settle(self._database, tenant.id, bytes.fromhex(effect.key))
        recorded = effect.webhook_id if claimed.outcome == "new" else None
        return Answer(NOTHING, replayed=claimed.outcome == "replay", key=bytes.fromhex(effect.key), recorded=recorded)

    async def _assistant_request(self, tenant: Snapshot, webhook: Webhook) -> Answer:
        """Somebody is on the line and Vapi waits at most 7.5 s: answered from memory even when it cannot be recorded."""
        answer = msgspec.json.encode(assistant_for(tenant))
        try:
            async with asyncio.timeout(RECORD_SECONDS):
                await self._tools.accept(tenant, [information(webhook, answer.decode())], mode_of(tenant))
        except (Unavailable, TimeoutError):
            metrics.EFFECTS.labels("unrecorded").inc()
        return Answer(answer)


ANSWERED = {"tool-calls", "function-call", "assistant-request", "voice-request"}  # an answer is waited for: nothing is put off


def facts_fingerprint(facts: CallFacts) -> bytes:
    """What a message says of a call."""
    return keys.digest(*(None if part is None else str(part) for part in astuple(facts)))


def assistant_for(tenant: Snapshot) -> dict[str, str]:
    """Who takes a call whose number has no assistant: the tenant's only one, else a sentence that is spoken to the caller."""
    if tenant.status != "active":
        return {"error": SUSPENDED_CALL}
    return {"assistantId": next(iter(tenant.assistants))} if len(tenant.assistants) == 1 else {"error": NO_ASSISTANT}


async def load_owners(database: Database, vapi_assistant_id: str) -> frozenset[UUID]:
    """Which tenants registered an assistant."""
    connection: AsyncConnection
    async with database.unscoped() as connection:  # unscoped: assistant routes stand in the schema control
        return await owners_of(connection, vapi_assistant_id)

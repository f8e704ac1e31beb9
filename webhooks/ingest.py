"""The way of a webhook: credential, envelope, keys, prepare, one round trip, answer.

Order of refusals: 401 before the body is read, 413, 400, 403, 503; a tool call that is none of these is answered with 200.
"""

import asyncio
from dataclasses import astuple, dataclass
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from messaging.wake import WakeHint
from runtime import metrics, sentry
from runtime.crypto import Keyring
from runtime.database import Database
from runtime.fresh import FreshCache
from runtime.ids import uuid7
from runtime.refusals import Forbidden, Unauthorized, Unavailable, Unprocessable
from tenants.assistants import owners_of
from tenants.snapshot import Snapshot, TenantBook
from webhooks import answers, keys
from webhooks.calls import CallFacts, report_facts, status_facts
from webhooks.claims import Claimed, Claims, Effect
from webhooks.credentials import authenticates, presented_secrets
from webhooks.duplicates import DuplicateCounter
from webhooks.envelope import LONGEST_ID, Webhook, present, read
from webhooks.tool_calls import ToolCall, tool_calls
from webhooks.tools import OPTED_OUT, Prepared, prepare

RECORD_SECONDS = 2.0  # a caller is waiting
NO_ASSISTANT = "Sorry, nobody is set up to take this call yet. Please try again later."
SUSPENDED_CALL = "Sorry, this service is paused at the moment. Please try again later."


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to Vapi with 200."""

    body: bytes
    replayed: bool = False


NOTHING = b"{}"


class Ingest:
    """Everything that happens to a webhook between its bytes and its answer."""

    def __init__(
        self, database: Database, keyring: Keyring, tenants: TenantBook, claims: Claims, wake: WakeHint, duplicates: DuplicateCounter
    ) -> None:
        self._keyring = keyring
        self._tenants = tenants
        self._claims = claims
        self._wake = wake
        self._duplicates = duplicates
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

    async def handle(self, tenant: Snapshot, body: bytes) -> Answer:
        """Do what a webhook asks for, once, and answer.

        Raises:
            Invalid: not JSON or not an envelope. Forbidden: another tenant's assistant. Unprocessable: a type that cannot be
            served. Unavailable: nothing was stored.
        """
        webhook = read(body)
        sentry.tag(**{"webhook.type": webhook.type, "call.id": webhook.call_id or "none", "assistant.id": webhook.assistant_id or "none"})
        await self._refuse_foreign_assistant(tenant, webhook)
        match webhook.type:
            case "tool-calls":
                return await self._tool_calls(tenant, webhook)
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

    async def _tool_calls(self, tenant: Snapshot, webhook: Webhook) -> Answer:
        calls = tool_calls(webhook.message)
        if not calls:
            return Answer(answers.results([]))
        delivery = uuid7()
        effects = [tool_effect(tenant, webhook, delivery, call, place) for place, call in enumerate(calls)]
        claimed = await self._accept(tenant, effects)
        entries = [said(call, each) for call, each in zip(calls, claimed, strict=True)]
        return Answer(answers.results(entries), replayed=all(each.outcome == "replay" for each in claimed))

    async def _accept(self, tenant: Snapshot, effects: list[Effect]) -> list[Claimed]:
        claimed = await self._claims.accept(tenant.id, effects)
        for effect, each in zip(effects, claimed, strict=True):
            metrics.EFFECTS.labels(each.outcome).inc()
            if each.outcome == "replay":
                self._duplicates.count(tenant.id, bytes.fromhex(effect.key))
            elif each.outcome == "new" and each.message_id is not None and effect.message is not None:
                tenant.note_accepted(effect.message)
                self._wake.publish()
        return claimed

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
        fingerprint = keys.digest(*(None if part is None else str(part) for part in astuple(facts)))
        outcome = await self._claims.record_call(
            tenant.id, uuid7(), webhook.type, webhook.call_id or "", webhook.assistant_id, key, fingerprint, facts, final=final
        )
        metrics.EFFECTS.labels(outcome).inc()
        if outcome != "new":
            self._duplicates.count(tenant.id, key)
        return Answer(NOTHING, replayed=outcome == "replay")

    async def _information(self, tenant: Snapshot, webhook: Webhook) -> Answer:
        (claimed,) = await self._accept(tenant, [information(webhook, NOTHING.decode())])
        return Answer(NOTHING, replayed=claimed.outcome == "replay")

    async def _assistant_request(self, tenant: Snapshot, webhook: Webhook) -> Answer:
        """Somebody is on the line and Vapi waits at most 7.5 s: answered from memory even when it cannot be recorded."""
        answer = msgspec.json.encode(assistant_for(tenant))
        try:
            async with asyncio.timeout(RECORD_SECONDS):
                await self._accept(tenant, [information(webhook, answer.decode())])
        except (Unavailable, TimeoutError):
            metrics.EFFECTS.labels("unrecorded").inc()
        return Answer(answer)


def tool_effect(tenant: Snapshot, webhook: Webhook, delivery: UUID, call: ToolCall, place: int) -> Effect:
    """A tool call as an effect: its key, what to write and what to answer."""
    arguments = keys.canonical(call.arguments)
    prepared = prepared_for(tenant, webhook, call)
    return Effect(
        webhook_id=delivery,
        place=place,
        source="vapi",
        type=webhook.type,
        call_id=webhook.call_id,
        assistant_id=webhook.assistant_id,
        key=keys.tool_call_key(webhook.call_id, call.id, call.name, arguments, webhook.body).hex(),
        fingerprint=keys.tool_call_fingerprint(call.name, arguments).hex(),
        answer=answers.entry(call.id, call.name, result=prepared.result, error=prepared.error),
        store=prepared.final,
        state="done" if prepared.result is not None else "failed",
        name=storable(call.name),
        tool_call_id=storable(call.id) if call.id else None,
        arguments=arguments.decode(),
        suppressed_answer=answers.entry(call.id, call.name, error=OPTED_OUT),
        meter="tool_calls" if prepared.result is not None else None,
        message=prepared.text.as_effect() if prepared.text else None,
    )


def prepared_for(tenant: Snapshot, webhook: Webhook, call: ToolCall) -> Prepared:
    """What the call will do: nothing for a suspended tenant, or where the webhook itself is wrong about it."""
    if tenant.status != "active":
        return Prepared(error=answers.SUSPENDED, final=False)
    if call.fault is not None:
        return Prepared(error=call.fault, final=False)
    return prepare(tenant, call.name, webhook.caller, call.arguments)


def storable(text: str) -> str:
    """An id or a name as a row can hold it; its key is made of the whole."""
    return text[:LONGEST_ID].replace("\x00", "\ufffd")


def said(call: ToolCall, claimed: Claimed) -> str:
    """The entry that answers a call."""
    if claimed.outcome == "conflict" or claimed.answer is None:
        return answers.entry(call.id, call.name, error=answers.CONFLICT)
    return claimed.answer


def information(webhook: Webhook, answer: str) -> Effect:
    """A message that is recorded once."""
    timestamp = bytes(webhook.message.timestamp) if present(webhook.message.timestamp) else None
    own = keys.own_fields(webhook.body)
    key = keys.information_key(webhook.type, webhook.call_id, timestamp, own if webhook.call_id else keys.digest(webhook.body))
    return Effect(
        webhook_id=uuid7(),
        place=0,
        source="vapi",
        type=webhook.type,
        call_id=webhook.call_id,
        assistant_id=webhook.assistant_id,
        key=key.hex(),
        fingerprint=own.hex(),
        answer=answer,
    )


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

"""An assistant of a tenant, here and at Vapi: both change, or neither.

The order: what is ours is committed first, so that the secret works before Vapi learns it; then Vapi is asked, with no connection held;
then the books are closed. What fails is taken back at both ends. A process that dies in between leaves an assistant that works once Vapi
points at it, and that the next request takes over.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from runtime import metrics
from runtime.crypto import Keyring
from runtime.database import Database
from runtime.refusals import Conflict, Invalid
from tenants import assistants, audit, credentials, vapi_setups
from tenants.signature_plans import BearerPlan
from tenants.snapshot import Snapshot, TenantBook
from tenants.vapi_setups import New, Setup
from webhooks import vapi_before
from webhooks.vapi_before import Before
from webhooks.vapi_findings import Finding, draft, findings
from webhooks.vapi_problems import CONFIGURE, SIGNS, SetupFailed
from webhooks.vapi_setup import Configured, Target, VapiSetup, version_of
from webhooks.vapi_wish import Json, Wish, seconds_for

NEVER = "This assistant was never configured at Vapi from here, so there is nothing to put back."
NO_SECRET = "This assistant has no valid secret. Rotate it first."  # noqa: S105  a sentence


@dataclass(frozen=True, slots=True)
class Acting:
    """Whose assistant, who asks, with which key of Vapi, and where Vapi shall post."""

    tenant: Snapshot
    actor: str
    key: str = field(repr=False)
    url: str


@dataclass(frozen=True, slots=True)
class Done:
    """An assistant that is configured, with its new secret where it got one; `live`: calls use the change."""

    row: dict[str, Any]
    changed: tuple[str, ...]
    live: bool
    secret: str | None = field(default=None, repr=False)


Keep = Callable[[AsyncConnection, Done], Awaitable[None]]  # does more in the transaction that closes the books
Tools = Sequence[Json] | None


class Configuring:
    """One process's part in it."""

    def __init__(self, database: Database, keyring: Keyring, tenants: TenantBook, setup: VapiSetup) -> None:
        self._database = database
        self._keyring = keyring
        self._tenants = tenants
        self.setup = setup

    async def register(self, acting: Acting, new: New, tools: Tools, keep: Keep) -> Done:
        """Register an assistant and point it here.

        Raises:
            Refusal: it is registered already, or Vapi did not do it: then nothing is left of it, or the answer says what is.
        """
        await self.setup.read(Target(new.vapi_id, acting.key))  # most mistakes show here, before anything is written
        tenant = acting.tenant.id
        async with self._database.tenant_scope(tenant) as connection:
            setup, made = await vapi_setups.begin(connection, self._keyring, tenant, new, acting.actor)
        self._tenants.forget(acting.tenant.slug)
        try:
            configured = await self._configure(acting, setup, made.secret, tools)
        except SetupFailed as failed:
            await self._take_back(acting, setup, failed)
            raise
        async with self._database.tenant_scope(tenant) as connection:
            await vapi_setups.retire_others(connection, self._keyring, setup, made.secret, vapi_setups.OLDER_SECRETS_SECONDS)
            done = await self._close(connection, acting, setup, configured, made.secret, keep)
        self._tenants.forget(acting.tenant.slug)
        return done

    async def rotate(self, acting: Acting, assistant: UUID, grace_seconds: int, given: str | None, keep: Keep) -> Done:
        """A new secret, here and at Vapi; the old ones end after the grace once Vapi has the new one.

        Raises:
            Refusal: Vapi signs for it, or did not do it: then the old secret stands, or the answer says that both do.
        """
        tenant = acting.tenant.id
        async with self._database.tenant_scope(tenant) as connection:
            setup = await vapi_setups.take(connection, self._keyring, tenant, assistant)
            if setup.signs:
                raise Invalid.at(CONFIGURE, SIGNS)
            secret = await credentials.add(connection, self._keyring, tenant, assistant, assistants.BEARER, given)
        self._tenants.forget(acting.tenant.slug)
        try:
            configured = await self._configure(acting, setup, secret, None)
        except SetupFailed as failed:
            async with self._database.tenant_scope(tenant) as connection:
                if not failed.left:
                    await vapi_setups.drop_secret(connection, self._keyring, setup, secret)
                await vapi_setups.release(connection, setup, unchanged=not failed.left)
            self._tenants.forget(acting.tenant.slug)
            raise
        async with self._database.tenant_scope(tenant) as connection:
            await vapi_setups.retire_others(connection, self._keyring, setup, secret, grace_seconds)
            await audit.record(connection, acting.actor, "assistant.secret_rotated", tenant, str(assistant), grace_seconds=grace_seconds)
            done = await self._close(connection, acting, setup, configured, secret, keep)
        self._tenants.forget(acting.tenant.slug)
        return done

    async def mend(self, acting: Acting, assistant: UUID, tools: Tools, keep: Keep) -> Done:
        """Make an assistant at Vapi as it should be, with the secret that it has.

        Raises:
            Refusal: it has no secret, or Vapi did not do it.
        """
        tenant = acting.tenant.id
        async with self._database.tenant_scope(tenant) as connection:
            secrets = await vapi_setups.secrets_of(connection, self._keyring, tenant, assistant)
            setup = await vapi_setups.take(connection, self._keyring, tenant, assistant)
            if not (secrets or setup.signs):
                raise Conflict(NO_SECRET)
        try:
            configured = await self._configure(acting, setup, None if setup.signs else secrets[0], tools, settled=True)
        except SetupFailed as failed:
            async with self._database.tenant_scope(tenant) as connection:
                await vapi_setups.release(connection, setup, unchanged=not failed.left)
            raise
        async with self._database.tenant_scope(tenant) as connection:
            return await self._close(connection, acting, setup, configured, None, keep)

    async def check(self, acting: Acting, assistant: UUID) -> list[Finding]:
        """What is wrong at Vapi today; changes nothing.

        Raises:
            NotFound: the tenant has no such assistant. SetupFailed: Vapi does not say.
        """
        tenant = acting.tenant.id
        async with self._database.tenant_scope(tenant) as connection:
            row = await assistants.assistant_row(connection, tenant, assistant)
            secrets = await vapi_setups.secrets_of(connection, self._keyring, tenant, assistant)
        target = Target(row["vapi_assistant_id"], acting.key)
        shown, tools = await self.setup.read(target), await self.setup.tools(target)
        bearer = isinstance(row["plan"], BearerPlan)
        wish = Wish(acting.url, (secrets[0] if secrets else "") if bearer else None, seconds_for(acting.tenant))
        found = findings(shown, tools, wish, secrets)
        waiting = row["vapi_draft_of"] is not None and row["vapi_draft_of"] == version_of(shown)
        return [draft(row["vapi_draft_of"]), *found] if waiting else found

    async def restore(self, acting: Acting, assistant: UUID, also: Callable[[AsyncConnection, bool], Awaitable[None]]) -> bool:
        """Put back at Vapi what stood there before; False where it points elsewhere by now. `also` goes on in the same transaction.

        Raises:
            Refusal: it was never configured from here, or Vapi did not do it: then it is sent again later.
        """
        tenant = acting.tenant.id
        async with self._database.tenant_scope(tenant) as connection:
            setup = await vapi_setups.take(connection, self._keyring, tenant, assistant)
            before = vapi_before.read(setup.before)
            if before is None:
                raise Conflict(NEVER)
        try:
            restored = await self.setup.put_back(Target(setup.vapi_id, acting.key), acting.url, before)
        except SetupFailed:
            async with self._database.tenant_scope(tenant) as connection:
                await vapi_setups.release(connection, setup, unchanged=False)
            raise
        async with self._database.tenant_scope(tenant) as connection:
            await vapi_setups.forget(connection, setup, acting.actor, restored=restored)
            await also(connection, restored)
        self._tenants.forget(acting.tenant.slug)
        return restored

    async def _configure(self, acting: Acting, setup: Setup, secret: str | None, tools: Tools, *, settled: bool = False) -> Configured:
        wish = Wish(acting.url, secret, seconds_for(acting.tenant), None if tools is None else tuple(tools))

        async def remember(before: Before) -> None:
            async with self._database.tenant_scope(setup.tenant) as connection:
                await vapi_setups.remember(connection, self._keyring, setup, vapi_before.written(before))

        target = Target(setup.vapi_id, acting.key)
        try:
            configured = await self.setup.configure(target, wish, vapi_before.read(setup.before), remember, settled=settled)
        except SetupFailed as failed:
            metrics.VAPI_SETUPS.labels("left" if failed.left else "refused").inc()
            raise
        metrics.VAPI_SETUPS.labels("done").inc()
        return configured

    async def _take_back(self, acting: Acting, setup: Setup, failed: SetupFailed) -> None:
        """Nothing stays of a registration that Vapi did not take; if Vapi may point here all the same, it stays and is taken over later."""
        async with self._database.tenant_scope(setup.tenant) as connection:
            if failed.left:
                await vapi_setups.release(connection, setup, unchanged=False)
            else:
                await assistants.remove(connection, setup.tenant, setup.assistant, acting.actor)
        self._tenants.forget(acting.tenant.slug)

    async def _close(
        self, connection: AsyncConnection, acting: Acting, setup: Setup, configured: Configured, secret: str | None, keep: Keep
    ) -> Done:
        waiting = configured.version if configured.draft or setup.draft_of == configured.version else None
        await vapi_setups.finish(connection, setup, waiting, acting.actor, configured.changed)
        row = await assistants.assistant_row(connection, setup.tenant, setup.assistant)
        done = Done(row, configured.changed, waiting is None, secret)
        await keep(connection, done)
        return done

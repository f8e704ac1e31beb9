"""An assistant of a tenant, here and at Vapi: both change, or neither.

The order: what is ours is committed first, so that the secret works before Vapi learns it; then Vapi is asked, with no connection held;
then the books are closed. What fails is taken back at both ends. A process that dies in between leaves an assistant that works once Vapi
points at it, and that the next request takes over.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from runtime import metrics
from runtime.crypto import Keyring
from runtime.database import Database
from runtime.ids import uuid7
from runtime.logs import log
from runtime.refusals import Conflict, Invalid
from tenants import assistants, audit, credentials, vapi_setups
from tenants.signature_plans import BearerPlan
from tenants.snapshot import Snapshot, TenantBook
from tenants.vapi_setups import New, Setup
from webhooks import vapi_before
from webhooks.vapi_before import Before
from webhooks.vapi_findings import Finding, draft, findings, header_findings
from webhooks.vapi_problems import CONFIGURE, SIGNS, SetupBroke, SetupFailed
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
TakeBack = Callable[[AsyncConnection, bool], Awaitable[None]]  # told whether Vapi may be changed all the same
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
        self._database.refuse_unit()
        await self.setup.read(Target(new.vapi_id, acting.key))  # most mistakes show here, before anything is written
        tenant = acting.tenant.id
        async with self._database.tenant_scope(tenant) as connection:
            begun = await vapi_setups.begin(connection, self._keyring, tenant, new, acting.actor)
        self._tenants.forget(acting.tenant.slug)
        setup = begun.setup

        async def take_back(connection: AsyncConnection, left: bool) -> None:
            """Nothing stays of a registration that Vapi did not take; if Vapi may point here all the same, it is taken over later."""
            if begun.added is not None and not left:
                await vapi_setups.drop_secret(connection, setup, begun.added)
            if left or setup.before is not None:
                await vapi_setups.release(connection, setup, unchanged=False)
            elif await vapi_setups.holds(connection, setup):
                await assistants.remove(connection, tenant, setup.assistant, acting.actor)

        try:
            async with self._taken_back(acting, setup, take_back):
                configured = await self._configure(acting, setup, begun.secret, tools)
                async with self._database.tenant_scope(tenant) as connection:
                    grace = vapi_setups.OLDER_SECRETS_SECONDS
                    return await self._close(connection, acting, setup, configured, begun.secret, grace, keep)
        except SetupFailed as failed:
            failed.left = failed.left or setup.before is not None  # by the request that was taken over
            raise

    async def rotate(self, acting: Acting, assistant: UUID, grace_seconds: int, given: str | None, keep: Keep) -> Done:
        """A new secret, here and at Vapi; the old ones end after the grace once calls use the new one.

        Raises:
            Refusal: Vapi signs for it, or did not do it: then the old secret stands, or the answer says that both do.
        """
        self._database.refuse_unit()
        tenant, number = acting.tenant.id, uuid7()
        async with self._database.tenant_scope(tenant) as connection:
            setup = await vapi_setups.take(connection, self._keyring, tenant, assistant)
            if setup.signs:
                raise Invalid.at(CONFIGURE, SIGNS)
            secret = await credentials.add(connection, self._keyring, tenant, assistant, assistants.BEARER, given, number)
        self._tenants.forget(acting.tenant.slug)

        async def take_back(connection: AsyncConnection, left: bool) -> None:
            if not left:
                await vapi_setups.drop_secret(connection, setup, number)
            await vapi_setups.release(connection, setup, unchanged=not left)

        async with self._taken_back(acting, setup, take_back):
            configured = await self._configure(acting, setup, secret, None)
            async with self._database.tenant_scope(tenant) as connection:
                await audit.record(
                    connection, acting.actor, "assistant.secret_rotated", tenant, str(assistant), grace_seconds=grace_seconds
                )
                return await self._close(connection, acting, setup, configured, secret, grace_seconds, keep)

    async def mend(self, acting: Acting, assistant: UUID, tools: Tools, keep: Keep) -> Done:
        """Make an assistant at Vapi as it should be, with the secret that it has.

        Raises:
            Refusal: it has no secret, or Vapi did not do it.
        """
        self._database.refuse_unit()
        tenant = acting.tenant.id
        async with self._database.tenant_scope(tenant) as connection:
            setup = await vapi_setups.take(connection, self._keyring, tenant, assistant)
            known = [] if setup.signs else await vapi_setups.secrets_of(connection, self._keyring, tenant, assistant)
            if not (setup.signs or (known and known[0].lasting)):  # one that ends soon would be wrong again soon
                raise Conflict(NO_SECRET)

        async def take_back(connection: AsyncConnection, left: bool) -> None:
            await vapi_setups.release(connection, setup, unchanged=not left)

        secret = known[0].secret if known else None
        async with self._taken_back(acting, setup, take_back):
            configured = await self._configure(acting, setup, secret, tools, settled=not known or known[0].everywhere)
            async with self._database.tenant_scope(tenant) as connection:
                was_draft = secret if setup.draft_of is not None else None
                done = await self._close(connection, acting, setup, configured, was_draft, vapi_setups.OLDER_SECRETS_SECONDS, keep)
                return replace(done, secret=None)

    async def check(self, acting: Acting, assistant: UUID) -> list[Finding]:
        """What is wrong at Vapi today; changes nothing there. Where a draft was published meanwhile, older secrets end.

        Raises:
            NotFound: the tenant has no such assistant. SetupFailed: Vapi does not say.
        """
        self._database.refuse_unit()
        tenant = acting.tenant.id
        async with self._database.tenant_scope(tenant) as connection:
            row = await assistants.assistant_row(connection, tenant, assistant)
            secrets = [each.secret for each in await vapi_setups.secrets_of(connection, self._keyring, tenant, assistant)]
        target = Target(row["vapi_assistant_id"], acting.key)
        shown, tools = await self.setup.read(target), await self.setup.tools(target)
        bearer = isinstance(row["plan"], BearerPlan)
        wish = Wish(acting.url, (secrets[0] if secrets else "") if bearer else None, seconds_for(acting.tenant))
        found, draft_of = findings(shown, tools, wish, secrets), row["vapi_draft_of"]
        if draft_of is not None and draft_of == version_of(shown):
            return [draft(draft_of), *found]
        if draft_of is not None:
            await self._published(acting, assistant, draft_of, secrets[0] if shows_newest(shown, secrets) else None)
        return found

    async def restore(self, acting: Acting, assistant: UUID, also: Callable[[AsyncConnection, bool], Awaitable[None]]) -> bool:
        """Put back at Vapi what stood there before; False where it points elsewhere by now. `also` goes on in the same transaction.

        Raises:
            Refusal: it was never configured from here, or Vapi did not do it: then it is sent again later.
        """
        self._database.refuse_unit()
        tenant = acting.tenant.id
        async with self._database.tenant_scope(tenant) as connection:
            setup = await vapi_setups.take(connection, self._keyring, tenant, assistant)
            before = vapi_before.read(setup.before)
            if before is None:
                raise Conflict(NEVER)

        async def take_back(connection: AsyncConnection, _left: bool) -> None:
            await vapi_setups.release(connection, setup, unchanged=False)

        async with self._taken_back(acting, setup, take_back):
            restored = await self.setup.put_back(Target(setup.vapi_id, acting.key), acting.url, before)
            async with self._database.tenant_scope(tenant) as connection:
                await vapi_setups.forget(connection, setup, acting.actor, restored=restored)
                await also(connection, restored)
        return restored

    async def _configure(self, acting: Acting, setup: Setup, secret: str | None, tools: Tools, *, settled: bool = False) -> Configured:
        wish = Wish(acting.url, secret, seconds_for(acting.tenant), None if tools is None else tuple(tools))

        async def remember(before: Before) -> None:
            async with self._database.tenant_scope(setup.tenant) as connection:
                await vapi_setups.remember(connection, self._keyring, setup, vapi_before.written(before))

        target = Target(setup.vapi_id, acting.key)
        try:
            configured = await self.setup.configure(target, wish, vapi_before.read(setup.before), remember, settled=settled)
        except (SetupFailed, SetupBroke) as failed:
            metrics.VAPI_SETUPS.labels("left" if failed.left else "refused").inc()
            raise
        metrics.VAPI_SETUPS.labels("done").inc()
        return configured

    @asynccontextmanager
    async def _taken_back(self, acting: Acting, setup: Setup, take_back: TakeBack) -> AsyncIterator[None]:
        """Where the block fails, whatever the reason, take back what is ours, as well as it goes; then tell of the failure itself.

        Once Vapi has done it, a failure to close the books leaves it changed.
        """
        try:
            yield
        except Exception as error:
            left = error.left if isinstance(error, SetupFailed | SetupBroke) else True
            try:
                async with self._database.tenant_scope(setup.tenant) as connection:
                    await take_back(connection, left)
            except Exception as second:  # noqa: BLE001  the lease ends by itself, and the next request takes it over
                log.warning("what was begun for an assistant could not be taken back", left=left, error=type(second).__name__)
            if isinstance(error, SetupBroke):
                raise error.error from None
            raise
        finally:
            self._tenants.forget(acting.tenant.slug)

    async def _published(self, acting: Acting, assistant: UUID, draft_of: str, secret: str | None) -> None:
        """Close the books of a draft; the secrets before the one that calls use now end."""
        tenant, grace = acting.tenant.id, vapi_setups.OLDER_SECRETS_SECONDS
        async with self._database.tenant_scope(tenant) as connection:
            if await vapi_setups.published(connection, tenant, assistant, draft_of, acting.actor) and secret is not None:
                await vapi_setups.retire_others(connection, self._keyring, tenant, assistant, secret, grace)
        self._tenants.forget(acting.tenant.slug)

    async def _close(
        self, connection: AsyncConnection, acting: Acting, setup: Setup, configured: Configured, secret: str | None, grace: int, keep: Keep
    ) -> Done:
        """`secret`: those before it end after the grace, unless calls still use them since the change is a draft."""
        waiting = configured.version if configured.draft or setup.draft_of == configured.version else None
        if secret is not None and waiting is None:
            await vapi_setups.retire_others(connection, self._keyring, setup.tenant, setup.assistant, secret, grace)
        await vapi_setups.finish(connection, setup, waiting, acting.actor, configured.changed)
        row = await assistants.assistant_row(connection, setup.tenant, setup.assistant)
        done = Done(row, configured.changed, waiting is None, secret)
        await keep(connection, done)
        return done


def shows_newest(shown: Json, secrets: Sequence[str]) -> bool:
    """Whether Vapi presents the newest secret."""
    server = shown.get("server")
    return bool(secrets) and isinstance(server, dict) and not header_findings(server.get("headers"), secrets)

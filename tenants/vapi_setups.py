"""Who works on an assistant at Vapi, and what stood there before: one at a time, under a lease, ended behind a fence.

The lease is taken and given back in short transactions; none is open while Vapi is asked. Whoever dies leaves it to the next.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.crypto import Keyring, SealBroken
from runtime.ids import TenantId, uuid7
from runtime.refusals import Conflict
from tenants import audit, credentials
from tenants.assistants import BEARER, assistant_row, register
from tenants.signature_plans import BearerPlan
from tenants.tables import assistants, webhook_credentials

COLUMN = "assistants.vapi_before"
LEASE_SECONDS = 120  # longer than all that is asked of Vapi in one go
OLDER_SECRETS_SECONDS = 3600  # of secrets that only Vapi may know: before a registration that was answered, or a published draft
KNOWN_SECONDS = 60  # by then a secret is committed and in every process's snapshot
SEALED_AWAY = (
    "What stood at Vapi before is sealed with a key that has been taken out of service. Put that key back (TRUNKLINE_SECRET_KEYS), or "
    "remove the assistant with DELETE /v1/assistants/{id}, register it anew and set at Vapi by hand what should stand there later."
)
BUSY = "This assistant is being configured at Vapi by another request. Send it again."
NOW, LEASE = text("app.now()"), text("app.now() + make_interval(secs => :lease)")
rows = assistants.c


@dataclass(frozen=True, slots=True)
class Setup:
    """An assistant that is the caller's to work on until its lease ends; `before` is JSON, or None while Vapi was never changed."""

    tenant: TenantId
    assistant: UUID
    owner: UUID
    vapi_id: str
    answered: bool
    draft_of: str | None
    signs: bool  # Vapi signs for it: its credential is made in Vapi's dashboard
    before: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class New:
    """An assistant to register; without a secret one is made."""

    vapi_id: str
    name: str
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Begun:
    """A registration that is to be configured; `added`: the id of its secret, where it stands beside one that Vapi may know."""

    setup: Setup
    added: UUID | None
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Known:
    """A secret that we take. `lasting`: it has no end; `everywhere`: every process knows it by now."""

    secret: str = field(repr=False)
    lasting: bool
    everywhere: bool


async def take(connection: AsyncConnection, keyring: Keyring, tenant: TenantId, assistant: UUID) -> Setup:
    """Take the lease of an assistant.

    Raises:
        NotFound: the tenant has no such assistant. Conflict: somebody else holds it, or what is kept of it cannot be opened.
    """
    owner = uuid4()
    query = (
        update(assistants)
        .where(rows.tenant_id == tenant, rows.id == assistant, or_(rows.vapi_lease_until.is_(None), rows.vapi_lease_until < NOW))
        .values(vapi_owner=owner, vapi_lease_until=LEASE.bindparams(lease=LEASE_SECONDS))
        .returning(rows.id)
    )
    taken = (await connection.execute(query)).one_or_none()
    row = await assistant_row(connection, tenant, assistant)
    if taken is None:
        raise Conflict(BUSY, headers={"Retry-After": "5"})
    sealed = row["vapi_before_sealed"]
    try:
        before = None if sealed is None else keyring.open(sealed, tenant, COLUMN)
    except SealBroken as error:
        raise Conflict(SEALED_AWAY) from error
    return Setup(
        tenant,
        assistant,
        owner,
        row["vapi_assistant_id"],
        not row["unanswered"],
        row["vapi_draft_of"],
        not isinstance(row["plan"], BearerPlan),
        before,
    )


async def begin(connection: AsyncConnection, keyring: Keyring, tenant: TenantId, new: New, actor: str) -> Begun:
    """Register an assistant that is configured next: its secret works before Vapi learns it.

    One that was registered so before, and never answered since its process died, is taken over, with a new secret beside its old one.

    Raises:
        Conflict: it is registered already, or being registered. Invalid: the given secret is none.
    """
    query = select(rows.id).where(rows.tenant_id == tenant, rows.vapi_assistant_id == new.vapi_id, rows.unanswered)
    left_over = (await connection.execute(query)).scalar_one_or_none()
    if left_over is None:
        made = await register(connection, keyring, tenant, new.vapi_id, new.name, actor, BEARER, new.secret)
        assistant: UUID = made.row["id"]
        await set_fields(connection, tenant, assistant, unanswered=True)
        return Begun(await take(connection, keyring, tenant, assistant), None, made.secret)
    setup, added = await take(connection, keyring, tenant, left_over), uuid7()
    await set_fields(connection, tenant, left_over, name=new.name)
    return Begun(setup, added, await credentials.add(connection, keyring, tenant, left_over, BEARER, new.secret, added))


async def remember(connection: AsyncConnection, keyring: Keyring, setup: Setup, before: str) -> None:
    """Write down what stood at Vapi, before it is changed.

    Raises:
        Conflict: the lease is another's by now.
    """
    await behind_fence(connection, setup, vapi_before_sealed=keyring.seal(before, setup.tenant, COLUMN))


async def finish(connection: AsyncConnection, setup: Setup, draft_of: str | None, actor: str, changed: Sequence[str]) -> None:
    """Vapi shows what was asked for: give the lease back.

    Raises:
        Conflict: the lease is another's by now.
    """
    ended: dict[str, Any] = {"vapi_configured_at": NOW, "vapi_draft_of": draft_of, "unanswered": False}
    await behind_fence(connection, setup, **ended, vapi_owner=None, vapi_lease_until=None)
    await audit.record(
        connection, actor, "assistant.configured", setup.tenant, str(setup.assistant), changed=list(changed), live=draft_of is None
    )


async def forget(connection: AsyncConnection, setup: Setup, actor: str, *, restored: bool) -> None:
    """What stood at Vapi stands there again, or is not ours to touch: then it stays written down. Give the lease back.

    Raises:
        Conflict: the lease is another's by now.
    """
    cleared = ["vapi_owner", "vapi_lease_until", "vapi_draft_of", "vapi_configured_at", *(["vapi_before_sealed"] if restored else [])]
    await behind_fence(connection, setup, **dict.fromkeys(cleared))
    await audit.record(connection, actor, "assistant.restored", setup.tenant, str(setup.assistant), restored=restored)


async def release(connection: AsyncConnection, setup: Setup, *, unchanged: bool) -> None:
    """Give the lease back, nothing if it is another's by now. Where Vapi is as it was, what was first written down now goes too."""
    ended: dict[str, Any] = {"vapi_owner": None, "vapi_lease_until": None}
    first = {"vapi_before_sealed": None} if unchanged and setup.before is None else {}
    await connection.execute(update(assistants).where(mine(setup)).values(**ended, **first))


async def published(connection: AsyncConnection, tenant: TenantId, assistant: UUID, draft_of: str, actor: str) -> bool:
    """Somebody published the change that was a draft; False where others work on the assistant, or have said so before."""
    free = or_(rows.vapi_lease_until.is_(None), rows.vapi_lease_until < NOW)
    query = update(assistants).where(rows.tenant_id == tenant, rows.id == assistant, rows.vapi_draft_of == draft_of, free)
    done = await connection.execute(query.values(vapi_draft_of=None, updated_at=NOW).returning(rows.id))
    if done.one_or_none() is None:
        return False
    await audit.record(connection, actor, "assistant.published", tenant, str(assistant))
    return True


async def refuse_if_taken(connection: AsyncConnection, tenant: TenantId, assistant: UUID) -> None:
    """Keep an assistant from being changed by others while it is configured.

    Raises:
        Conflict: somebody holds its lease.
    """
    query = select((rows.vapi_lease_until > NOW).label("taken")).where(rows.tenant_id == tenant, rows.id == assistant)
    if (await connection.execute(query.with_for_update())).scalar_one_or_none():
        raise Conflict(BUSY, headers={"Retry-After": "5"})


async def holds(connection: AsyncConnection, setup: Setup) -> bool:
    """Whether the lease is still the caller's; it stays so until the transaction ends."""
    return (await connection.execute(select(rows.id).where(mine(setup)).with_for_update())).one_or_none() is not None


async def behind_fence(connection: AsyncConnection, setup: Setup, **values: Any) -> None:
    """Change the assistant while its lease is the caller's.

    Raises:
        Conflict: it is not any more.
    """
    done = await connection.execute(update(assistants).where(mine(setup)).values(**values, updated_at=NOW).returning(rows.id))
    if done.one_or_none() is None:
        raise Conflict("Another request took this assistant over meanwhile. Look at how it stands now.")


def mine(setup: Setup) -> Any:
    """The condition that the lease is still the caller's."""
    return (rows.tenant_id == setup.tenant) & (rows.id == setup.assistant) & (rows.vapi_owner == setup.owner)


async def set_fields(connection: AsyncConnection, tenant: TenantId, assistant: UUID, **values: Any) -> None:
    """Change fields of an assistant."""
    await connection.execute(update(assistants).where(rows.tenant_id == tenant, rows.id == assistant).values(**values, updated_at=NOW))


async def secrets_of(connection: AsyncConnection, keyring: Keyring, tenant: TenantId, assistant: UUID) -> list[Known]:
    """The bearer secrets that Vapi may present for an assistant: its own, the newest first, then those of the whole tenant.

    One that is sealed with a key that is gone is none: nobody can compare Vapi's header with it, or set it there.
    """
    found = webhook_credentials.c
    lasting = (found.valid_until == text("'infinity'")).label("lasting")
    since = text("app.now() - make_interval(secs => :known)").bindparams(known=KNOWN_SECONDS)
    everywhere = (found.created_at <= since).label("everywhere")
    query = (
        select(found.secret_sealed, lasting, everywhere)
        .where(found.tenant_id == tenant, or_(found.assistant_id == assistant, found.assistant_id.is_(None)), found.valid_until > NOW)
        .order_by(found.assistant_id.is_(None), found.valid_until.desc(), found.id.desc())
    )
    known = []
    for row in await connection.execute(query):
        with suppress(SealBroken):
            known.append(Known(keyring.open(row.secret_sealed, tenant, credentials.COLUMN), row.lasting, row.everywhere))
    return known


async def retire_others(
    connection: AsyncConnection, keyring: Keyring, tenant: TenantId, assistant: UUID, secret: str, grace_seconds: int
) -> None:
    """End the secrets of an assistant but this one, after a grace; one that ends sooner still does."""
    found = webhook_credentials.c
    end = func.least(found.valid_until, text("app.now() + make_interval(secs => :grace)").bindparams(grace=grace_seconds))
    query = update(webhook_credentials).where(
        found.tenant_id == tenant, found.assistant_id == assistant, found.secret_hash.not_in(keyring.digests(secret))
    )
    await connection.execute(query.values(valid_until=end))


async def drop_secret(connection: AsyncConnection, setup: Setup, number: UUID) -> None:
    """Take back a credential that Vapi was not given; the same secret in another one stays."""
    found = webhook_credentials.c
    query = update(webhook_credentials).where(found.tenant_id == setup.tenant, found.assistant_id == setup.assistant, found.id == number)
    await connection.execute(query.values(valid_until=NOW))

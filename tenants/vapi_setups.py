"""Who works on an assistant at Vapi, and what stood there before: one at a time, under a lease, ended behind a fence.

The lease is taken and given back in short transactions; none is open while Vapi is asked. Whoever dies leaves it to the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.crypto import Keyring
from runtime.ids import TenantId
from runtime.refusals import Conflict
from tenants import audit, credentials
from tenants.assistants import BEARER, Registered, assistant_row, register
from tenants.signature_plans import BearerPlan
from tenants.tables import assistants, webhook_credentials

COLUMN = "assistants.vapi_before"
LEASE_SECONDS = 120  # longer than all that is asked of Vapi in one go
OLDER_SECRETS_SECONDS = 3600  # of a registration that was never answered: only Vapi may know them
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


async def take(connection: AsyncConnection, keyring: Keyring, tenant: TenantId, assistant: UUID) -> Setup:
    """Take the lease of an assistant.

    Raises:
        NotFound: the tenant has no such assistant. Conflict: somebody else holds it. SealBroken: see Keyring.open.
    """
    row, owner = await assistant_row(connection, tenant, assistant), uuid4()
    query = (
        update(assistants)
        .where(rows.tenant_id == tenant, rows.id == assistant, or_(rows.vapi_lease_until.is_(None), rows.vapi_lease_until < NOW))
        .values(vapi_owner=owner, vapi_lease_until=LEASE.bindparams(lease=LEASE_SECONDS))
        .returning(rows.vapi_before_sealed)
    )
    taken = (await connection.execute(query)).one_or_none()
    if taken is None:
        raise Conflict(BUSY, headers={"Retry-After": "5"})
    sealed = taken.vapi_before_sealed
    before = None if sealed is None else keyring.open(sealed, tenant, COLUMN)
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


async def begin(connection: AsyncConnection, keyring: Keyring, tenant: TenantId, new: New, actor: str) -> tuple[Setup, Registered]:
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
        return await take(connection, keyring, tenant, assistant), made
    setup = await take(connection, keyring, tenant, left_over)
    await set_fields(connection, tenant, left_over, name=new.name)
    secret = await credentials.add(connection, keyring, tenant, left_over, BEARER, new.secret)
    return setup, Registered(await assistant_row(connection, tenant, left_over), secret)


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
    """What stood at Vapi stands there again, or is not ours to touch any more: give the lease back.

    Raises:
        Conflict: the lease is another's by now.
    """
    cleared: dict[str, Any] = dict.fromkeys(("vapi_owner", "vapi_lease_until", "vapi_before_sealed", "vapi_draft_of", "vapi_configured_at"))
    await behind_fence(connection, setup, **cleared)
    await audit.record(connection, actor, "assistant.restored", setup.tenant, str(setup.assistant), restored=restored)


async def release(connection: AsyncConnection, setup: Setup, *, unchanged: bool) -> None:
    """Give the lease back, nothing if it is another's by now. Where Vapi is as it was, what was first written down now goes too."""
    ended: dict[str, Any] = {"vapi_owner": None, "vapi_lease_until": None}
    first = {"vapi_before_sealed": None} if unchanged and setup.before is None else {}
    await connection.execute(update(assistants).where(mine(setup)).values(**ended, **first))


async def refuse_if_taken(connection: AsyncConnection, tenant: TenantId, assistant: UUID) -> None:
    """Keep an assistant from being changed by others while it is configured.

    Raises:
        Conflict: somebody holds its lease.
    """
    query = select((rows.vapi_lease_until > NOW).label("taken")).where(rows.tenant_id == tenant, rows.id == assistant)
    if (await connection.execute(query.with_for_update())).scalar_one_or_none():
        raise Conflict(BUSY, headers={"Retry-After": "5"})


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


async def secrets_of(connection: AsyncConnection, keyring: Keyring, tenant: TenantId, assistant: UUID) -> list[str]:
    """The bearer secrets that Vapi may present for an assistant: its own, the newest first, then those of the whole tenant.

    Raises:
        SealBroken: see Keyring.open.
    """
    found = webhook_credentials.c
    query = (
        select(found.secret_sealed)
        .where(found.tenant_id == tenant, or_(found.assistant_id == assistant, found.assistant_id.is_(None)), found.valid_until > NOW)
        .order_by(found.assistant_id.is_(None), found.valid_until.desc(), found.id.desc())
    )
    return [keyring.open(sealed, tenant, credentials.COLUMN) for sealed in (await connection.execute(query)).scalars()]


async def retire_others(connection: AsyncConnection, keyring: Keyring, setup: Setup, secret: str, grace_seconds: int) -> None:
    """End the secrets of an assistant but this one, after a grace; one that ends sooner still does."""
    found = webhook_credentials.c
    end = func.least(found.valid_until, text("app.now() + make_interval(secs => :grace)").bindparams(grace=grace_seconds))
    query = update(webhook_credentials).where(
        found.tenant_id == setup.tenant, found.assistant_id == setup.assistant, found.secret_hash.not_in(keyring.digests(secret))
    )
    await connection.execute(query.values(valid_until=end))


async def drop_secret(connection: AsyncConnection, keyring: Keyring, setup: Setup, secret: str) -> None:
    """Take back a secret that nobody was told."""
    found = webhook_credentials.c
    query = update(webhook_credentials).where(
        found.tenant_id == setup.tenant, found.assistant_id == setup.assistant, found.secret_hash.in_(keyring.digests(secret))
    )
    await connection.execute(query.values(valid_until=NOW))

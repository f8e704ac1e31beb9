"""What Vapi proves itself with: secrets of an assistant or of the whole tenant, each until it ends.

A bearer secret is compared by its keyed hash; one that signs has to be read again and is sealed. Both are sealed for the one time
when Vapi is configured with them.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NoReturn
from uuid import UUID

import msgspec
from sqlalchemy import delete, insert, text
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.crypto import Keyring, SealBroken
from runtime.ids import TenantId, uuid7
from runtime.refusals import Conflict, NotFound
from tenants import audit
from tenants.bounds import Kind, take_turn
from tenants.signature_plans import USUAL_HEADERS, BearerPlan, Plan, SignaturePlan, check, check_secret, mode_of, new_secret
from tenants.tables import signing_credentials, webhook_credentials

COLUMN, SIGNING_COLUMN = "webhook_credentials.secret", "signing_credentials.secret"
MOST_SIGNING = 8  # each may cost a pass over the body of whoever posts; see webhooks/gate.py
MOST_HEADERS = 4  # beside Authorization and X-Vapi-Secret

# the newest secret has no end yet: rotation gives it one, and leaves the ends of older ones
RETIRE = [
    text(f"""
UPDATE {table} SET valid_until = least(valid_until, app.now() + make_interval(secs => :grace))
WHERE tenant_id = :tenant AND assistant_id IS NOT DISTINCT FROM CAST(:assistant AS uuid)
""")
    for table in ("webhook_credentials", "signing_credentials")
]
LIVE_SIGNING = text("SELECT count(*) FROM signing_credentials WHERE tenant_id = :tenant AND valid_until > app.now()")
LIVE_HEADERS = text("""
SELECT count(DISTINCT header) FROM webhook_credentials WHERE tenant_id = :tenant AND valid_until > app.now() AND header <> ALL (:usual)
""")
CURRENT = text("""
SELECT DISTINCT ON (assistant_id) assistant_id, created_at, secret_sealed, header, bearer_prefix, plan FROM (
  SELECT id, assistant_id, created_at, secret_sealed, header, bearer_prefix, NULL::jsonb AS plan
  FROM webhook_credentials WHERE tenant_id = :tenant
  UNION ALL
  SELECT id, assistant_id, created_at, secret_sealed, NULL, NULL, plan FROM signing_credentials WHERE tenant_id = :tenant
) AS every WHERE CAST(:wanted AS uuid[]) IS NULL AND assistant_id IS NULL OR assistant_id = ANY (CAST(:wanted AS uuid[]))
ORDER BY assistant_id, id DESC
""")


@dataclass(frozen=True, slots=True)
class Credential:
    """The newest credential of an assistant or a tenant."""

    plan: Plan
    created_at: datetime
    sealed: str = field(repr=False)

    def secret(self, keyring: Keyring, tenant: TenantId) -> str:
        """Read it, to keep it under another plan or to configure Vapi with it.

        Raises:
            SealBroken: it was sealed by a key that is gone.
        """
        return keyring.open(self.sealed, tenant, COLUMN if isinstance(self.plan, BearerPlan) else SIGNING_COLUMN)


@dataclass(frozen=True, slots=True)
class Made:
    """A credential that was just made, and its secret at the only time it is shown; None where it is the one from before."""

    plan: Plan
    created_at: datetime
    secret: str | None = field(repr=False)


async def add(
    connection: AsyncConnection,
    keyring: Keyring,
    tenant: TenantId,
    assistant: UUID | None,
    plan: Plan,
    given: str | None = None,
    number: UUID | None = None,
) -> str:
    """Make and store a credential, with a secret of ours unless one is given; gives the secret. `number`: the id that it gets.

    Raises:
        Invalid: the plan cannot work, or the given secret is none. Conflict: the tenant has as many as it may.
    """
    check(plan)
    if given is not None:
        check_secret(plan, given)
    secret = new_secret(plan) if given is None else given
    common: dict[str, Any] = {"tenant_id": tenant, "id": number or uuid7(), "assistant_id": assistant}
    if isinstance(plan, SignaturePlan):
        await refuse_too_many_signing(connection, tenant)
        sealed = keyring.seal(secret, tenant, SIGNING_COLUMN)
        await connection.execute(insert(signing_credentials).values(**common, secret_sealed=sealed, plan=msgspec.to_builtins(plan)))
        return secret
    await connection.execute(
        insert(webhook_credentials).values(
            **common,
            mode="bearer",
            secret_hash=keyring.digest(secret),
            secret_sealed=keyring.seal(secret, tenant, COLUMN),
            header=plan.header_name,
            bearer_prefix=plan.bearer_prefix,
        ),
    )
    if plan.header_name not in USUAL_HEADERS:
        await refuse_too_many_headers(connection, tenant)
    return secret


async def refuse_too_many_signing(connection: AsyncConnection, tenant: TenantId) -> None:
    """Refuse one more signing secret of a tenant that has as many as it may.

    Raises:
        Conflict: it has.
    """
    await take_turn(connection, tenant, Kind.CREDENTIALS)
    if (await connection.execute(LIVE_SIGNING, {"tenant": tenant})).scalar_one() >= MOST_SIGNING:
        raise Conflict(
            f"This tenant has {MOST_SIGNING} signing secrets that are valid, those in a grace included. End some with grace_seconds 0, "
            "or use one for the whole tenant (PUT /v1/webhook-credential)."
        )


async def refuse_too_many_headers(connection: AsyncConnection, tenant: TenantId) -> None:
    """Refuse a further header to look into.

    Raises:
        Conflict: there are too many.
    """
    await take_turn(connection, tenant, Kind.CREDENTIALS)
    if (await connection.execute(LIVE_HEADERS, {"tenant": tenant, "usual": list(USUAL_HEADERS)})).scalar_one() > MOST_HEADERS:
        raise Conflict(f"A tenant's secrets come in at most {MOST_HEADERS} headers of their own.")


async def retire(connection: AsyncConnection, tenant: TenantId, assistant: UUID | None, grace_seconds: int) -> None:
    """End what an assistant (or the whole tenant) has, after the grace."""
    for statement in RETIRE:
        await connection.execute(statement, {"tenant": tenant, "assistant": assistant, "grace": grace_seconds})


async def current(connection: AsyncConnection, tenant: TenantId, assistant: UUID | None) -> Credential | None:
    """The newest credential of an assistant, or of the whole tenant."""
    found = await connection.execute(CURRENT, {"tenant": tenant, "wanted": None if assistant is None else [assistant]})
    row = found.mappings().one_or_none()
    return None if row is None else credential(row)


async def current_of(connection: AsyncConnection, tenant: TenantId, assistants: list[UUID]) -> dict[UUID, Credential]:
    """The newest credential of each of these assistants."""
    found = await connection.execute(CURRENT, {"tenant": tenant, "wanted": assistants})
    return {row["assistant_id"]: credential(row) for row in found.mappings()}


def credential(row: Any) -> Credential:
    """From a row of CURRENT."""
    plan: Plan = (
        BearerPlan(row["header"], row["bearer_prefix"]) if row["plan"] is None else msgspec.convert(row["plan"], SignaturePlan, strict=True)
    )
    return Credential(plan, row["created_at"], row["secret_sealed"])


async def put(
    connection: AsyncConnection, keyring: Keyring, tenant: TenantId, plan: Plan, given: str | None, grace_seconds: int, actor: str
) -> Made:
    """Set the credential of the whole tenant; without a given secret it keeps the one it has, as long as the mode is the same.

    Raises:
        Invalid: the plan cannot work, or the secret is none. Conflict: the tenant has as many as it may.
    """
    check(plan)
    await take_turn(connection, tenant, Kind.CREDENTIALS)
    before = await current(connection, tenant, None)
    kept = kept_secret(keyring, tenant, before, plan) if given is None else None
    await retire(connection, tenant, None, grace_seconds)
    secret = await add(connection, keyring, tenant, None, plan, kept if given is None else given)
    await audit.record(
        connection, actor, "credential.changed", tenant, mode=mode_of(plan), grace_seconds=grace_seconds, new_secret=kept is None
    )
    made = await current(connection, tenant, None) or missing()
    return Made(plan, made.created_at, None if kept else secret)


def kept_secret(keyring: Keyring, tenant: TenantId, before: Credential | None, plan: Plan) -> str | None:
    """The secret from before that goes on under another plan; None where it does not serve, or cannot be opened."""
    if before is None or not fits(before.plan, plan):
        return None
    try:
        return before.secret(keyring, tenant)
    except SealBroken:
        return None


def fits(before: Plan, plan: Plan) -> bool:
    """Whether a secret made for one plan serves under another."""
    if isinstance(before, SignaturePlan) and isinstance(plan, SignaturePlan):
        return before.secret_is_base64 == plan.secret_is_base64
    return isinstance(before, BearerPlan) and isinstance(plan, BearerPlan)


async def rotate(connection: AsyncConnection, keyring: Keyring, tenant: TenantId, grace_seconds: int, actor: str) -> Made:
    """Make a new secret for the whole tenant under the plan that it has; the ones before it end after the grace.

    Raises:
        NotFound: it has none. Conflict: the tenant has as many as it may.
    """
    await take_turn(connection, tenant, Kind.CREDENTIALS)
    before = await current(connection, tenant, None) or missing()
    await retire(connection, tenant, None, grace_seconds)
    secret = await add(connection, keyring, tenant, None, before.plan)
    await audit.record(connection, actor, "credential.secret_rotated", tenant, grace_seconds=grace_seconds)
    made = await current(connection, tenant, None) or missing()
    return Made(made.plan, made.created_at, secret)


async def remove(connection: AsyncConnection, tenant: TenantId, actor: str) -> None:
    """Forget the credential of the whole tenant and those before it, at once.

    Raises:
        NotFound: it has none.
    """
    if await current(connection, tenant, None) is None:
        missing()
    for table in (webhook_credentials, signing_credentials):
        await connection.execute(delete(table).where(table.c.tenant_id == tenant, table.c.assistant_id.is_(None)))
    await audit.record(connection, actor, "credential.removed", tenant)


def missing() -> NoReturn:
    """The tenant has none.

    Raises:
        NotFound: always.
    """
    raise NotFound("credential")

"""Who asked not to be texted, and by whom: one sender (its number, or the pool of its Messaging Service) or the tenant.

Twilio blocks a pair of sender and person (help article 223134027). A revoked consent tends to mean the whole business
(47 CFR 64.1200(a)(10)), so that is what a STOP covers unless the tenant says otherwise. The rules stand in 10_consent.sql:
they hold the setting while they act by it.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from sqlalchemy import and_, false, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from messaging.tables import consent_settings
from runtime.ids import TenantId
from tenants import audit
from tenants.tables import senders

NAME = "default"
SUPPRESS = text("SELECT app.suppress_v1(:tenant, :recipient, CAST(:senders AS uuid[]), :source)")
RESUME = text("SELECT app.resume_v1(:tenant, :recipient, CAST(:senders AS uuid[]))")
SET = text("SELECT app.set_stop_covers_v1(:tenant, :covers)")


class Consent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`stop_covers`: whom a STOP to one sender stops, all of the tenant's texts or those of that sender."""

    stop_covers: Annotated[Literal["tenant", "sender"], msgspec.Meta(examples=["sender"])] = "tenant"


async def read(connection: AsyncConnection, tenant: TenantId) -> Consent:
    """The tenant's setting."""
    query = select(consent_settings.c.stop_covers).where(consent_settings.c.tenant_id == tenant, consent_settings.c.name == NAME)
    found = (await connection.execute(query)).scalar_one_or_none()
    return Consent() if found is None else Consent(found)


async def change(connection: AsyncConnection, tenant: TenantId, actor: str, wanted: Consent) -> None:
    """Set it. From `sender` to `tenant` all that was asked of one sender counts for the tenant from now on."""
    widened = (await connection.execute(SET, {"tenant": tenant, "covers": wanted.stop_covers})).scalar_one()
    await audit.record(connection, actor, "consent.changed", tenant, None, stop_covers=wanted.stop_covers, widened=widened)


async def senders_reached(connection: AsyncConnection, tenant: TenantId, form: Mapping[str, str]) -> Sequence[UUID]:
    """The senders that an inbound text was sent to: the pool whose service took it, and the number itself where it is a sender too."""
    service, number, account = (form.get(name) or None for name in ("MessagingServiceSid", "To", "AccountSid"))
    reached = or_(
        senders.c.messaging_service_sid == service if service else false(),
        senders.c.from_number == number if number else false(),
    )
    where = and_(senders.c.tenant_id == tenant, reached)
    if account:
        where = and_(where, senders.c.account_sid == account)
    return (await connection.execute(select(senders.c.id).where(where))).scalars().all()


async def suppress(connection: AsyncConnection, tenant: TenantId, recipient: str, sender_ids: Sequence[UUID], source: str) -> None:
    """Text this person no more, from these senders or (as the setting says, or where none is known) from any. Said twice is said once."""
    values = {"tenant": tenant, "recipient": recipient, "senders": list(sender_ids), "source": source}
    await connection.execute(SUPPRESS, values)


async def resume(connection: AsyncConnection, tenant: TenantId, recipient: str, sender_ids: Sequence[UUID]) -> None:
    """Text this person again, who asked these senders for it; the tenant's own list is not theirs to shorten."""
    await connection.execute(RESUME, {"tenant": tenant, "recipient": recipient, "senders": list(sender_ids)})

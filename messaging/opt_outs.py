"""The list of whom a tenant does not text, as its API keeps it: added to, read, and lifted from."""

from typing import Any
from uuid import UUID

from sqlalchemy import Text, Uuid, bindparam, delete, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from messaging.tables import opt_outs, sender_opt_outs
from runtime.ids import TenantId
from runtime.refusals import Invalid, NotFound
from tenants import audit
from tenants.tables import senders

NOBODY = UUID(int=0)  # of the tenant-wide entries in the order of the list: before every sender
OURS = "api"

# Both halves are read in the order of their keys, so that a page of a long list costs no more than one of a short list.
LIST = text("""
SELECT entry.recipient, entry.sender_id, entry.source, entry.created_at FROM (
  (SELECT o.recipient, CAST(NULL AS uuid) AS sender_id, o.source, o.created_at FROM opt_outs AS o
   WHERE o.tenant_id = :tenant AND o.recipient > :after
     AND (CAST(:recipient AS text) IS NULL OR o.recipient = :recipient) AND CAST(:sender AS uuid) IS NULL
   ORDER BY o.recipient LIMIT :most)
  UNION ALL
  (SELECT o.recipient, o.sender_id, o.source, o.created_at FROM sender_opt_outs AS o
   WHERE o.tenant_id = :tenant AND (o.recipient, o.sender_id) > (:after, CAST(:after_sender AS uuid))
     AND (CAST(:recipient AS text) IS NULL OR o.recipient = :recipient) AND (CAST(:sender AS uuid) IS NULL OR o.sender_id = :sender)
   ORDER BY o.recipient, o.sender_id LIMIT :most)
) AS entry ORDER BY entry.recipient, entry.sender_id NULLS FIRST LIMIT :most
""").bindparams(
    bindparam("after", type_=Text),
    bindparam("after_sender", type_=Uuid),
    bindparam("recipient", type_=Text),
    bindparam("sender", type_=Uuid),
)

Place = tuple[str, UUID]  # where a page ended: a number, and the sender or NOBODY


async def put(connection: AsyncConnection, tenant: TenantId, recipient: str, sender_id: UUID | None) -> dict[str, Any]:
    """Put a person on the list, for one sender or for all; from then on it is the tenant's own entry, which no START lifts.

    Raises:
        Invalid: the tenant has no such sender.
    """
    values: dict[str, Any] = {"tenant_id": tenant, "recipient": recipient, "source": OURS, "created_at": text("app.now()")}
    table, key = opt_outs, ["tenant_id", "recipient"]
    if sender_id is not None:
        query = select(senders.c.id).where(senders.c.tenant_id == tenant, senders.c.id == sender_id)
        if (await connection.execute(query)).scalar_one_or_none() is None:
            raise Invalid.at("/sender_id", "There is no such sender.")
        table, key = sender_opt_outs, [*key, "sender_id"]
        values["sender_id"] = sender_id
    kept = insert(table).values(**values).on_conflict_do_update(index_elements=key, set_={"source": OURS})
    row = (await connection.execute(kept.returning(*table.c))).mappings().one()
    return {"sender_id": None, **row}


async def list_opt_outs(
    connection: AsyncConnection, tenant: TenantId, *, recipient: str | None, sender_id: UUID | None, after: Place | None, limit: int
) -> list[dict[str, Any]]:
    """By number, for each the tenant-wide entry first; `sender_id` shows that sender's own entries alone."""
    number, sender = after or ("", NOBODY)
    values = {"tenant": tenant, "after": number, "after_sender": sender, "recipient": recipient, "sender": sender_id, "most": limit}
    return [dict(row) for row in (await connection.execute(LIST, values)).mappings()]


async def remove(connection: AsyncConnection, tenant: TenantId, recipient: str, sender_id: UUID | None, actor: str) -> None:
    """Lift an entry whoever made it: the tenant answers for having consent again. Twilio's own block stays until the person says START.

    Raises:
        NotFound: there is no such entry.
    """
    gone = delete(opt_outs).where(opt_outs.c.tenant_id == tenant, opt_outs.c.recipient == recipient).returning(opt_outs.c.source)
    if sender_id is not None:
        where = (sender_opt_outs.c.tenant_id == tenant, sender_opt_outs.c.recipient == recipient, sender_opt_outs.c.sender_id == sender_id)
        gone = delete(sender_opt_outs).where(*where).returning(sender_opt_outs.c.source)
    source = (await connection.execute(gone)).scalar_one_or_none()
    if source is None:
        raise NotFound("opt-out")
    await audit.record(
        connection, actor, "opt_out.removed", tenant, f"…{recipient[-4:]}", source=source, sender_id=sender_id and str(sender_id)
    )

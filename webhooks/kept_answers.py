"""Answers of the API that are kept under an Idempotency-Key: looked up, claimed, written, in the transaction of the change itself.

No state "in progress" is ever stored. Whoever works under a key holds two advisory locks until the commit: one of the key, one of
the key with what was asked. Whoever comes meanwhile learns from them at once, without waiting, which of the two it shares.
"""

from dataclasses import dataclass

import msgspec
from sqlalchemy import BigInteger, bindparam, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from runtime.crypto import Keyring, SealBroken
from runtime.ids import TenantId, uuid7
from runtime.refusals import Conflict, Unprocessable
from webhooks.keys import lock_number
from webhooks.tables import processed_webhooks

COLUMN = "processed_webhooks.answer"
IN_FLIGHT = "A request with this Idempotency-Key is being worked on. Send it again."
OTHER_BODY = "This Idempotency-Key was used before with another body."
SEALED_AWAY = (
    "This call was done before; its answer is sealed with a key that has been taken out of service, so it cannot be shown again. "
    "Look at what the call made, or use a new Idempotency-Key to make it anew."
)

numbers = (bindparam("request", type_=BigInteger), bindparam("key", type_=BigInteger))
# The order matters: who fails at the second lock has the first one, so that it is not the same request that is being worked on.
TAKE = text("""
SELECT CASE WHEN NOT pg_try_advisory_xact_lock(:request) THEN 'unclear' WHEN pg_try_advisory_xact_lock(:key) THEN 'mine' ELSE 'other' END
""").bindparams(*numbers)
# Whoever holds the request's lock may hold it only while it finds out that the key is another request's.
OTHER_WORKS = text("""
SELECT EXISTS (SELECT held.pid FROM (
  SELECT l.pid, l.classid::bigint << 32 | l.objid::bigint AS number FROM pg_locks AS l
  WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
    AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())) AS held
  GROUP BY held.pid HAVING bool_or(held.number = :key) AND NOT bool_or(held.number = :request))
""").bindparams(*numbers)


@dataclass(frozen=True, slots=True)
class Request:
    """A request under a key: 16 bytes that name it within its tenant, 16 bytes of what it asks, and its route."""

    tenant: TenantId
    key: bytes
    fingerprint: bytes
    operation: str


class Answer(msgspec.Struct, frozen=True):
    """What was answered, byte for byte."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


async def claim(connection: AsyncConnection, keyring: Keyring, request: Request) -> Answer | None:
    """The answer that was kept, or None: then the request is the caller's to work on until its transaction ends.

    Raises:
        Unprocessable: the key is another request's. Conflict: the same request is being worked on, or its answer cannot be opened.
    """
    kept = await look(connection, keyring, request)
    if kept is None:
        await take(connection, request)
        kept = await look(connection, keyring, request)  # it may have been done between the look and the lock
    return kept


async def look(connection: AsyncConnection, keyring: Keyring, request: Request) -> Answer | None:
    """The answer that was kept for a request, if it was done.

    Raises:
        Unprocessable: the key is another request's. Conflict: the answer cannot be opened.
    """
    rows = processed_webhooks.c
    query = select(rows.fingerprint, rows.answer).where(rows.tenant_id == request.tenant, rows.key == request.key)
    found = (await connection.execute(query)).one_or_none()
    if found is None:
        return None
    if found.fingerprint != request.fingerprint:
        raise Unprocessable(OTHER_BODY)
    try:
        opened = keyring.open(found.answer, request.tenant, COLUMN)
    except SealBroken as error:
        raise Conflict(SEALED_AWAY) from error
    return msgspec.json.decode(opened, type=Answer)


async def take(connection: AsyncConnection, request: Request) -> None:
    """Take the request's locks until the transaction ends; wait for nobody.

    Raises:
        Unprocessable: somebody works on another request under the key. Conflict: somebody works on this one.
    """
    locks = lock_numbers(request)
    taken = (await connection.execute(TAKE, locks)).scalar_one()
    if taken == "mine":
        return
    if taken == "other" or (await connection.execute(OTHER_WORKS, locks)).scalar_one():
        raise Unprocessable(OTHER_BODY)
    raise Conflict(IN_FLIGHT, headers={"Retry-After": "1"})


async def keep(connection: AsyncConnection, keyring: Keyring, request: Request, answer: Answer) -> None:
    """Write the answer down, sealed: it may hold a secret that is shown once."""
    sealed = keyring.seal(msgspec.json.encode(answer).decode(), request.tenant, COLUMN)
    await connection.execute(
        insert(processed_webhooks).values(
            tenant_id=request.tenant,
            key=request.key,
            fingerprint=request.fingerprint,
            webhook_id=uuid7(),
            place=0,
            source="api",
            type=request.operation,
            name=request.operation,
            state="done",
            answer=sealed,
            received_at=text("app.now()"),
        )
    )


def lock_numbers(request: Request) -> dict[str, int]:
    """The numbers of the two advisory locks: of the key, and of the key with what is asked."""
    about = ("request", request.tenant, request.key)
    return {"key": lock_number(*about), "request": lock_number(*about, request.fingerprint)}

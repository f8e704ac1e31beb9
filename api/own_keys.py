"""The Idempotency-Key of a request that asks somebody else's server: no transaction may be open meanwhile, so nothing claims the key.

The answer is kept in the transaction that closes the books. Whoever sends the same request meanwhile meets the lease of the thing itself
(409); a request whose process died before the end is done anew.
"""

from dataclasses import dataclass
from typing import Any

from litestar import Response
from litestar.status_codes import HTTP_204_NO_CONTENT
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from api.callers import Caller
from api.held_answers import REPLAYED
from api.idempotency import KEY_HEADER
from api.once import Incoming, named_request
from api.wiring import Wiring
from webhooks import kept_answers

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class OwnKey:
    """What a request says of its key; `request` is None where it names none, or where the operator turned keys away."""

    wiring: Wiring
    request: kept_answers.Request | None

    @classmethod
    async def of(cls, wiring: Wiring, incoming: Incoming, caller: Caller) -> "OwnKey":
        """Read it.

        Raises:
            Invalid: the header is malformed or comes twice.
        """
        named = KEY_HEADER in incoming.headers and caller.tenant.switch("idempotency", "enforce") == "enforce"
        return cls(wiring, await named_request(incoming, caller) if named else None)

    async def answered(self) -> Response[Any] | None:
        """What was answered before.

        Raises:
            Unprocessable: the key is another request's. Conflict: the answer cannot be opened.
        """
        if self.request is None:
            return None
        async with self.wiring.database.tenant_scope(self.request.tenant) as connection:
            kept = await kept_answers.look(connection, self.wiring.keyring, self.request)
        return None if kept is None else repeated(kept)

    async def keep(self, connection: AsyncConnection, status: int, body: bytes) -> None:
        """Keep the answer; where another request took the key meanwhile, its answer stays."""
        if self.request is None:
            return
        headers = (("content-type", JSON), ("content-length", str(len(body)))) if body else ()
        try:
            async with connection.begin_nested():
                await kept_answers.keep(connection, self.wiring.keyring, self.request, kept_answers.Answer(status, headers, body))
        except IntegrityError:
            return


def answer(body: bytes, status: int) -> Response[Any]:
    """An answer as it was kept."""
    return Response(body, status_code=status, media_type=JSON)


def repeated(kept: kept_answers.Answer) -> Response[Any]:
    """An answer once more."""
    name, value = (each.decode() for each in REPLAYED)
    if kept.status == HTTP_204_NO_CONTENT:
        return Response(None, status_code=kept.status, headers={name: value})
    return Response(kept.body, status_code=kept.status, media_type=JSON, headers={name: value})

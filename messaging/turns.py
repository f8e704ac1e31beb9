"""Turns at Twilio: an account that was told it has too many requests in flight (20429) gets no more at once than it may have.

One worker's view, as the limit is learned for each worker; an account is known by its tenant too, so that nobody waits for a neighbour.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from runtime.ids import TenantId


@dataclass(slots=True)
class _Account:
    in_flight: int = 0
    at_once: int | None = None
    waiting: deque["asyncio.Future[None]"] = field(default_factory=deque)

    @property
    def full(self) -> bool:
        return self.at_once is not None and self.in_flight >= self.at_once

    def admit(self) -> None:
        """Let those go who may, in the order in which they came."""
        while self.waiting and not self.full:
            turn = self.waiting.popleft()
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)


class Turns:
    """Calls in flight, by tenant and account."""

    def __init__(self) -> None:
        self._accounts: dict[tuple[TenantId, str], _Account] = {}

    def in_flight(self, tenant: TenantId, account_sid: str) -> int:
        """Calls under way."""
        account = self._accounts.get((tenant, account_sid))
        return account.in_flight if account else 0

    @asynccontextmanager
    async def turn(self, tenant: TenantId, account_sid: str, at_once: int | None, patience: float) -> AsyncIterator[bool]:
        """A turn until the block ends; False when none came within `patience` seconds: then nothing may be asked.

        `at_once`: calls that the account may have in flight, as known when the message was leased; None for any number. The newest holds.
        """
        key = (tenant, account_sid)
        account = self._accounts.setdefault(key, _Account())
        if account.at_once != at_once:
            account.at_once = at_once
            account.admit()
        mine = await self._wait(account, patience)
        try:
            yield mine
        finally:
            if mine:
                account.in_flight -= 1
                account.admit()
            if not account.in_flight and not account.waiting and self._accounts.get(key) is account:
                del self._accounts[key]

    async def _wait(self, account: _Account, patience: float) -> bool:
        if not account.full and not account.waiting:
            account.in_flight += 1
            return True
        if patience <= 0:
            return False
        turn = asyncio.get_running_loop().create_future()
        account.waiting.append(turn)
        try:
            async with asyncio.timeout(patience):
                await turn
        except TimeoutError:
            return False
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it came as we were told to stop
                account.in_flight -= 1
                account.admit()
            raise
        return True

"""Repeating what is safe to repeat while storage has a passing trouble."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from runtime import metrics
from runtime.database import passing_condition
from runtime.refusals import Unavailable

TRIES = 3
PAUSE_SECONDS = 0.05

Result = TypeVar("Result")


async def persistently(operation: Callable[[], Awaitable[Result]]) -> Result:
    """Repeat an operation that is safe to repeat while storage has a passing trouble.

    Raises:
        Unavailable: it lasted.
    """
    for attempt in range(1, TRIES + 1):
        try:
            return await operation()
        except Exception as error:
            condition = passing_condition(error)
            if condition is None:
                raise
            metrics.STORAGE_TROUBLE.labels(condition).inc()
            if attempt == TRIES or isinstance(error, TimeoutError):  # a time-out has used up the caller's patience
                raise Unavailable from error
        await asyncio.sleep(PAUSE_SECONDS * attempt)
    raise AssertionError("the last attempt returns or raises")

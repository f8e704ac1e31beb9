"""Reporting to a stand-in for Sentry over HTTP, as `trunkline serve` starts it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import sentry_sdk

from runtime.sentry import start_sentry
from sandbox.sentry import SentrySandbox


@asynccontextmanager
async def reporting() -> AsyncIterator[SentrySandbox]:
    """Ended with the block, for the tests that follow."""
    async with SentrySandbox.running() as sandbox:
        start_sentry(sandbox.dsn(), "api", "test", "0")
        yield sandbox
        await asyncio.to_thread(sentry_sdk.get_client().close, 2)
        sentry_sdk.get_global_scope().set_client(None)
        sentry_sdk.get_global_scope().clear()


async def sent(sentry: SentrySandbox) -> list[dict[str, Any]]:
    """Everything that has left."""
    await asyncio.to_thread(sentry_sdk.flush, 5)
    return [item["payload"] for item in sentry.items]

"""The duty that asks Vapi about calls that never reported, once, as a worker does it: `python -m tests.faults.ask_vapi`.

A claim ends after a second instead of minutes, so that what died is taken over while somebody watches.
"""

import asyncio
from datetime import timedelta

from runtime.database import open_database
from runtime.settings import load
from tenants.snapshot import TenantBook
from tenants.vapi_accounts import VapiKeys
from webhooks.late_calls import LateCalls
from webhooks.late_reports import Rules
from webhooks.vapi_client import VapiClient

RULES = Rules(claim=timedelta(seconds=1), lag=timedelta(days=1))  # calls that only tool calls spoke of are not noted here


async def ask() -> None:
    """One round."""
    settings = load("database_url", "secret_keys")
    database = await open_database(settings.database_url, connections=2)
    try:
        async with VapiClient(settings.vapi_base_url) as vapi:
            keyring = settings.keyring
            keys, tenants = VapiKeys(database, keyring), TenantBook(database)
            await LateCalls(database, keyring, vapi, keys, tenants, operator_key="", rules=RULES).reconcile()
    finally:
        await database.close()


if __name__ == "__main__":
    asyncio.run(ask())

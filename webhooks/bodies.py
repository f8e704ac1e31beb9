"""Interim."""


async def body_of(connection, tenant, webhook_id):
    return None


async def keep(database, tenant, webhook_id, days, body):
    return None

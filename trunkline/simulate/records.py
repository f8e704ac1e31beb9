"""What Trunkline recorded of some calls, read from its API as the tenant would."""

from collections.abc import Collection
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from runtime import clock
from trunkline.simulate.agreement import FREQUENT
from trunkline.simulate.seats import Seat

METERS = {"call_seconds": "seconds", "vapi_cost_usd": "cost"}
AROUND = timedelta(days=2)
CLOCKS_DIFFER = timedelta(minutes=1)


class Records:
    """One tenant's records from a moment on. Usage is counted from what there was before; `calls` are this run's."""

    def __init__(self, seat: Seat, began: datetime) -> None:
        self._seat = seat
        self._began = began
        self._before: dict[str, Decimal] = {}

    async def begin(self) -> None:
        """Note what there is already.

        Raises:
            ApiTrouble: it cannot be read.
        """
        self._before = await self._usage()

    async def read(self, calls: Collection[str]) -> dict[str, Decimal]:
        """What is recorded of these calls by now.

        Raises:
            ApiTrouble: it cannot be read.
        """
        webhooks = duplicates = texts = 0
        since = self._began - CLOCKS_DIFFER
        async for webhook in self._seat.api.since("/v1/webhooks", "received_at", since):
            if webhook["call_id"] in calls and webhook["type"] not in FREQUENT:
                webhooks, duplicates = webhooks + 1, duplicates + webhook["duplicates"]
        async for message in self._seat.api.since("/v1/messages", "created_at", since):
            texts += message.get("call_id") in calls
        usage = await self._usage()
        used = {name: usage.get(name, Decimal(0)) - self._before.get(name, Decimal(0)) for name in METERS.values()}
        return {"webhooks": Decimal(webhooks), "duplicates": Decimal(duplicates), "texts": Decimal(texts), **used}

    async def _usage(self) -> dict[str, Decimal]:
        window = {"from": clock.rfc3339(self._began - AROUND), "to": clock.rfc3339(self._began + AROUND)}
        used: dict[str, Any] = await self._seat.api.ask("GET", "/v1/usage", params=window)
        return {METERS[item["meter"]]: Decimal(item["quantity"]) for item in used["items"] if item["meter"] in METERS}

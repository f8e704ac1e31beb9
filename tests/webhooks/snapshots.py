"""A tenant as ingest knows it, without a database: what is decided from it is decided without one."""

from dataclasses import replace
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from runtime import clock
from runtime.ids import TenantId, uuid7
from runtime.sentry import TenantTags
from tenants.snapshot import SenderView, Snapshot
from tenants.tiers import tier

REGISTRATION = UUID("01900000-0000-7000-8000-0000000000aa")


def sender(tier_name: str = "short_code", **more: Any) -> SenderView:
    """A default sender with an empty queue."""
    values: dict[str, Any] = {
        "id": uuid7(),
        "registration_id": REGISTRATION,
        "is_default": True,
        "from_number": "55100",
        "tier": tier_name,
        "segments_per_minute": tier(tier_name).segments_per_minute,
        "queued_segments": 0,
        "hold_reason": None,
        "paced_for": 0.0,
    }
    return SenderView(**{**values, **more})


def snapshot(*senders: SenderView, **changes: Any) -> Snapshot:
    """An active tenant in Los Angeles."""
    tenant = TenantId(uuid7())
    made = Snapshot(
        id=tenant,
        slug="a-tenant",
        name="A tenant",
        zone=ZoneInfo("America/Los_Angeles"),
        plan="standard",
        status="active",
        max_tier=None,
        operator_tier=None,
        switches={},
        assistants=frozenset({"assistant-1"}),
        credentials={},
        senders=senders,
        tags=TenantTags(str(tenant), "a-tenant", "short_code"),
        taken_at=clock.monotonic(),
    )
    return replace(made, **changes)

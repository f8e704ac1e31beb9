"""The switch idempotency: what a delivery that came before means."""

from typing import Literal, cast

from tenants.snapshot import Snapshot

Mode = Literal["enforce", "observe", "off"]
ENFORCE: Mode = "enforce"  # its stored answer
OBSERVE: Mode = "observe"  # recorded as one, and run again all the same
OFF: Mode = "off"  # nothing: the store of keys is not touched


def mode_of(tenant: Snapshot) -> Mode:
    """How the tenant's deliveries are taken now."""
    return cast(Mode, tenant.switch("idempotency", ENFORCE))

"""When a text may leave: the law's hours for marketing in the US, and the tenant's own, in the wall time of whoever gets it.

Pure, from data and the tenant's snapshot: asked when a text is accepted, so that what is said about it is right, and again
before it leaves.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import partial

from messaging import legal_hours, recipients
from messaging.wall_hours import DAY_MINUTES, Rule, Windows, all_allow, first_allowed
from messaging.whereabouts import state_of, zones_of
from tenants.hours import Hours
from tenants.opening_hours import minutes
from tenants.snapshot import Snapshot

SWITCH, ENFORCE, OFF = "quiet_hours", "enforce", "off"
SELLS = "marketing"  # the only class that the law's hours hold for
NEVER_HELD = "otp"  # a code is worthless in the morning


def put_off(tenant: Snapshot, e164: str, message_class: str, moment: datetime) -> datetime:
    """When a text that would leave at `moment` may: then, or in the first minute that is allowed. Under `observe` and `off`: then."""
    if message_class == NEVER_HELD or tenant.switch(SWITCH, ENFORCE) != ENFORCE:
        return moment
    return next_allowed(tenant, e164, message_class, moment)


def next_allowed(tenant: Snapshot, e164: str, message_class: str, moment: datetime) -> datetime:
    """As `put_off`, whatever the switch says.

    Where the tenant's own hours leave no minute that the law allows too, the law's alone hold; where they leave none in all zones
    that the number may be in, they hold in the tenant's own.
    """
    law, own = rules_for(tenant, e164, message_class)
    if not law and not own:
        return moment
    zones = zones_of(e164) or (tenant.zone,)
    found = first_allowed([(rule, zone) for rule in (*law, *own) for zone in zones], moment)
    if found is None and law:
        found = first_allowed([(rule, zone) for rule in law for zone in zones], moment)
    if found is None:
        found = first_allowed([(rule, tenant.zone) for rule in own], moment)
    return moment if found is None else found


def allowed(tenant: Snapshot, e164: str, message_class: str, moment: datetime) -> bool:
    """Whether every rule allows it in every zone that the number may be in."""
    law, own = rules_for(tenant, e164, message_class)
    return all_allow([(rule, zone) for rule in (*law, *own) for zone in zones_of(e164) or (tenant.zone,)], moment)


def rules_for(tenant: Snapshot, e164: str, message_class: str) -> tuple[Sequence[Rule], Sequence[Rule]]:
    """The law's and the tenant's own rules for a text of a class to a number."""
    law: Sequence[Rule] = (partial(legal_hours.in_use().windows, state_of(e164)),) if message_class == SELLS and under_us_law(e164) else ()
    setting = tenant.quiet_hours
    own: Sequence[Rule] = (partial(own_windows, setting.hours),) if setting is not None and message_class in setting.classes else ()
    return law, own


def under_us_law(e164: str) -> bool:
    """Whether the number belongs to a state or a territory of the US."""
    return e164.startswith("+1") and recipients.parse(e164, None).region in legal_hours.in_use().regions


def own_windows(hours: Hours, day: date) -> Windows:
    """A tenant's own hours on a day, what reaches into it from the day before included."""
    today = [(begin, min(end, DAY_MINUTES)) for begin, end in map(minutes, hours.of(day))]
    try:
        before = hours.of(day - timedelta(days=1))
    except OverflowError:  # the calendar's first day has none before it
        return today
    return [(0, end - DAY_MINUTES) for _, end in map(minutes, before) if end > DAY_MINUTES] + today

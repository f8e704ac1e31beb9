"""`trunkline cleanup`: one run of the clean-up, shown to people while it works and told to programs at its end."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import Progress as Bars
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

from runtime.database import open_database
from runtime.ids import TenantId
from runtime.settings import Settings
from webhooks.body_days import BodyDay
from webhooks.cleanup import CleanUp, Progress, clean_up, nobody_watches

MEGABYTE = 1_000_000


async def clean(settings: Settings, *, dry_run: bool, shown: bool) -> dict[str, Any]:
    """Run it to its end; the result as programs get it."""
    database = await open_database(settings.database_url, connections=2)
    try:
        with watched(dry_run=dry_run, shown=shown and sys.stderr.isatty()) as progress:
            return told(await clean_up(database, dry_run=dry_run, progress=progress))
    finally:
        await database.close()


@contextmanager
def watched(*, dry_run: bool, shown: bool) -> Iterator[Progress]:
    """A line on the terminal that counts keys; how many there will be is not known before they are counted."""
    if not shown:
        yield nobody_watches
        return
    verb = "Counting" if dry_run else "Forgetting"
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.completed:,.0f} keys"), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(f"{verb} keys")

        def note(tenant: TenantId, keys: int) -> None:
            bars.update(task, advance=keys, description=f"{verb} keys of {tenant}")

        yield note


def told(done: CleanUp) -> dict[str, Any]:
    """What a run did, or would do, as JSON."""
    return {
        "dry_run": done.dry_run,
        "keys": sum(done.keys.values()),
        "by_tenant": {str(tenant): keys for tenant, keys in done.keys.items()},
        "call_contents": sum(done.contents.values()),
        "text_refusals": done.text_refusals,
        "days": [day_of(day) for day in done.days],
        "bytes": done.bytes_returned,
        "days_left_for_next_time": [day_of(day) for day in done.held_days],
        "days_made": done.days_made,
        "finished": done.finished,
    }


def day_of(day: BodyDay) -> dict[str, Any]:
    """One day of bodies as JSON."""
    return {"kept_days": day.kept_days, "kept_on": day.kept_on.isoformat(), "bytes": day.bytes}


def summary(result: dict[str, Any]) -> str:
    """What a clean-up did, for people: one sentence, then a line for each tenant and each day."""
    verb = "would leave" if result["dry_run"] else "left"
    keys, bodies = f"{result['keys']:,} expired keys of {len(result['by_tenant'])} tenants", f"{len(result['days'])} days of bodies"
    lines = [f"{keys} {verb}, and {bodies} with {megabytes(result['bytes'])}, and what was said in {result['call_contents']:,} calls."]
    lines += [f"  tenant {tenant}  {keys:>12,} keys" for tenant, keys in result["by_tenant"].items()]
    lines += [f"  {day['kept_on']}, kept for {day['kept_days']} days  {megabytes(day['bytes']):>12}" for day in result["days"]]
    lines += [f"  {day['kept_on']}, kept for {day['kept_days']} days: in use, next time" for day in result["days_left_for_next_time"]]
    return "\n".join(lines)


def megabytes(size: int) -> str:
    """Bytes as people read them."""
    return f"{size / MEGABYTE:,.1f} MB"

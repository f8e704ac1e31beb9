"""The commands `trunkline simulate call` and `trunkline simulate day`."""

import asyncio
import json
import secrets
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

SIMULATED_DEFAULT_SPEED = 1200.0
where = [
    click.option(
        "--data-dir",
        default=".trunkline",
        show_default=True,
        type=click.Path(path_type=Path),
        help="Of a running `make run`: its dev.json names the rest.",
    ),
    click.option("--base-url", help="Where the API answers; on this machine only."),
    click.option("--admin-key", envvar="TRUNKLINE_ADMIN_KEY", help="The operator's key."),
    click.option("--vapi-url", help="Where a sandbox Vapi answers; on this machine only."),
    click.option("--seed", default=None, help="The same seed draws the same calls; without one it is drawn and told."),
    click.option("--json", "as_json", is_flag=True, help="For programs."),
]


def located(command: Callable[..., None]) -> Callable[..., None]:
    """With the options that both commands have."""
    for option in reversed(where):
        command = option(command)
    return command


@click.group()
def simulate() -> None:
    """Play calls of the sandbox Vapi against an installation on this machine."""


@simulate.command()
@click.option("--tenant", "slug", required=True, help="The slug of the tenant that is called.")
@click.option("--script", default="any", show_default=True, help="A script's name, or a file with one.")
@click.option("--speed", default=10.0, show_default=True, type=click.FloatRange(0.001), help="How many times faster than life.")
@located
def call(slug: str, script: str, speed: float, seed: str | None, *, as_json: bool, data_dir: Path, **urls: str | None) -> None:
    """Play one call and show each message with its answer as it happens; exit code 1 when something went wrong."""
    from trunkline.simulate.call import line, play_call, summary
    from trunkline.simulate.target import target

    drawn = seed or secrets.token_hex(4)

    async def run() -> dict[str, Any]:
        found = target(data_dir, urls["base_url"], urls["admin_key"], urls["vapi_url"])
        return await play_call(found, slug, script, drawn, speed, (lambda _: None) if as_json else lambda one: click.echo(line(one)))

    result = ended(run)
    click.echo(json.dumps({"seed": drawn, **result}) if as_json else f"\nSeed {drawn}.\n{summary(result)}")
    sys.exit(0 if result["agrees"] else 1)


@simulate.command()
@click.option("--tenants", default=5, show_default=True, type=click.IntRange(1, 1000))
@click.option("--calls", default=50, show_default=True, type=click.IntRange(1, 100_000))
@click.option(
    "--speed", default=SIMULATED_DEFAULT_SPEED, show_default=True, type=click.FloatRange(1), help="How many times faster than life."
)
@click.option("--duplicates", default=0.1, show_default=True, type=click.FloatRange(0, 1), help="The share of messages that come again.")
@click.option("--at-once", default=16, show_default=True, type=click.IntRange(1, 500), help="How many calls at once at most.")
@click.option("--patience", default=150.0, show_default=True, type=click.FloatRange(0), help="Seconds to wait for the books to agree.")
@located
def day(
    seed: str | None, *, as_json: bool, data_dir: Path, base_url: str | None, admin_key: str | None, vapi_url: str | None, **wanted: Any
) -> None:
    """Play a day of calls for tenants of its own; exit code 1 when Trunkline's books are not the sandbox's."""
    from trunkline.simulate.day import Day, Wanted
    from trunkline.simulate.page import page
    from trunkline.simulate.target import target
    from trunkline.simulate.view import watched

    async def run() -> dict[str, Any]:
        found = target(data_dir, base_url, admin_key, vapi_url)
        with watched(wanted["calls"], shown=not as_json) as view:
            today = Day(found, Wanted(seed=seed or secrets.token_hex(4), **wanted), view)
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, today.stop)
            return await today.play()

    result = ended(run)
    click.echo(json.dumps(result) if as_json else page(result))
    sys.exit(130 if result["interrupted"] else 0 if result["agrees"] else 1)


def ended(run: Callable[[], Any]) -> Any:
    """What a simulation gives, or one sentence on stderr: exit code 2 when nothing can be played there, 1 when it failed on the way."""
    from trunkline.simulate.api import ApiTrouble
    from trunkline.simulate.player import BrokeOff
    from trunkline.simulate.target import NotPlayable

    try:
        return asyncio.run(run())
    except NotPlayable as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    except asyncio.CancelledError:
        click.echo("Stopped at once; what was played is not compared.", err=True)
        sys.exit(130)
    except (ApiTrouble, BrokeOff) as error:
        click.echo(f"The simulation ended early: {error}.", err=True)
        sys.exit(1)

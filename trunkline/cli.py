"""The command line: `trunkline = trunkline.cli:main`. Each command imports what it needs, so that `--help` is quick."""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from runtime.settings import SettingError, Settings, load
from runtime.version import VERSION
from trunkline.simulate.command import simulate

API_NEEDS = ("database_url", "redis_url", "public_base_url", "secret_keys", "admin_key")
WORKER_NEEDS = ("database_url", "redis_url", "public_base_url", "secret_keys")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="trunkline")
def main() -> None:
    """The backend behind a fleet of Vapi voice assistants."""


def settings_for(*required: str) -> Settings:
    """The settings, or one sentence on stderr and exit code 2."""
    try:
        return load(*required)
    except SettingError as error:
        click.echo(str(error), err=True)
        sys.exit(2)


def settings_that_judge(*required: str) -> Settings:
    """As `settings_for`, for what decides when texts leave: the rules about hours can be read too."""
    from messaging.legal_hours import rules_of

    settings = settings_for(*required)
    try:
        rules_of(settings.quiet_hours_file)
    except SettingError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    return settings


@main.command()
def serve() -> None:
    """Run the API: stateless, one process, any number of replicas."""
    from trunkline.serve import serve as run

    run(settings_that_judge(*API_NEEDS))


@main.command()
def worker() -> None:
    """Run the dispatcher and the periodic duties: one process, any number of replicas."""
    import uvloop

    from trunkline.observed import observe
    from trunkline.worker import work

    settings = settings_that_judge(*WORKER_NEEDS)
    observe(settings, "worker")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work(settings))


@main.command()
@click.option("--to", "revision", default="head", show_default=True, help="The revision to go up to.")
def migrate(revision: str) -> None:
    """Migrate the database as the owner role; safe to run twice and at once."""
    from migrations.refusal import MigrationRefused
    from migrations.run import upgrade

    settings = settings_for("database_owner_url")
    application = urlsplit(settings.database_url)
    try:
        upgrade(settings.database_owner_url, application.username or "trunkline_app", application.password, revision)
    except MigrationRefused as error:
        click.echo(str(error), err=True)
        sys.exit(1)


@main.command()
@click.option("--dry-run", is_flag=True, help="Tell what it would do.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def cleanup(*, dry_run: bool, as_json: bool) -> None:
    """Remove idempotency keys and kept bodies whose retention is over. The worker does it hourly."""
    from trunkline.cleaning import clean, summary

    result = asyncio.run(clean(settings_for("database_url"), dry_run=dry_run, shown=not as_json))
    told(result, as_json=as_json, text=summary)


@main.command()
@click.option("--tenant", "slug", help="Only this one, by its slug.")
@click.option("--all", "everybody", is_flag=True, help="Idle tenants too.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def queue(slug: str | None, *, everybody: bool, as_json: bool) -> None:
    """Show what waits, is on its way and has left, by tenant; the longest queue first."""
    from trunkline.queue_page import NoSuchTenant, look, page

    try:
        result = asyncio.run(look(settings_for("database_url"), slug, everybody=everybody))
    except NoSuchTenant as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    told(result, as_json=as_json, text=page)


@main.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def doctor(context: click.Context, *, as_json: bool) -> None:
    """Look at everything this installation stands on; exit code 1 when something is wrong, each finding with what to do."""
    if context.invoked_subcommand is not None:
        return
    from trunkline.doctor import examine
    from trunkline.doctor_page import page

    result = asyncio.run(examine(settings_for("database_url", "redis_url")))
    told(result, as_json=as_json, text=page)
    sys.exit(0 if result["ok"] else 1)


@doctor.command("webhook")
@click.option("--tenant", required=True, help="The slug in the address that Vapi posts to.")
@click.option("--file", "file", required=True, type=click.Path(path_type=Path), help="A captured delivery: JSON or a raw request.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor_webhook(tenant: str, file: Path, *, as_json: bool) -> None:
    """Explain why a captured delivery is let in (exit code 0) or refused (1): names and lengths, never a secret."""
    from trunkline.webhook_doctor.captured import Unreadable
    from trunkline.webhook_doctor.examine import examine
    from trunkline.webhook_doctor.page import page

    settings = settings_for("database_url", "public_base_url", "secret_keys")
    try:
        result = asyncio.run(examine(settings, tenant, file))
    except Unreadable as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    told(result, as_json=as_json, text=page)
    sys.exit(0 if result["accepted"] else 1)


def told(result: dict[str, Any], *, as_json: bool, text: Callable[[dict[str, Any]], str]) -> None:
    """Show a result to people or to programs."""
    click.echo(json.dumps(result) if as_json else text(result))


@main.command()
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65_535), help="Where the API listens.")
@click.option(
    "--data-dir", default=".trunkline", show_default=True, type=click.Path(path_type=Path), help="Where the servers keep their data."
)
@click.option("--demo", is_flag=True, help="Play the story once and exit.")
def dev(port: int, data_dir: Path, *, demo: bool) -> None:
    """Run everything on this machine: servers, sandboxes, API, worker and a demo tenant."""
    from trunkline.dev.run import run_dev

    sys.exit(run_dev(port, data_dir, demo=demo))


main.add_command(simulate)


@main.group()
def secrets() -> None:
    """Keys for secrets at rest."""


@secrets.command("new")
@click.option("--id", "key_id", default="k1", show_default=True, help="What sealed values are marked with.")
def new_secret(key_id: str) -> None:
    """Make an entry for TRUNKLINE_SECRET_KEYS."""
    from runtime.crypto import new_master_key

    click.echo(new_master_key(key_id))


if __name__ == "__main__":
    main()

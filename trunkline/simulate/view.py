"""The live view of a day: a bar with counts on a terminal, a line for each tenth of the calls elsewhere, nothing for programs."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from trunkline.simulate.player import Delivery

ACCEPTED = range(200, 300)


class View:
    """Counts for whoever watches."""

    def __init__(self, calls: int, progress: Progress | None, *, lines: bool) -> None:
        self._calls, self._lines = calls, lines
        self._progress = progress
        self._task = progress.add_task("making tenants", total=calls, words="") if progress else None
        self._tenants = self._played = self._webhooks = self._duplicates = self._failed = 0
        self._told = 0

    def seated(self, _slug: str) -> None:
        """A tenant is there."""
        self._tenants += 1
        self._show(f"{self._tenants} tenants")

    def delivered(self, delivery: Delivery) -> None:
        """A delivery is over."""
        good = delivery["status"] in ACCEPTED
        self._webhooks += good
        self._duplicates += good and delivery["replayed"]
        self._failed += not good
        self._show("playing")

    def played(self) -> None:
        """A call is over."""
        self._played += 1
        self._show("playing")
        if self._lines and self._played * 10 // self._calls > self._told:
            self._told = self._played * 10 // self._calls
            click.echo(f"{self._played} of {self._calls} calls played: {self._words()}", err=True)

    def waits(self, tenants: int) -> None:
        """The books of so many tenants do not agree yet."""
        if self._lines and self._told < 11:  # noqa: PLR2004  once, after the tenth tenth
            self._told = 11
            click.echo("waiting for the counts of duplicates, which are folded in once a minute", err=True)
        self._show(f"waiting for {tenants} tenants' counts")

    def _words(self) -> str:
        failed = f", {self._failed:,} not answered well" if self._failed else ""
        return f"{self._webhooks:,} deliveries, {self._duplicates:,} of them replayed{failed}"

    def _show(self, what: str) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=self._played, description=what, words=self._words())


@contextmanager
def watched(calls: int, *, shown: bool) -> Iterator[View]:
    """A view that ends with the block; on stderr, so that results stay alone on stdout."""
    console = Console(stderr=True)
    if not (shown and console.is_terminal):
        yield View(calls, None, lines=shown)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("calls · {task.fields[words]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield View(calls, progress, lines=False)

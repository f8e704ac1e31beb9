"""What a day came to, for people: each figure as it was sent and as it is recorded, by tenant and in total."""

from decimal import Decimal
from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table

from trunkline.simulate.agreement import FIGURES, Span, amount

WIDTH = 150


def page(result: dict[str, Any]) -> str:
    """The whole page as text."""
    out = StringIO()
    console = Console(file=out, width=WIDTH, highlight=False)
    table = Table(title=f"A day of calls, seed {result['seed']}", title_justify="left", show_footer=False)
    table.add_column("tenant")
    table.add_column("calls", justify="right")
    for figure in FIGURES:
        table.add_column(f"{figure}\nsent", justify="right")
        table.add_column("\nrecorded", justify="right")
    for row in result["rows"]:
        table.add_row(*cells(row))
    table.add_section()
    table.add_row(*cells(result["total"]))
    console.print(table)
    for line in remarks(result):
        console.print(line, markup=False)
    return out.getvalue().rstrip()


def cells(row: dict[str, Any]) -> list[str]:
    """One line: what differs is marked with !, what could not be read with ?."""
    found = [row["tenant"], f"{row['calls']:,}"]
    for figure in FIGURES:
        sent = row["sent"][figure]
        found.append(str(Span(Decimal(sent["least"]), Decimal(sent["most"]))))
        recorded = "?" if row["recorded"] is None else amount(Decimal(row["recorded"][figure]))
        found.append(f"! {recorded}" if figure in row["differs"] else recorded)
    return found


def remarks(result: dict[str, Any]) -> list[str]:
    """What stands below the table; the verdict comes last."""
    played = result["total"]["calls"]
    lines = [
        f"{played} calls in {result['played_seconds']:g} s, {result['took_seconds']:g} s with the comparison; cost in USD.",
        f"Beside these, {result['frequent']:,} high-frequency messages (speech, conversation, partial transcripts): not kept one by one.",
    ]
    if result["failed_deliveries"]:
        lines.append(f"{result['failed_deliveries']:,} deliveries got no good answer: what may have been recorded of them is a span.")
    lines += [f"Broke off: {each}." for each in result["calls_broken"][:10]]
    if result["interrupted"]:
        lines.append(f"Interrupted after {played} of {result['calls_planned']} calls; counts of duplicates may come a minute later.")
    if result["given_up"]:
        lines.append(f"Given up after {played} of {result['calls_planned']} calls: Trunkline answered nothing well any more.")
    if any(row["recorded"] is None for row in result["rows"]):
        lines.append("Trunkline's records could not be read: it does not answer.")
    differs = not all(row["agrees"] for row in result["rows"])
    lines.append("The books do NOT agree: what differs is marked with !." if differs else "Both books agree.")
    return lines

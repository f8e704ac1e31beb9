"""What the doctor found, for people: a table of findings, then the database in numbers."""

from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table

MEGABYTE = 1_000_000
WIDTH = 140


def page(result: dict[str, Any]) -> str:
    """The whole page as text."""
    out = StringIO()
    console = Console(file=out, width=WIDTH, highlight=False)
    findings = Table("", "what", "found", "what to do", box=None)
    for each in result["findings"]:
        findings.add_row("ok" if each["ok"] else "!!", each["name"], each["found"], each["what_to_do"])
    console.print(findings)
    if result["health"]:
        print_health(console, result["health"])
    console.print("\nNothing is wrong." if result["ok"] else "\nSomething is wrong; what to do stands beside it.")
    return out.getvalue().rstrip()


def print_health(console: Console, health: dict[str, Any]) -> None:
    """Sizes, rows and keys; estimates are marked with ~."""
    tables = Table("table", "MB", "rows", "dead rows", "last vacuum", box=None, title="Database", title_justify="left")
    for table in health["tables"]:
        size, rows = f"{table['bytes'] / MEGABYTE:,.1f}", f"~{table['rows_estimate']:,}"
        tables.add_row(table["name"], size, rows, f"~{table['dead_rows']:,}", table["last_vacuum"] or "")
    bodies = health["bodies"]
    tables.add_row("webhook_bodies", f"{bodies['bytes'] / MEGABYTE:,.1f}", f"{bodies['days']} days", "", f"oldest {bodies['oldest']}")
    console.print(tables)
    keys = health["keys"]
    if not keys["by_tenant"]:
        return
    listed = Table("tenant", "keys", "oldest", "newest", box=None, title="Idempotency keys by tenant, most first", title_justify="left")
    for tenant in keys["by_tenant"]:
        listed.add_row(tenant["slug"], f"~{tenant['keys_estimate']:,}", tenant["oldest"], tenant["newest"])
    console.print(listed)
    console.print(f"{keys['tenants_with_keys']} tenants have keys; the oldest is of {keys['oldest']}, the newest of {keys['newest']}.")

"""What the doctor says of a delivery, for people."""

from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH = 160


def page(result: dict[str, Any]) -> str:
    """The whole page as text; what came from outside is never read as markup."""
    out = StringIO()
    console = Console(file=out, width=WIDTH, highlight=False, markup=False)
    table = Table("", "what", "expected", "arrived", "what to do", box=None)
    for each in result["findings"]:
        cells = ("ok" if each["holds"] else "!!", each["about"], each["expected"], each["arrived"], each["what_to_do"])
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)
    size = result["arrived"]["body_bytes"]
    body = "no body was captured" if size is None else f"a body of {size:,} bytes"
    console.print(f"\nWhat arrived: {', '.join(result['arrived']['headers']) or 'no headers'}; {body}.")
    console.print(f"{result['tenant']} {'lets this delivery in' if result['accepted'] else 'refuses this delivery'}, as it is set up now.")
    return out.getvalue().rstrip()

"""Draws what `make demo` printed as a picture of a terminal.

Usage: `make demo > story.txt`, then `python docs/picture.py < story.txt > docs/story.svg`.

What comes before the story (notices with paths and ports of one machine) becomes a single line of dots; the rest stands as it was printed.
"""  # noqa: INP001  a script beside the documents, not a package

import sys
from collections.abc import Sequence
from itertools import dropwhile
from xml.sax.saxutils import escape

FIRST_WORDS, MISSED = "A caller", "  ! "
COLUMN, LINE, MARGIN, SIZE = 7.6, 20, 24, 12.6
PAPER, INK, DIM, GREEN = "#0f172a", "#e2e8f0", "#94a3b8", "#4ade80"
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


class NoStory(Exception):
    """What was printed holds no story, or one that broke off; the text is one sentence."""


def story_of(printed: str) -> list[str]:
    """The lines of the story, from its first words on.

    Raises:
        NoStory: it is not there, or it was not played to its end.
    """
    told = [line.rstrip() for line in dropwhile(lambda line: not line.startswith(FIRST_WORDS), printed.splitlines())]
    while told and not told[-1]:
        told.pop()
    if not told:
        raise NoStory("There is no story in what was printed.")
    if any(line.startswith(MISSED) for line in told):
        raise NoStory("The story broke off: there is nothing to show.")
    return told


def drawn(told: Sequence[str]) -> str:
    """The picture, without a font or a script of anybody else's."""
    lines = ["$ make demo", "…", *told]
    width, height = max(map(len, lines)) * COLUMN + 2 * MARGIN, len(lines) * LINE + 2 * MARGIN
    texts = "\n".join(text(line, MARGIN + LINE * (number + 0.75)) for number, line in enumerate(lines))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width:g} {height:g}" font-family="{FONTS}" font-size="{SIZE}">\n'
        f"<title>make demo: one tool call is delivered twice, one text leaves, one segment is billed</title>\n"
        f'<rect width="{width:g}" height="{height:g}" rx="10" fill="{PAPER}"/>\n{texts}\n</svg>\n'
    )


def text(line: str, y: float) -> str:
    """One line; its length is fixed, so that columns stand in every font."""
    words = line.lstrip()
    x = MARGIN + (len(line) - len(words)) * COLUMN
    colour = GREEN if words.startswith("$") else INK if line.startswith(" ") else DIM
    place = f'x="{x:g}" y="{y:g}" textLength="{len(words) * COLUMN:g}" lengthAdjust="spacingAndGlyphs"'
    return f'<text {place} fill="{colour}">{escape(words)}</text>'


def main() -> int:
    """From stdin to stdout."""
    try:
        sys.stdout.write(drawn(story_of(sys.stdin.read())))
    except NoStory as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The project's documents as a reader sees them: links, commands, names in code."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"!?\[[^\]]*\]\((?P<to>[^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Fence:
    """A fenced block: what kind it calls itself, and its text."""

    kind: str
    text: str


@dataclass(frozen=True)
class Document:
    """One Markdown file."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def prose(self) -> str:
        """The text without its blocks."""
        return FENCE.sub("", self.text)

    @cached_property
    def fences(self) -> list[Fence]:
        return fences_in(self.text)

    @cached_property
    def spans(self) -> list[str]:
        return SPAN.findall(self.prose)

    @cached_property
    def code(self) -> list[str]:
        """Everything that is written as code: spans, and the lines of blocks."""
        return [*self.spans, *(line.strip() for fence in self.fences for line in fence.text.splitlines())]

    @cached_property
    def links(self) -> list[str]:
        """Targets inside the repository."""
        return [to for to in LINK.findall(self.prose) if "://" not in to]

    @cached_property
    def anchors(self) -> set[str]:
        """Of its headings, as the usual renderers make them."""
        return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in HEADING.findall(self.prose)}

    def section(self, heading: str) -> str:
        """The text between a heading of the second level and the next."""
        (found,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", self.text, re.MULTILINE | re.DOTALL)
        return str(found)

    def rows(self, heading: str) -> list[list[str]]:
        """The cells of the first table in a section, without its head."""
        lines = [line for line in self.section(heading).splitlines() if line.startswith("|")]
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def fences_in(text: str) -> list[Fence]:
    return [Fence(found["kind"], found["text"]) for found in FENCE.finditer(text)]


def documents() -> Iterator[Document]:
    """Every document of ours."""
    for pattern in ("*.md", "docs/**/*.md", "k8s/*.md", "benchmarks/*.md"):
        for path in sorted(ROOT.glob(pattern)):
            yield Document(path)


def document(name: str) -> Document:
    return Document(ROOT / name)

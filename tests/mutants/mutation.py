"""A mutation: the code broken in one way, and the tests that have to see it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


class Stale(Exception):
    """The text that a mutation replaces is not there exactly once, so that it breaks nothing, or something else."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One textual replacement in a file of the house."""

    file: str
    old: str
    new: str

    def made_in(self, text: str) -> str:
        """The text with the replacement.

        Raises:
            Stale: what is to be replaced stands there never, or more than once.
        """
        if (count := text.count(self.old)) != 1:
            raise Stale(f"{self.file} holds the text {count} times, not once: {self.old.strip().splitlines()[0]}")
        return text.replace(self.old, self.new)


@dataclass(frozen=True, slots=True)
class Mutation:
    """`name` says what is broken, `tests` are pytest's node ids, at least one of which must fail by an assertion."""

    name: str
    edits: Sequence[Edit]
    tests: Sequence[str]


def mutation(name: str, file: str, old: str, new: str, *tests: str) -> Mutation:
    """A mutation of one replacement."""
    return Mutation(name, (Edit(file, old, new),), tests)


def broken_texts(house: Path, chosen: Mutation) -> dict[str, str]:
    """The files that a mutation changes, by name, as they are to be.

    Raises:
        Stale: see Edit.
    """
    texts: dict[str, str] = {}
    for edit in chosen.edits:
        texts[edit.file] = edit.made_in(texts.get(edit.file) or (house / edit.file).read_text("utf-8"))
    return texts


def staleness(house: Path, chosen: Mutation) -> Iterator[str]:
    """Why a mutation does not fit the code, if it does not."""
    try:
        broken_texts(house, chosen)
    except (Stale, OSError) as error:
        yield str(error)
    for test in chosen.tests:
        file, _, name = test.partition("::")
        if not (house / file).exists() or (name and f"def {name}(" not in (house / file).read_text("utf-8")):
            yield f"there is no {test}"

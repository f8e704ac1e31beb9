"""The README's picture shows the story as it is told today, and nothing of the machine that told it."""

import re
from xml.etree import ElementTree as ET

import pytest

from docs.picture import NoStory, drawn, story_of
from tests.docs.conftest import House
from tests.docs.documents import ROOT

TEXT = "{http://www.w3.org/2000/svg}text"


def lines_of(svg: str) -> list[str]:
    return ["".join(text.itertext()) for text in ET.fromstring(svg).iter(TEXT)]  # noqa: S314  our own picture


def without_particulars(line: str) -> str:
    """A line without what differs from run to run: ids, ports, times, durations."""
    return re.sub(r"\d+", "0", re.sub(r"SM[0-9a-f]{32}", "SM", line)).strip()


def test_the_picture_tells_the_story_of_today(house: House) -> None:
    told = [without_particulars(line) for line in story_of(house.printed)]
    drawn_lines = [without_particulars(line) for line in lines_of((ROOT / "docs" / "story.svg").read_text())]
    assert drawn_lines[:2] == ["$ make demo", "…"]
    assert len(drawn_lines) > 2 + 5
    assert drawn_lines[2:] == told[: len(drawn_lines) - 2]


def test_a_picture_holds_the_story_and_nothing_before_it() -> None:
    svg = drawn(story_of("ready at /somewhere/dev.json\n\nA caller asks <for> a text & gets it\n  1. sent\n"))
    assert lines_of(svg) == ["$ make demo", "…", "A caller asks <for> a text & gets it", "1. sent"]
    assert "somewhere" not in svg


@pytest.mark.parametrize("printed", ["", "ready\n", "A caller asks\n  1. posted\n  ! missed within 10 s: the replay\n"])
def test_no_picture_without_a_whole_story(printed: str) -> None:
    with pytest.raises(NoStory):
        story_of(printed)

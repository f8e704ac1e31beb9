"""`make mutants` itself: what it takes for a kill, and that every mutation fits the code as it is."""

from pathlib import Path

import pytest

from tests.mutants.catalogue import MUTATIONS
from tests.mutants.copies import judged
from tests.mutants.mutation import Edit, Mutation, Stale, broken_texts, staleness

HOUSE = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("chosen", MUTATIONS, ids=lambda each: each.name)
def test_every_mutation_fits_the_code(chosen: Mutation) -> None:
    assert list(staleness(HOUSE, chosen)) == []
    broken = broken_texts(HOUSE, chosen)
    assert all(text != (HOUSE / name).read_text("utf-8") for name, text in broken.items())


def test_every_mutation_has_a_name_of_its_own() -> None:
    assert len({each.name for each in MUTATIONS}) == len(MUTATIONS)


@pytest.mark.parametrize("text", ["", "a a"])
def test_what_does_not_stand_there_once_is_stale(text: str) -> None:
    with pytest.raises(Stale):
        Edit("f", "a", "b").made_in(text)


def report(path: Path, inside: str, name: str = "test_x", module: str = "tests.api.test_once") -> Path:
    path.write_text(f'<testsuites><testsuite><testcase classname="{module}" name="{name}">{inside}</testcase></testsuite></testsuites>')
    return path


@pytest.mark.parametrize(
    ("inside", "verdict"),
    [
        ('<failure message="AssertionError: assert 1 == 2&#10;  more"/>', "killed"),
        ('<failure message="assert 1 == 2"/>', "killed"),
        ('<failure message="Failed: DID NOT RAISE &lt;class X&gt;"/>', "killed"),
        ('<failure message="asyncpg.exceptions.UndefinedColumnError: no such column"/>', "broken"),
        ('<failure message="NameError: x"/>', "broken"),
        ('<error message="failed on setup with &quot;AssertionError: assert 0&quot;"/>', "broken"),
        ('<error message="collection failure"/>', "broken"),
    ],
)
def test_only_an_assertion_of_a_test_is_a_kill(tmp_path: Path, inside: str, verdict: str) -> None:
    assert judged(1, report(tmp_path / "r.xml", inside), "").verdict == verdict


def test_a_copy_that_tests_other_code_proves_nothing(tmp_path: Path) -> None:
    failed = report(tmp_path / "r.xml", '<failure message="AssertionError: assert 1"/>', module="tests.mutants.test_origin")
    assert judged(1, failed, "").verdict == "broken"


def test_what_passes_survives_and_what_does_not_run_is_broken(tmp_path: Path) -> None:
    assert judged(0, tmp_path / "none.xml", "").verdict == "survived"
    assert judged(4, tmp_path / "none.xml", "ERROR: file not found").detail == "ERROR: file not found"
    assert judged(2, report(tmp_path / "r.xml", ""), "interrupted").verdict == "broken"

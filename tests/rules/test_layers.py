"""The import contracts of pyproject.toml, proven on an empty copy of the house that gets good and bad imports."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

HOUSE = Path(__file__).resolve().parents[2]
SETTINGS: dict[str, Any] = tomllib.loads((HOUSE / "pyproject.toml").read_text(encoding="utf-8"))
DOWN = ["trunkline", "api", "webhooks", "messaging", "billing", "tenants", "runtime"]
ROOMS = [*DOWN, "migrations"]

GOOD = [(upper, lower) for place, upper in enumerate(DOWN) for lower in DOWN[place + 1 :]] + [
    ("migrations", "runtime"),
    ("trunkline", "migrations"),
]
BAD = [
    *((lower, upper) for place, upper in enumerate(DOWN) for lower in DOWN[place + 1 :]),
    *(("migrations", room) for room in DOWN if room != "runtime"),
    *((room, "migrations") for room in DOWN if room != "trunkline"),
    *(("sandbox", room) for room in ROOMS),
    *((room, "sandbox") for room in ROOMS),
]


def lint(house: Path, imports: list[tuple[str, str]]) -> subprocess.CompletedProcess[str]:
    """Run the linter in an empty copy of the house with these imports: each in a module of its own, so that none makes a chain."""
    for package in SETTINGS["tool"]["setuptools"]["packages"]:
        directory = house.joinpath(*package.split("."))
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "__init__.py").touch()
        (directory / "inside.py").touch()
    for importer, imported in imports:
        source = f"def use():\n    from {imported} import inside\n"  # inside a function, as one gets around a circle
        (house / importer / f"to_{imported}.py").write_text(source, encoding="utf-8")
    (house / "pyproject.toml").write_bytes((HOUSE / "pyproject.toml").read_bytes())
    command = [sys.executable, "-P", "-c", "from importlinter.cli import lint_imports_command as run; run(['--no-cache'])"]
    return subprocess.run(command, cwd=house, capture_output=True, text=True, check=False)  # noqa: S603  this interpreter


@pytest.fixture(scope="module")
def report_of_all_bad(tmp_path_factory: pytest.TempPathFactory) -> str:
    ran = lint(tmp_path_factory.mktemp("bad"), BAD)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    return ran.stdout


def test_the_contracts_know_every_room() -> None:
    packages = {package.partition(".")[0] for package in SETTINGS["tool"]["setuptools"]["packages"]}
    assert packages == {*ROOMS, "sandbox"} == set(SETTINGS["tool"]["importlinter"]["root_packages"])


def test_imports_that_point_down_pass(tmp_path: Path) -> None:
    ran = lint(tmp_path, GOOD)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"Analyzed {2 * len(SETTINGS['tool']['setuptools']['packages']) + len(GOOD)} files, {len(GOOD)} dependencies." in ran.stdout


@pytest.mark.parametrize(("importer", "imported"), BAD)
def test_an_import_that_does_not_is_named(report_of_all_bad: str, importer: str, imported: str) -> None:
    assert f"{importer}.to_{imported} -> {imported}.inside" in report_of_all_bad


def test_one_bad_import_is_enough_to_fail(tmp_path: Path) -> None:
    assert lint(tmp_path, [*GOOD, ("tenants", "billing")]).returncode == 1

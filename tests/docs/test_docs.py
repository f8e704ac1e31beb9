"""What the documents name exists, and what exists is named where a list claims to be whole."""

import re
from dataclasses import fields
from pathlib import Path

import click
import pytest
from prometheus_client import Counter
from prometheus_client.metrics import MetricWrapperBase

from api.app import create_app
from runtime import metrics
from runtime.settings import Settings
from tenants.switches import MODES
from tests.docs.documents import ROOT, Document, document, documents
from trunkline.cli import main

DOCUMENTS = list(documents())
MADE_AT_RUN_TIME = {"dev.json", ".trunkline/dev.json"}
SETTING = re.compile(r"TRUNKLINE_[A-Z]+(?:_[A-Z]+)*|SENTRY_DSN")
OPERATION = re.compile(r"^(GET|POST|PUT|PATCH|DELETE) (/[^\s?]+)$")
FILE = re.compile(r"[\w.-]+(?:/[\w.-]+)*\.(?:py|sql|lua|json|yaml|md|svg|mjs|txt)")
FOLDER = re.compile(r"[\w.-]+(?:/[\w.-]+)*/")
every_document = pytest.mark.parametrize("doc", DOCUMENTS, ids=lambda doc: doc.name)


def env_name(field: str) -> str:
    return "SENTRY_DSN" if field == "sentry_dsn" else f"TRUNKLINE_{field.upper()}"


DEFAULTS = {env_name(field.name): str(field.default) for field in fields(Settings)}


def operations() -> set[tuple[str, str]]:
    """What the OpenAPI document lists."""
    paths = create_app(Settings(), "none").openapi_schema.to_schema()["paths"]
    return {
        (method.upper(), path) for path, item in paths.items() for method in item if method in {"get", "post", "put", "patch", "delete"}
    }


def operations_in(doc: Document) -> set[tuple[str, str]]:
    return {(found[1], found[2]) for span in doc.spans if (found := OPERATION.match(span))}


@every_document
def test_links_lead_somewhere(doc: Document) -> None:
    for link in doc.links:
        target, _, anchor = link.partition("#")
        found = (doc.path.parent / target).resolve() if target else doc.path
        assert found.exists(), f"{doc.name} links to {link}, which is not there"
        if anchor:
            assert anchor in Document(found).anchors, f"{doc.name} links to {link}: there is no such heading"


@every_document
def test_named_files_and_folders_exist(doc: Document) -> None:
    for span in set(doc.spans) - MADE_AT_RUN_TIME:
        if FILE.fullmatch(span) or FOLDER.fullmatch(span):
            assert any((place / span).exists() for place in places(doc)), f"{doc.name} names {span}, which is not there"


def places(doc: Document) -> list[Path]:
    """From where a path in a document may be meant: from the root, from its folder, from a part of its folder."""
    here = doc.path.parent
    return [ROOT, here] if here == ROOT else [ROOT, here, *(path for path in here.rglob("*") if path.is_dir())]


@every_document
def test_named_make_targets_exist(doc: Document) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))
    named = {found for code in doc.code for found in re.findall(r"\bmake ([a-z][a-z0-9-]*)", code)}
    assert named <= targets


@every_document
def test_named_commands_and_their_options_exist(doc: Document) -> None:
    for code in doc.code:
        words = code.split("#")[0].split()
        if len(words) > 1 and words[0] == "trunkline":
            command: click.Command = main
            rest = words[1:]
            while rest and isinstance(command, click.Group):
                assert rest[0] in command.commands, f"{doc.name}: there is no `{code}`"
                command, rest = command.commands[rest[0]], rest[1:]
            options = {option for parameter in command.params for option in parameter.opts}
            assert {word for word in rest if word.startswith("--")} <= options, f"{doc.name}: {code}"


@every_document
def test_named_settings_exist(doc: Document) -> None:
    assert set(SETTING.findall(doc.text)) <= set(DEFAULTS)


@every_document
def test_named_operations_exist(doc: Document) -> None:
    assert operations_in(doc) <= operations()


@every_document
def test_named_metrics_exist(doc: Document) -> None:
    assert {name for span in doc.spans for name in re.findall(r"\btrunkline_[a-z_]+", span)} <= exported()


def exported() -> set[str]:
    """The metrics as Prometheus sees them."""
    ours = [value for value in vars(metrics).values() if isinstance(value, MetricWrapperBase)]
    return {f"{metric._name}_total" if isinstance(metric, Counter) else metric._name for metric in ours}


def test_the_readme_tells_every_setting_with_its_default() -> None:
    told = {row[0].strip("`"): row[1] for row in document("README.md").rows("Configuration")}
    assert told.keys() == DEFAULTS.keys()
    for name, default in told.items():
        assert (default.strip("`") if "`" in default else "") == DEFAULTS[name], name
        assert "`" in default or default in {"none", "empty"}, name


def test_the_api_guide_tells_every_operation() -> None:
    assert operations_in(document("docs/http-api.md")) == operations()


def test_operations_tells_every_metric() -> None:
    assert set(re.findall(r"\btrunkline_[a-z_]+", " ".join(document("docs/operations.md").spans))) == exported()


def test_operations_tells_every_switch_with_its_modes() -> None:
    told = {row[0].strip("`"): tuple(re.findall(r"`(\w+)`", row[1])) for row in document("docs/operations.md").rows("Switches")}
    assert told == MODES


def test_architecture_tells_every_table() -> None:
    told = {name for row in document("docs/architecture.md").rows("Tables") for name in re.findall(r"`([\w.]+)`", row[0])}
    sql = "".join(path.read_text() for path in sorted((ROOT / "migrations").rglob("*.sql")))
    assert told == set(re.findall(r"^CREATE TABLE ([\w.]+)", sql, re.MULTILINE))


def test_every_decision_is_in_the_index_and_says_why() -> None:
    folder = ROOT / "docs" / "decisions"
    records = {path.name for path in folder.glob("[0-9]*.md")}
    assert set(document("docs/decisions/README.md").links) == records
    for name in records:
        text = (folder / name).read_text()
        assert text.startswith(f"# {name[:4]}: ")
        assert re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE) == ["Context", "Decision", "Consequences", "Alternatives"], name

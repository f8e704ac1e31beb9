"""What Prometheus scrapes: names in its style, a hint for whoever is woken, labels that cannot grow without bound."""

import re

import pytest
from prometheus_client import REGISTRY, generate_latest

from runtime import metrics

OURS = [family for family in REGISTRY.collect() if family.name.startswith("trunkline_")]
BOUNDED = {"type", "status", "outcome", "condition", "duty", "reason", "action"}


def test_they_are_all_there() -> None:
    assert {name for name in dir(metrics) if name.isupper()} - {"OURS"}
    assert len(OURS) == len([name for name in dir(metrics) if name.isupper()])
    assert b"trunkline_pacer_closed_total" in generate_latest()


@pytest.mark.parametrize("family", OURS, ids=lambda family: family.name)
def test_each_is_named_and_explained(family: object) -> None:
    name, documentation = family.name, family.documentation  # type: ignore[attr-defined]  # a Metric
    assert re.fullmatch(r"trunkline_[a-z]+(_[a-z]+)*", name)
    assert len(documentation) > 20
    assert not name.endswith(("_total", "_milliseconds", "_ms"))


def test_no_label_is_an_id() -> None:
    for name in dir(metrics):
        if name.isupper():
            assert set(getattr(metrics, name)._labelnames) <= BOUNDED, name

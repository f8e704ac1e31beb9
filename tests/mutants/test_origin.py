"""What is tested is the checkout that the tests stand in: `make mutants` changes copies, and a copy that tests another proves nothing."""

from importlib import import_module
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[2]
PACKAGES = ("trunkline", "api", "webhooks", "messaging", "billing", "tenants", "runtime", "migrations", "sandbox")


@pytest.mark.parametrize("package", PACKAGES)
def test_the_code_is_the_one_beside_its_tests(package: str) -> None:
    origin = import_module(package).__file__
    assert origin is not None
    assert Path(origin).resolve().parent == HOUSE / package

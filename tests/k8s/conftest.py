"""The production overlay as each renderer at hand makes it, and ways into its objects."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from k8s import kubectl
from k8s.render import TEMPLATES, Manifest, descend, render

K8S = Path(__file__).parents[2] / "k8s"
RENDERERS = {"render.py": render} | ({"kubectl": kubectl.render} if kubectl.kustomize_version() else {})


@dataclass(frozen=True)
class Rendered:
    """The objects of one rendering."""

    objects: list[Manifest]

    def kind(self, *kinds: str) -> Iterator[Manifest]:
        return (each for each in self.objects if each["kind"] in kinds)

    def named(self, kind: str, name: str) -> Manifest:
        (found,) = (each for each in self.kind(kind) if each["metadata"]["name"] == name)
        return found

    def pods(self) -> dict[str, Manifest]:
        """Pod templates by component."""
        templates = [descend(each, TEMPLATES[each["kind"]][-1]) for each in self.objects if each["kind"] in TEMPLATES]
        return {template["metadata"]["labels"]["app.kubernetes.io/component"]: template for template in templates}

    def containers(self) -> dict[str, Manifest]:
        """Each pod's only container by component."""
        found: dict[str, Any] = {}
        for component, template in self.pods().items():
            assert "initContainers" not in template["spec"]
            (found[component],) = template["spec"]["containers"]
        return found

    def environment(self, component: str) -> tuple[dict[str, str], dict[str, tuple[str, str]]]:
        """What a container's settings are: plain ones by value, secret ones by Secret and key."""
        container = self.containers()[component]
        plain: dict[str, str] = {}
        for source in container.get("envFrom", []):
            plain |= self.named("ConfigMap", source["configMapRef"]["name"])["data"]
        plain |= {each["name"]: each["value"] for each in container["env"] if "value" in each}
        references = {each["name"]: each["valueFrom"]["secretKeyRef"] for each in container["env"] if "valueFrom" in each}
        return plain, {name: (reference["name"], reference["key"]) for name, reference in references.items()}


@pytest.fixture(scope="session", params=RENDERERS)
def rendered(request: pytest.FixtureRequest) -> Rendered:
    return Rendered(RENDERERS[request.param](K8S / "overlays" / "production"))


@pytest.fixture(scope="session")
def secrets() -> dict[tuple[str, str], str]:
    """Every key of the example Secrets with its placeholder."""
    documents = yaml.safe_load_all((K8S / "secrets.example.yaml").read_text())
    return {(each["metadata"]["name"], key): value for each in documents for key, value in each["stringData"].items()}

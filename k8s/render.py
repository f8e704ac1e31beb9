"""What `kustomize build` makes of our files, for machines without kubectl: exactly the features that we use, a refusal for any other.

Our checks read it; a cluster gets what kubectl renders. A test compares the two, object by object.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]
"""One Kubernetes object as its YAML reads."""

FEATURES = {"apiVersion", "kind", "namespace", "resources", "labels", "images", "configMapGenerator", "patches"}
NAMESPACED = {
    "ConfigMap", "CronJob", "Deployment", "HorizontalPodAutoscaler", "Ingress", "Job", "NetworkPolicy", "PodDisruptionBudget", "Service",
    "ServiceAccount",
}  # fmt: skip
TEMPLATES: dict[str, list[tuple[str, ...]]] = {
    "Deployment": [("spec", "template")],
    "Job": [("spec", "template")],
    "CronJob": [("spec", "jobTemplate"), ("spec", "jobTemplate", "spec", "template")],
}
REFERENCES = {"configMapRef", "configMapKeyRef", "configMap"}
HASH_LETTERS = str.maketrans("013ae", "ghkmt")  # kustomize avoids digits and vowels that could spell a word


class UnsupportedError(Exception):
    """A kustomization asks for what this renderer does not do; render it with kubectl, or teach the renderer."""


@dataclass
class Build:
    """Objects so far, and the names among them that get a hash at the end."""

    objects: list[Manifest] = field(default_factory=list)
    generated: set[str] = field(default_factory=set)

    def find(self, kind: str, name: str) -> Manifest:
        """The one object of that kind and name.

        Raises:
            UnsupportedError: there is none; kustomize would go on in silence.
        """
        for manifest in self.objects:
            if manifest["kind"] == kind and manifest["metadata"]["name"] == name:
                return manifest
        raise UnsupportedError(f"nothing here is a {kind} named {name}")


def render(directory: Path) -> list[Manifest]:
    """Every object of the kustomization in `directory`, in no particular order.

    Raises:
        UnsupportedError: a file uses a feature outside `FEATURES` or a kind outside `NAMESPACED` and Namespace.
    """
    build = accumulate(directory)
    for name in build.generated:
        add_hash(build, name)
    identities = [identity(manifest) for manifest in build.objects]
    if len(set(identities)) < len(identities):
        raise UnsupportedError(f"{directory}: one object is defined twice")
    return build.objects


def identity(manifest: Manifest) -> tuple[str, str, str]:
    """Kind, namespace ("" for none) and name: what makes an object that object."""
    return manifest["kind"], manifest["metadata"].get("namespace", ""), manifest["metadata"]["name"]


def accumulate(directory: Path) -> Build:
    """One kustomization and what it stands on, in kustomize's order: resources, generators, patches, transformers."""
    customs: Manifest = yaml.safe_load((directory / "kustomization.yaml").read_text())
    only(customs, FEATURES, f"{directory}/kustomization.yaml")
    build = Build()
    for resource in customs.get("resources", []):
        add_resource(build, directory / resource)
    for generator in customs.get("configMapGenerator", []):
        generate(build, generator)
    for patch in customs.get("patches", []):
        apply_patch(build, patch)
    for manifest in build.objects:
        put_namespace(manifest, customs.get("namespace"))
        for labels in customs.get("labels", []):
            put_labels(manifest, labels)
        for image in customs.get("images", []):
            put_image(manifest, image)
    return build


def only(given: Manifest, known: set[str], where: str) -> None:
    """Refuse keys that would otherwise be ignored."""
    if unknown := set(given) - known:
        raise UnsupportedError(f"{where}: no support for {', '.join(sorted(unknown))}")


def add_resource(build: Build, path: Path) -> None:
    """A directory is another kustomization, a file holds objects."""
    if path.is_dir():
        below = accumulate(path)
        build.objects += below.objects
        build.generated |= below.generated
        return
    for manifest in yaml.safe_load_all(path.read_text()):
        if manifest["kind"] not in NAMESPACED | {"Namespace"}:
            raise UnsupportedError(f"{path}: no support for the kind {manifest['kind']}")
        build.objects.append(manifest)


def generate(build: Build, generator: Manifest) -> None:
    """A ConfigMap from literals, new or merged into one from below."""
    only(generator, {"name", "literals", "behavior"}, "configMapGenerator")
    data = dict(literal.split("=", 1) for literal in generator["literals"])
    match generator.get("behavior", "create"):
        case "create":
            build.generated.add(generator["name"])
            build.objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generator["name"]}, "data": data})
        case "merge":
            build.find("ConfigMap", generator["name"])["data"] |= data
        case behavior:
            raise UnsupportedError(f"configMapGenerator: no support for behavior {behavior}")


def apply_patch(build: Build, patch: Manifest) -> None:
    """JSON 6902 `replace` of a member that exists, on one object named by kind and name."""
    only(patch, {"target", "patch", "options"}, "patches")
    only(patch["target"], {"kind", "name"}, "patches: target")
    manifest = build.find(**patch["target"])
    for operation in yaml.safe_load(patch["patch"]):
        if not isinstance(operation, dict) or operation.get("op") != "replace":
            raise UnsupportedError("patches: only JSON 6902 `replace` is supported")
        if operation["path"] == "/metadata/name" and (manifest["kind"] != "Job" or not patch.get("options", {}).get("allowNameChange")):
            raise UnsupportedError("patches: only a Job, which nothing refers to, may change its name, and only with allowNameChange")
        replace(manifest, operation["path"], operation["value"])


def replace(manifest: Manifest, pointer: str, value: Any) -> None:
    """Set what the JSON pointer leads to; it has to be there."""
    *parents, last = (step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])
    place = descend(manifest, parents)
    if not isinstance(place, dict) or last not in place:
        raise UnsupportedError(f"patches: {pointer} leads to no member of an object")
    place[last] = value


def descend(manifest: Manifest, steps: Iterable[str]) -> Any:
    """What those keys lead to, one below the other."""
    place: Any = manifest
    for step in steps:
        place = place.get(step) if isinstance(place, dict) else None
    return place


def put_namespace(manifest: Manifest, namespace: str | None) -> None:
    """Move an object into the namespace; the Namespace itself takes its name."""
    if namespace:
        manifest["metadata"]["name" if manifest["kind"] == "Namespace" else "namespace"] = namespace


def put_labels(manifest: Manifest, labels: Manifest) -> None:
    """Add labels to an object and, where asked, to its pod templates; never to selectors."""
    only(labels, {"pairs", "includeTemplates"}, "labels")
    holders = [manifest]
    if labels.get("includeTemplates"):
        holders += [descend(manifest, path) for path in TEMPLATES.get(manifest["kind"], [])]
    for holder in holders:
        metadata = holder.setdefault("metadata", {})
        metadata["labels"] = metadata.get("labels", {}) | labels["pairs"]


def put_image(manifest: Manifest, image: Manifest) -> None:
    """Set name and tag, or digest, of every container whose image has the given name."""
    only(image, {"name", "newName", "newTag", "digest"}, "images")
    if not all(isinstance(value, str) for value in image.values()):
        raise UnsupportedError("images: write the tag in quotes, or 1.30 becomes 1.3")
    moved = image.get("newName", image["name"])
    for container in mappings(manifest):
        stated = container.get("image")
        if isinstance(stated, str) and re.split("[:@]", stated)[0] == image["name"]:
            container["image"] = f"{moved}@{image['digest']}" if "digest" in image else f"{moved}:{image['newTag']}"


def add_hash(build: Build, name: str) -> None:
    """Give a generated ConfigMap the hash of its content as a suffix, and every reference to it the new name."""
    manifest = build.find("ConfigMap", name)
    content = {"data": manifest["data"], "kind": "ConfigMap", "name": ""}  # kustomize hashes the content without its name
    encoded = json.dumps(content, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    for character in "&<>":  # Go's encoder writes these three as escapes
        encoded = encoded.replace(character, f"\\u{ord(character):04x}")
    hashed = f"{name}-{hashlib.sha256(encoded.encode()).hexdigest()[:10].translate(HASH_LETTERS)}"
    manifest["metadata"]["name"] = hashed
    for mapping in (mapping for other in build.objects for mapping in mappings(other)):
        for key in REFERENCES & mapping.keys():
            if mapping[key].get("name") == name:
                mapping[key]["name"] = hashed


def mappings(value: Any) -> Iterator[Manifest]:
    """Every mapping inside a value, itself included."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from mappings(inner)

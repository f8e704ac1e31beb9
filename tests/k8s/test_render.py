"""Our renderer makes what kustomize makes, and refuses what it does not know."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from k8s import kubectl
from k8s.render import Manifest, UnsupportedError, identity, render

K8S = Path(__file__).parents[2] / "k8s"
KUBECTL = pytest.mark.skipif(
    kubectl.kustomize_version() is None, reason="NOT compared with kustomize: no kubectl with kustomize 4 or newer"
)


def by_identity(objects: list[Manifest]) -> dict[tuple[str, str, str], Manifest]:
    return {identity(each): each for each in objects}


def write(directory: Path, kustomization: Manifest, *objects: Manifest) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "objects.yaml").write_text(yaml.safe_dump_all(objects))
    (directory / "kustomization.yaml").write_text(yaml.safe_dump({"resources": ["objects.yaml"]} | kustomization))
    return directory


def config(name: str = "a") -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


@KUBECTL
@pytest.mark.parametrize("directory", ["base", "overlays/production"])
def test_our_files_render_as_kustomize_renders_them(directory: str) -> None:
    assert by_identity(render(K8S / directory)) == by_identity(kubectl.render(K8S / directory))


@KUBECTL
def test_a_digest_another_namespace_and_awkward_values_render_as_kustomize_renders_them(tmp_path: Path) -> None:
    overlay: dict[str, Any] = {
        "resources": [],
        "namespace": "elsewhere",
        "images": [{"name": "trunkline", "newName": "images.example.com:5000/t", "digest": "sha256:" + "0" * 64}],
        "configMapGenerator": [{"name": "trunkline-settings", "behavior": "merge", "literals": ["QUERY=a=b&c<d>é"]}],
    }
    base = tmp_path / "base"
    base.mkdir()
    for source in (K8S / "base").iterdir():
        (base / source.name).write_text(source.read_text())
    write(tmp_path / "overlay", overlay | {"resources": ["../base"]})
    assert by_identity(render(tmp_path / "overlay")) == by_identity(kubectl.render(tmp_path / "overlay"))


def test_another_setting_makes_another_name_everywhere(tmp_path: Path) -> None:
    def names(value: str) -> set[str]:
        user = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "u"}, "spec": {"configMapRef": {"name": "s"}}}
        objects = render(write(tmp_path, {"configMapGenerator": [{"name": "s", "literals": [f"A={value}"]}]}, user))
        return {each["spec"]["configMapRef"]["name"] if "spec" in each else each["metadata"]["name"] for each in objects}

    first, second = names("1"), names("2")
    assert len(first) == len(second) == 1
    assert first != second


@pytest.mark.parametrize(
    ("kustomization", "named"),
    [
        ({"namePrefix": "x-"}, "namePrefix"),
        ({"components": ["x"]}, "components"),
        ({"configMapGenerator": [{"name": "s", "files": ["x"]}]}, "files"),
        ({"configMapGenerator": [{"name": "s", "literals": [], "behavior": "replace"}]}, "replace"),
        ({"images": [{"name": "x", "newTag": 1.3}]}, "quotes"),
        ({"labels": [{"pairs": {}, "includeSelectors": True}]}, "includeSelectors"),
        ({"patches": [{"target": {"kind": "ConfigMap", "name": "b"}, "patch": "[]"}]}, "named b"),
        ({"patches": [{"target": {"kind": "ConfigMap", "name": "a"}, "patch": "[{op: remove, path: /kind}]"}]}, "replace"),
        ({"patches": [{"target": {"kind": "ConfigMap", "name": "a"}, "patch": "[{op: replace, path: /data/x, value: 1}]"}]}, "/data/x"),
        ({"patches": [{"target": {"kind": "ConfigMap", "name": "a"}, "patch": "[{op: replace, path: /metadata/name, value: b}]"}]}, "Job"),
    ],
)
def test_what_it_does_not_know_it_refuses_by_name(tmp_path: Path, kustomization: Manifest, named: str) -> None:
    with pytest.raises(UnsupportedError, match=named):
        render(write(tmp_path, kustomization, config()))


def test_an_unknown_kind_and_an_object_given_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="ClusterRole"):
        render(write(tmp_path, {}, config() | {"kind": "ClusterRole"}))
    with pytest.raises(UnsupportedError, match="twice"):
        render(write(tmp_path, {}, config(), config()))

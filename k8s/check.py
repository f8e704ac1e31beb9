"""`make k8s-check`: render everything, validate it strictly for each supported Kubernetes, check policies, lint the Dockerfile.

Needs requirements/k8s.txt and no network. Ends with 1 if anything is wrong, after saying all of it.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import kubernetes_validate
import yaml

from k8s import kubectl
from k8s.render import Manifest, UnsupportedError, identity, render

HERE = Path(__file__).parent
RENDERED = [HERE / "base", *sorted(path for path in (HERE / "overlays").iterdir() if path.is_dir())]
OLDEST = (1, 30)  # the first with `preStop.sleep` switched on

# Checks of checkov that do not hold here, each with its reason.
NOT_CHECKED = {
    "CKV_K8S_15": "a released tag never moves, so an image that a node has is the right one",
    "CKV_K8S_35": "settings come from the environment; a Secret as a file would need a second way to read them",
    "CKV_K8S_43": "no image is published from here, so there is no digest to state; the overlay says where it goes",
}


def main() -> int:
    """Run every check; the number of findings decides the exit status."""
    findings: list[str] = []
    for directory in RENDERED:
        try:
            objects = rendering(directory, findings)
        except (UnsupportedError, subprocess.CalledProcessError) as error:
            findings.append(f"{directory.name} does not render: {getattr(error, 'stderr', None) or error}")
            continue
        findings += invalid(objects, directory.name)
        if directory.parent.name == "overlays":
            findings += forbidden(objects, directory.name)
    findings += invalid(list(yaml.safe_load_all((HERE / "secrets.example.yaml").read_text())), "secrets.example.yaml")
    findings += ill_written(HERE.parent / "Dockerfile")
    for finding in findings:
        say(f"WRONG  {finding}")
    say("k8s-check: " + (f"{len(findings)} wrong" if findings else "all good, without a cluster: valid is not deployed"))
    return 1 if findings else 0


def say(line: str) -> None:
    """One line of the report."""
    sys.stdout.write(line + "\n")


def rendering(directory: Path, findings: list[str]) -> list[Manifest]:
    """The objects as kubectl renders them, compared with our own renderer; ours alone without kubectl, and said so."""
    ours = render(directory)
    version = kubectl.kustomize_version()
    if version is None:
        say(f"rendered   {directory.name}: {len(ours)} objects by k8s/render.py")
        say(f"NOT DONE   {directory.name}: compared with kustomize: no kubectl with kustomize {kubectl.OLDEST_KUSTOMIZE} or newer")
        return ours
    theirs = kubectl.render(directory)
    if {identity(each): each for each in ours} != {identity(each): each for each in theirs}:
        findings.append(f"{directory.name}: k8s/render.py and kustomize {version} differ")
    say(f"rendered   {directory.name}: {len(theirs)} objects by kustomize {version}")
    return theirs


def invalid(objects: list[Manifest], name: str) -> Iterator[str]:
    """Objects that a supported Kubernetes would refuse: unknown kind, unknown field, wrong type."""
    versions = [each for each in map(major_minor, kubernetes_validate.utils.all_versions()) if each >= OLDEST]
    supported = sorted({f"{major}.{minor}" for major, minor in versions}, key=major_minor)
    for version in supported:
        for manifest in objects:
            try:
                kubernetes_validate.validate(manifest, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                where = ".".join(map(str, error.path))
                yield f"{name}, Kubernetes {version}, {'/'.join(identity(manifest))}: {where}: {error.message}"
            except kubernetes_validate.SchemaNotFoundError as error:
                yield f"{name}: {error.message}"
    say(f"validated  {name}: strictly, Kubernetes {supported[0]} to {supported[-1]}")


def major_minor(version: str) -> tuple[int, int]:
    """(1, 30) of "1.30" and "1.30.0"."""
    major, minor, *_ = version.split(".")
    return int(major), int(minor)


def forbidden(objects: list[Manifest], name: str) -> Iterator[str]:
    """What checkov's policies say, except the ones in NOT_CHECKED."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / f"{name}.yaml"
        path.write_text(yaml.safe_dump_all(objects))
        skip = [argument for check in NOT_CHECKED for argument in ("--skip-check", check)]
        yield from tool("checkov", "--file", str(path), "--framework", "kubernetes", "--skip-download", "--compact", "--quiet", *skip)
    say(f"policies   {name}: checkov, without {', '.join(NOT_CHECKED)}")


def ill_written(dockerfile: Path) -> Iterator[str]:
    """What hadolint says of the Dockerfile."""
    yield from tool("hadolint", str(dockerfile))
    say("linted     Dockerfile: hadolint")


def tool(name: str, *arguments: str) -> Iterator[str]:
    """What a tool from this interpreter's environment complains about."""
    command = [str(Path(sys.executable).parent / name), *arguments]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)  # noqa: S603  a pinned tool
    if result.returncode:
        yield f"{name}:\n{result.stdout}{result.stderr}"


if __name__ == "__main__":
    sys.exit(main())

"""kubectl as a renderer, where it is installed and new enough; it asks no cluster."""

import json
import shutil
import subprocess
from pathlib import Path

import yaml

from k8s.render import Manifest

OLDEST_KUSTOMIZE = 4  # Debian 12 ships a kubectl with kustomize 2, which refuses a directory as a base


def kustomize_version() -> str | None:
    """The version inside the installed kubectl, such as "v5.5.0"; None without a kubectl that can render our files."""
    if not shutil.which("kubectl"):
        return None
    answer = kubectl("version", "--client", "--output=json")
    version: str | None = json.loads(answer).get("kustomizeVersion")
    return version if version and int(version.removeprefix("v").split(".")[0]) >= OLDEST_KUSTOMIZE else None


def render(directory: Path) -> list[Manifest]:
    """Every object of the kustomization in `directory`.

    Raises:
        subprocess.CalledProcessError: kubectl refused it; `stderr` says why.
    """
    return list(yaml.safe_load_all(kubectl("kustomize", str(directory))))


def kubectl(*arguments: str) -> str:
    """What kubectl prints."""
    command = ["kubectl", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout  # noqa: S603  arguments of our own

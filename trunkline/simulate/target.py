"""What is played against: an installation on this machine with a sandbox Vapi beside it. Load goes nowhere else."""

import ipaddress
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

LOOK_SECONDS = 5.0


class NotPlayable(Exception):
    """Nothing can be played there; the text is one sentence for the person at the terminal and holds no secret."""


@dataclass(frozen=True)
class Target:
    """Where the API and the sandbox Vapi answer, and the operator's key."""

    base_url: str
    admin_key: str = field(repr=False)
    vapi_url: str

    def webhook_url(self, slug: str) -> str:
        """Where a tenant's webhooks go: here, whatever public address the installation hands out."""
        return f"{self.base_url}/vapi-webhook/{slug}"


def target(data_dir: Path, base_url: str | None, admin_key: str | None, vapi_url: str | None) -> Target:
    """The installation that the options name, or else the one of `dev.json`.

    Raises:
        NotPlayable: there is none, or it is not on this machine.
    """
    given = {"base_url": base_url, "admin_key": admin_key, "vapi_url": vapi_url}
    facts: dict[str, Any] = {} if all(given.values()) else facts_of(data_dir / "dev.json")
    found = {name: value or str(facts.get(name) or "") for name, value in given.items()}
    for name in ("base_url", "vapi_url"):
        if not is_here(found[name]):
            option = "--" + name.replace("_", "-")
            raise NotPlayable(f"{option} is {found[name] or 'empty'}: calls are played on 127.0.0.1 only, never against somebody else.")
    return Target(found["base_url"].rstrip("/"), found["admin_key"], found["vapi_url"].rstrip("/"))


def facts_of(document: Path) -> dict[str, Any]:
    """What a running `make run` wrote down.

    Raises:
        NotPlayable: it wrote nothing.
    """
    try:
        facts: dict[str, Any] = json.loads(document.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NotPlayable(
            f"{document} is not there: start `make run` first, name its --data-dir, or give --base-url, --admin-key and --vapi-url."
        ) from error
    return facts


def is_here(url: str) -> bool:
    """Whether an address is this machine's own, by its letters: no name is looked up."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        return parts.scheme == "http" and (host == "localhost" or ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return False


async def look(found: Target) -> None:
    """See that both answer, and that the one is a sandbox that plays calls.

    Raises:
        NotPlayable: one does not.
    """
    async with httpx.AsyncClient(timeout=LOOK_SECONDS) as client:
        for url, what in ((found.base_url + "/health/ready", "Trunkline"), (found.vapi_url + "/control/books?call_id=", "a sandbox Vapi")):
            try:
                answer = await client.get(url)
            except httpx.HTTPError as error:
                raise NotPlayable(f"{what} does not answer at {url} ({type(error).__name__}).") from error
            if answer.is_error:
                raise NotPlayable(f"{url} answers {answer.status_code}: this is not {what} that is ready.")

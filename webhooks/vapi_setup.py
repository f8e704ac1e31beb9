"""Configuring an assistant at Vapi: read it, change what is ours, read it back; put it back where that fails.

Nothing of ours is written here and no connection is held: who calls this keeps the books.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from runtime.fresh import OLDEST_SECONDS
from runtime.logs import log
from runtime.refusals import BadGateway, GatewayTimeout, Refusal
from webhooks import vapi_before
from webhooks.vapi_before import Before
from webhooks.vapi_client import Asked, VapiClient
from webhooks.vapi_problems import SetupBroke, SetupFailed, refusal_of
from webhooks.vapi_tools import ToolPlan, ids_after, plan_tools
from webhooks.vapi_wish import Json, Wish, contains, meets, patch_for, tool_ids_of

DO_SECONDS, UNDO_SECONDS = 60.0, 30.0
MOST_TOOLS = "1000"  # of an organisation, in one answer
NOT_LIVE = "Vapi answered that it made the change, but does not show it: "

Remember = Callable[[Before], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Target:
    """An assistant at Vapi and the key that may change it."""

    vapi_id: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Configured:
    """Which fields were changed, the version that Vapi shows, and whether it is still the live one because the change is only a draft."""

    changed: tuple[str, ...]
    version: str | None
    draft: bool


@dataclass(slots=True)
class Steps:
    """What was begun, so that it can be undone; `sent` once a change may have been made."""

    original: Json = field(default_factory=dict, repr=False)
    made: dict[str, str] = field(default_factory=dict)
    sent: Json = field(default_factory=dict, repr=False)


class VapiSetup:
    """`settle` seconds pass before Vapi learns a new secret: by then every process knows it."""

    def __init__(self, client: VapiClient, settle: float = OLDEST_SECONDS) -> None:
        self._client = client
        self.settle = settle

    async def configure(
        self, target: Target, wish: Wish, before: Before | None, remember: Remember, *, settled: bool = False
    ) -> Configured:
        """Make it so and see that it is; `remember` is told what stood there, before it is changed.

        Raises:
            SetupFailed: Vapi did not do it, and what was changed is as it was, or not. SetupBroke: the same, of whatever else went wrong.
        """
        steps = Steps()
        try:
            (steps.original, plan), _ = await asyncio.gather(self._look(target, wish), asyncio.sleep(0 if settled else self.settle))
            async with asyncio.timeout(DO_SECONDS):
                return await self._do(target, wish, plan, steps, before, remember)
        except SetupFailed as failed:
            raise SetupFailed(failed.refusal, left=not await self._undo(target, steps)) from None
        except TimeoutError:
            late = GatewayTimeout("Vapi answers too slowly. Send the request again later.")
            raise SetupFailed(late, left=not await self._undo(target, steps)) from None
        except Exception as error:
            raise SetupBroke(error, left=not await self._undo(target, steps)) from error

    async def read(self, target: Target) -> Json:
        """The assistant as Vapi shows it.

        Raises:
            SetupFailed: it does not.
        """
        asked = await self._client.ask("GET", ("assistant", target.vapi_id), target.key)
        assistant: Json = decoded(self._answered(asked, target), Json)
        if assistant.get("id") != target.vapi_id:
            raise SetupFailed(BadGateway("Vapi's answer is about another assistant. Send the request again later."))
        return assistant

    async def tools(self, target: Target) -> list[Json]:
        """The tools of the key's organisation.

        Raises:
            SetupFailed: Vapi does not show them.
        """
        asked = await self._client.ask("GET", ("tool",), target.key, query={"limit": MOST_TOOLS})
        found: list[Json] = decoded(self._answered(of_tools(asked), target), list[Json])
        if not all(isinstance(each.get("id"), str) for each in found):
            raise SetupFailed(refusal_of(Asked("nonsense")))
        return found

    async def put_back(self, target: Target, url: str, before: Before) -> bool:
        """As it was before it was configured; False where it points elsewhere by now, and so is not ours to touch.

        Raises:
            SetupFailed: Vapi did not do it.
        """
        assistant = await self.read(target)
        if url_of(assistant) not in (url, *before.ours):
            return False
        patch = vapi_before.patch_back(assistant, before)
        self._answered(await self._patch(target, patch), target)
        unmet = await self._unmet(target, patch)
        if unmet:
            raise SetupFailed(BadGateway(NOT_LIVE + ", ".join(unmet)))
        return True

    async def _look(self, target: Target, wish: Wish) -> tuple[Json, ToolPlan | None]:
        assistant = await self.read(target)
        if wish.tools is None:
            return assistant, None
        existing = await self.tools(target)
        try:
            return assistant, plan_tools(assistant, existing, wish.tools, wish.url)
        except Refusal as refusal:
            raise SetupFailed(refusal) from None

    async def _do(
        self, target: Target, wish: Wish, plan: ToolPlan | None, steps: Steps, before: Before | None, remember: Remember
    ) -> Configured:
        ids = None if plan is None else await self._joined(target, plan, steps)
        patch = patch_for(steps.original, wish, ids)
        if not patch:
            return Configured((), version_of(steps.original), draft=False)
        old = tool_ids_of(steps.original)
        stood = vapi_before.with_url(before or vapi_before.before_of(steps.original), wish.url)
        await remember(vapi_before.with_tools(stood, old, old if ids is None else ids))
        steps.sent = patch
        asked = await self._patch(target, patch)
        if asked.word != "found" and not asked.doubtful:
            steps.sent = {}  # it was not done
        self._answered(asked, target, wish.secret or "")
        shown = await self.read(target)
        unmet = [name for name, value in patch.items() if not meets(name, shown.get(name), value)]
        if unmet:
            raise SetupFailed(BadGateway(f"{NOT_LIVE}{', '.join(unmet)}. Look at the assistant in its dashboard."))
        return Configured(tuple(patch), version_of(shown), is_draft(steps.original, shown))

    async def _joined(self, target: Target, plan: ToolPlan, steps: Steps) -> list[str]:
        """The ids of the assistant's tools, once those that are missing are made."""
        for tool in plan.missing:
            asked = of_tools(await self._client.ask("POST", ("tool",), target.key, tool))
            made: Json = decoded(self._answered(asked, target), Json)
            number = made.get("id")
            if not isinstance(number, str) or not number:
                raise SetupFailed(BadGateway("Vapi made a tool without an id."))
            steps.made[tool["function"]["name"]] = number
            if not contains(made, tool):  # it would not be found again, and be made anew each time
                raise SetupFailed(BadGateway(f"Vapi made another tool than it was asked for: {tool['function']['name']}."))
        return ids_after(steps.original, plan, steps.made)

    async def _undo(self, target: Target, steps: Steps) -> bool:
        """Put back what may have been changed; says whether it is as it was."""
        try:
            async with asyncio.timeout(UNDO_SECONDS):
                if steps.sent:
                    back = {name: steps.original.get(name) for name in steps.sent}
                    self._answered(await self._patch(target, back), target)
                    if await self._unmet(target, back):
                        return False
                for number in steps.made.values():
                    asked = await self._client.ask("DELETE", ("tool", number), target.key)
                    if asked.word not in ("found", "absent"):
                        log.warning("a tool that was made in vain is left at Vapi", reason=asked.reason)
                return True
        except (SetupFailed, TimeoutError):
            return False

    async def _unmet(self, target: Target, patch: Json) -> list[str]:
        shown = await self.read(target)
        return [name for name, value in patch.items() if not same(shown.get(name), value)]

    async def _patch(self, target: Target, patch: Json) -> Asked:
        return await self._client.ask("PATCH", ("assistant", target.vapi_id), target.key, patch)

    def _answered(self, asked: Asked, target: Target, *secrets: str) -> Asked:
        if asked.word == "found":
            return asked
        log.info("Vapi did not do what it was asked", word=asked.word, reason=asked.reason, status=asked.status)
        raise SetupFailed(refusal_of(asked, (target.key, *secrets)))


def of_tools(asked: Asked) -> Asked:
    """What an answer about tools means: where they are listed and made there is always something."""
    return replace(asked, word="nonsense") if asked.word == "absent" else asked


def decoded(asked: Asked, kind: Any) -> Any:
    """Vapi's JSON.

    Raises:
        SetupFailed: it is none, or of another shape.
    """
    try:
        return msgspec.json.decode(asked.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise SetupFailed(refusal_of(Asked("nonsense", status=asked.status))) from None


def same(found: object, wanted: object) -> bool:
    """Whether a field is as it was; null, absent and empty are one."""
    return found == wanted or (not found and not wanted)


def url_of(assistant: Json) -> str | None:
    """Where the assistant's messages go by its own word."""
    server = assistant.get("server")
    url = server.get("url") if isinstance(server, dict) else None
    return url if isinstance(url, str) else None


def version_of(assistant: Json) -> str | None:
    """The version that calls use, as opaque text; none where the organisation has no versions."""
    version = assistant.get("latestVersion")
    return None if version is None else msgspec.json.encode(version, order="sorted").decode()


def is_draft(original: Json, shown: Json) -> bool:
    """Whether the version is still the one from before the change: then the change is a draft that somebody has to publish."""
    version = version_of(shown)
    return version is not None and version == version_of(original)

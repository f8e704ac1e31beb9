"""Sandbox Vapi as a web application: the API by resource, and a player of webhooks and whole calls."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from aiohttp import web

from sandbox import serving
from sandbox.vapi.assistants import Assistants
from sandbox.vapi.calls import Calls, Fault
from sandbox.vapi.control import PlayingControl
from sandbox.vapi.faults import PathFaults
from sandbox.vapi.phone_numbers import PhoneNumbers
from sandbox.vapi.player import Player
from sandbox.vapi.playing import CallPlayer
from sandbox.vapi.refusals import Resource, as_vapi, organisation_of
from sandbox.vapi.tools import Tools

__all__ = ["Fault", "VapiSandbox", "organisation_of"]

Kept = dict[tuple[str, str], Resource]


class VapiSandbox:
    """All state of one stand-in: resources by organisation (each API key is one), and what plays webhooks."""

    def __init__(self) -> None:
        self.url = ""
        self.assistants_api = Assistants()
        self.phone_numbers_api = PhoneNumbers()
        self.calls_api = Calls()
        self.tools_api = Tools()
        self.path_faults = PathFaults()
        self.player = Player()
        self.call_player = CallPlayer(self.player, self.calls_api.note)

    @classmethod
    @asynccontextmanager
    async def running(cls, port: int = 0) -> AsyncIterator[Self]:
        """Serves a new stand-in in this process until the block ends."""
        sandbox = cls()
        async with serving.running(sandbox.application(), port) as sandbox.url:
            yield sandbox

    def application(self) -> web.Application:
        """The web application."""
        app = web.Application(middlewares=[self.path_faults.middleware, as_vapi], client_max_size=16 << 20)
        app.add_routes(
            [
                *self.assistants_api.routes(),
                *self.phone_numbers_api.routes(),
                *self.calls_api.routes(),
                *self.tools_api.routes(),
                *self.path_faults.routes(),
                *PlayingControl(self.player, self.call_player).routes(),
            ]
        )
        app.cleanup_ctx.append(self.player.opened)
        return app

    # -- for tests that run it in their own process --------------------------------------------------------------------

    @property
    def assistants(self) -> Kept:
        """By organisation and id."""
        return self.assistants_api.shelf.kept

    @property
    def phone_numbers(self) -> Kept:
        """By organisation and id."""
        return self.phone_numbers_api.shelf.kept

    @property
    def tools(self) -> Kept:
        """By organisation and id."""
        return self.tools_api.shelf.kept

    @property
    def calls(self) -> Kept:
        """By organisation ("" is any) and id."""
        return self.calls_api.shelf.kept

    @property
    def asked(self) -> list[str]:
        """The calls that somebody with a key asked about, in order."""
        return self.calls_api.asked

    @property
    def faults(self) -> dict[str, Fault]:
        """How asking about a call goes wrong, by its id ("" is every one)."""
        return self.calls_api.faults

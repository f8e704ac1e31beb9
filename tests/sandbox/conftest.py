from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from sandbox import serving
from sandbox.sentry import SentrySandbox
from sandbox.twilio import TwilioSandbox
from sandbox.vapi import VapiSandbox
from tests.sandbox.parties import Application, Control, Texter


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def twilio() -> AsyncIterator[TwilioSandbox]:
    async with TwilioSandbox.running() as sandbox:
        yield sandbox


@pytest.fixture
def control(twilio: TwilioSandbox, session: aiohttp.ClientSession) -> Control:
    return Control(session, twilio.url)


@pytest.fixture
def texter(twilio: TwilioSandbox, session: aiohttp.ClientSession) -> Texter:
    return Texter(session, twilio.url)


@pytest.fixture
async def vapi() -> AsyncIterator[VapiSandbox]:
    async with VapiSandbox.running() as sandbox:
        yield sandbox


@pytest.fixture
async def sentry() -> AsyncIterator[SentrySandbox]:
    async with SentrySandbox.running() as sandbox:
        yield sandbox


@pytest.fixture
async def application() -> AsyncIterator[Application]:
    application = Application()
    app = web.Application()
    app.router.add_post("/{path:.*}", application.take)
    async with serving.running(app) as application.url:
        yield application

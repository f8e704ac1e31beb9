"""Who takes part in the sandbox's tests: a client of Twilio's API, a control URL, and an application that gets callbacks."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

SENDER = "+12025550199"
PERSON = "+12135550123"
SERVICE = "MG" + "a" * 32


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    text: str
    json: Any


@dataclass
class Http:
    """JSON over HTTP at one base URL."""

    session: aiohttp.ClientSession
    base: str

    async def ask(self, method: str, path: str, **options: Any) -> Answer:
        async with self.session.request(method, self.base + path, **options) as response:
            text = await response.text()
            decoded = await response.json() if response.content_type == "application/json" else None
            return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, text, decoded)


@dataclass
class Texter(Http):
    """An account at sandbox Twilio."""

    account: str = "AC" + "1" * 32
    token: str = "t0ken"
    user: str | None = None

    @property
    def messages_path(self) -> str:
        return f"/2010-04-01/Accounts/{self.account}/Messages.json"

    def message_path(self, sid: str) -> str:
        return self.messages_path.removesuffix(".json") + f"/{sid}.json"

    async def call(self, method: str, path: str, **options: Any) -> Answer:
        authorization = aiohttp.encode_basic_auth(self.user or self.account, self.token)
        return await self.ask(method, path, headers={"Authorization": authorization}, **options)

    async def create(self, **form: str) -> Answer:
        """A create with From and To unless told otherwise; a field set to the empty text is left out."""
        sender = {} if "MessagingServiceSid" in form else {"From": SENDER}
        whole = {"To": PERSON, "Body": "Hello", **sender, **form}
        return await self.call("POST", self.messages_path, data={name: value for name, value in whole.items() if value})

    async def fetch(self, sid: str) -> Any:
        return (await self.call("GET", self.message_path(sid))).json

    async def has_status(self, sid: str, status: str) -> bool:
        return bool((await self.fetch(sid))["status"] == status)


@dataclass
class Control(Http):
    """A control URL."""

    async def messages(self, **query: str) -> list[dict[str, Any]]:
        return list((await self.ask("GET", "/control/messages", params=query)).json["messages"])

    async def arm(self, action: str, **more: Any) -> int:
        answer = await self.ask("POST", "/control/faults", json={"action": action, **more})
        assert answer.status == 201, answer
        return int(answer.json["id"])

    async def declare(self, sid: str, **more: Any) -> Answer:
        answer = await self.ask("POST", "/control/accounts", json={"sid": sid, **more})
        assert answer.status == 200, answer
        return answer


@dataclass
class Got:
    """One request that the application got."""

    at: float
    url: str
    headers: dict[str, str]
    body: bytes
    form: dict[str, str]


@dataclass
class Application:
    """The application that callbacks and webhooks go to; `statuses` are answered one after another, then 204."""

    url: str = ""
    got: list[Got] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        form = {name: str(value) for name, value in (await request.post()).items()} if b"=" in body and b"{" not in body else {}
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.got.append(Got(asyncio.get_running_loop().time(), f"{self.url}{request.raw_path}", headers, body, form))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 204)

    def told(self) -> list[str]:
        return [one.form["MessageStatus"] for one in self.got]


async def eventually(check: Callable[[], Any], seconds: float = 5) -> None:
    """Waits until `check`, which may be a coroutine function, gives something true."""
    async with asyncio.timeout(seconds):
        while True:
            found = check()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.01)

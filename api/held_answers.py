"""Answers that are held back until the transaction behind them has ended, and answers that are sent again."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from litestar.types import HTTPResponseBodyEvent, HTTPResponseStartEvent, Message

from api.problems import MEDIA_TYPE, problem_of
from webhooks.kept_answers import Answer

SUCCESSES = range(200, 300)
KEPT_HEADERS = {"content-type", "content-length", "location"}
REPLAYED = (b"idempotent-replayed", b"true")


@dataclass(slots=True)
class HeldAnswer:
    """What a route answered, held back until it is committed."""

    messages: list[Message] = field(default_factory=list)

    async def take(self, message: Message) -> None:
        """One more piece of it; an ASGI `send`."""
        self.messages.append(message)

    @property
    def succeeded(self) -> bool:
        """Whether the route did what was asked."""
        return any(message["type"] == "http.response.start" and message["status"] in SUCCESSES for message in self.messages)

    def answer(self) -> Answer:
        """What to keep of it."""
        status, headers, body = 0, [], b""
        for message in self.messages:
            if message["type"] == "http.response.start":
                status, headers = (
                    message["status"],
                    [(name.decode().lower(), value.decode("latin-1")) for name, value in message["headers"]],
                )
            elif message["type"] == "http.response.body":
                body += message["body"]
        return Answer(status, tuple(each for each in headers if each[0] in KEPT_HEADERS), body)


def problem_answer(error: Exception, request_id: str) -> Answer:
    """What is answered when the store, or the key itself, says no."""
    found = problem_of(error)
    body = found.document(request_id)
    return Answer(found.status, (("content-type", MEDIA_TYPE), ("content-length", str(len(body))), *found.headers.items()), body)


def messages_of(answer: Answer, *more: tuple[bytes, bytes]) -> Sequence[Message]:
    """An answer as ASGI sends it, with more headers than it has."""
    headers = [*((name.lower().encode(), value.encode("latin-1")) for name, value in answer.headers), *more]
    start: HTTPResponseStartEvent = {"type": "http.response.start", "status": answer.status, "headers": headers}
    body: HTTPResponseBodyEvent = {"type": "http.response.body", "body": answer.body, "more_body": False}
    return start, body

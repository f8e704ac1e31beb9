"""Refusals in the form of Twilio's API: `{"code", "message", "more_info", "status"}`."""

from collections.abc import Mapping

from aiohttp import web

from sandbox.control import answer


class Refusal(Exception):
    """Twilio says no: HTTP `status`, Twilio's `code` and a sentence."""

    def __init__(self, status: int, code: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers

    def response(self) -> web.Response:
        """The answer that the caller sees."""
        body = {
            "code": self.code,
            "message": self.message,
            "more_info": f"https://www.twilio.com/docs/errors/{self.code}",
            "status": self.status,
        }
        return answer(body, self.status, self.headers)


def not_found(path: str) -> Refusal:
    """20404, for a path or a Sid that is not there."""
    return Refusal(404, 20404, f"The requested resource {path} was not found")

"""Refusals: what a client can cause. Each carries its HTTP status where it is raised; anything else is a bug and is reported."""

from collections.abc import Mapping, Sequence


class Refusal(Exception):
    """A clear "no": status, one sentence, and for a bad body the places that are wrong as (JSON pointer, sentence)."""

    status = 400

    def __init__(self, detail: str, errors: Sequence[tuple[str, str]] = (), headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})


class Invalid(Refusal):
    """The request cannot mean anything: 400."""

    status = 400

    @classmethod
    def at(cls, pointer: str, detail: str) -> "Invalid":
        """One wrong field."""
        return cls("The request is not valid.", [(pointer, detail)])


class Unauthorized(Refusal):
    """No credential, or one that does not match; the same words for every reason: 401."""

    status = 401

    def __init__(self) -> None:
        super().__init__("A valid credential is needed.", headers={"WWW-Authenticate": "Bearer"})


class Forbidden(Refusal):
    """Known, and not allowed: 403."""

    status = 403


class NotFound(Refusal):
    """Not here, or somebody else's: the answer is the same: 404."""

    status = 404

    def __init__(self, what: str) -> None:
        super().__init__(f"There is no such {what}.")


class Conflict(Refusal):
    """It contradicts what is already there: 409."""

    status = 409


class TooLarge(Refusal):
    """The body is over the limit: 413."""

    status = 413


class Unprocessable(Refusal):
    """A reused Idempotency-Key with another body, or a message type that cannot be served: 422."""

    status = 422


class TooMany(Refusal):
    """More than may wait, or more than may be asked for: 429 with Retry-After, in whole seconds."""

    status = 429

    def __init__(self, detail: str, retry_after: int) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)})


class BadGateway(Refusal):
    """Somebody else's server, which we had to ask, failed or answered nonsense: 502."""

    status = 502


class GatewayTimeout(Refusal):
    """Somebody else's server, which we had to ask, did not answer in time: 504."""

    status = 504


class Unavailable(Refusal):
    """Nothing was stored; sending it again is safe: 503 with Retry-After."""

    status = 503

    def __init__(self, detail: str = "Nothing could be stored just now. Send it again.") -> None:
        super().__init__(detail, headers={"Retry-After": "1"})

"""What an answer of Vapi means to whoever asked us to configure an assistant: a refusal that says what to do."""

from collections.abc import Iterable
from http import HTTPStatus

import msgspec

from runtime.refusals import BadGateway, Conflict, GatewayTimeout, Invalid, Refusal, Unavailable
from webhooks.vapi_client import Asked

CONFIGURE, ASSISTANT = "/configure_vapi", "/vapi_assistant_id"
LONGEST_REASON = 300  # characters of Vapi's own words that are passed on
SHORTEST_SECRET = 8
NO_KEY = "Set the tenant's own key at Vapi first, with PUT /v1/vapi."
SIGNS = (
    "Only a bearer secret in the header Authorization can be set at Vapi from here. Make this credential in Vapi's dashboard "
    "(Settings, Integrations, Server Configuration), choose it for the assistant, and set the rest with POST /v1/assistants/{id}/check."
)
LEFT = (
    " What had been changed at Vapi could not be put back, so the assistant there may be half configured. It stays registered here,"
    " so that its calls are answered. Send the request again, or put it back with POST /v1/assistants/{id}/restore."
)


class SetupFailed(Exception):
    """Vapi did not do what was asked. `left`: it may be changed all the same, since it did not take it back either."""

    def __init__(self, refusal: Refusal, *, left: bool = False) -> None:
        super().__init__(type(refusal).__name__)
        self.refusal = refusal
        self.left = left

    def told(self) -> Refusal:
        """What to answer."""
        if self.left:
            self.refusal.detail += LEFT
        return self.refusal


class SetupBroke(Exception):
    """Something went wrong that is no word of Vapi's: `error`, which is told as it is once all is taken back. `left`: as of SetupFailed."""

    def __init__(self, error: Exception, *, left: bool) -> None:
        super().__init__(type(error).__name__)
        self.error = error
        self.left = left


def refusal_of(asked: Asked, secrets: Iterable[str] = ()) -> Refusal:
    """What to answer when Vapi did not do what it was asked; none of the secrets is in it."""
    if asked.word == "later":
        return later(asked)
    match asked.word:
        case "refused":
            return Invalid.at(CONFIGURE, "Vapi refuses the key. Set a valid private key of the assistant's organisation with PUT /v1/vapi.")
        case "absent":
            return Invalid.at(ASSISTANT, "Vapi knows no such assistant under this key.")
        case "invalid":
            return Invalid.at(CONFIGURE, f"Vapi does not take the change: {reasons(asked.body, secrets)}")
        case "conflict":
            return Conflict("Vapi says that the change contradicts what is there. Look at the assistant in its dashboard.")
    return BadGateway("Vapi's answer makes no sense. Send the request again later, and look at the assistant in its dashboard.")


def later(asked: Asked) -> Refusal:
    """What to answer when Vapi is away or busy."""
    if asked.status == HTTPStatus.TOO_MANY_REQUESTS:
        busy = Unavailable("Vapi asks to be left alone for a while. Send the request again then.")
        busy.headers["Retry-After"] = str(max(1, round(asked.wait)))
        return busy
    if asked.status == 0:
        return GatewayTimeout("Vapi cannot be reached, or did not answer in time. Send the request again later.")
    return BadGateway(f"Vapi failed with status {asked.status}. Send the request again later.")


def reasons(body: bytes, secrets: Iterable[str]) -> str:
    """Vapi's own words, short and on one line; withheld where they repeat a secret."""
    try:
        message = msgspec.json.decode(body, type=dict[str, object]).get("message")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        message = None
    words = message if isinstance(message, list) else [message]
    text = "; ".join(" ".join(word.split()) for word in words if isinstance(word, str))[:LONGEST_REASON]
    if any(secret[:SHORTEST_SECRET] in text for secret in secrets if secret):
        return "it gave reasons that repeat a secret, so they are not shown."
    return "".join(each for each in text if each.isprintable()) or "it gave no reason."

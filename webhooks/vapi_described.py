"""Our tools as Vapi takes them (`POST /tool`); their server is left out, so that calls go where the assistant's messages go."""

from tenants.snapshot import Snapshot
from webhooks.vapi_wish import Json


def described(_tenant: Snapshot, _url: str) -> list[Json]:
    """The tools that every tenant has."""
    return [
        tool("send_sms", "Text the caller. The answer says when the text leaves.", {"body": "What to text."}, ["body"]),
        tool("current_time", "Today's date and the time where the business is.", {}, []),
    ]


def tool(name: str, description: str, texts: dict[str, str], required: list[str]) -> Json:
    """One function tool whose parameters are texts."""
    properties = {each: {"type": "string", "description": what} for each, what in texts.items()}
    parameters = {"type": "object", "properties": properties, "required": required}
    return {"type": "function", "async": False, "function": {"name": name, "description": description, "parameters": parameters}}

"""What the OpenAPI document says of refusals: every operation names the ones it may answer with, in the one shape they have."""

from litestar.openapi.spec import OpenAPI, OpenAPIMediaType, OpenAPIResponse, Operation, PathItem, Reference, Schema
from litestar.openapi.spec.enums import OpenAPIType

from api.problems import MEDIA_TYPE

NAME = "Problem"
METHODS = ("get", "put", "post", "patch", "delete")
KEYED = {"409", "422"}  # what an Idempotency-Key may lead to, on every operation that changes something
DESCRIPTIONS = {
    "400": "The request is not valid; `errors` says where.",
    "401": "No key, or an unknown one.",
    "403": "The key may not do this.",
    "404": "There is no such thing, or it is somebody else's.",
    "409": "It contradicts what is already there, or the same request under the same Idempotency-Key is being worked on.",
    "413": "The body is over the limit.",
    "415": "The body is not JSON by its own word.",
    "422": "The Idempotency-Key was used before with another body.",
    "429": "More texts wait than this tenant's queue may hold, or for longer; Retry-After says when to send it again.",
    "502": "Vapi failed, or its answer made no sense; everything is as it was, or `detail` says what is not.",
    "503": "Nothing was stored; send it again.",
    "504": "Vapi did not answer in time; as for 502.",
}
QUEUING = ("/v1/messages", "/v1/messages/{message_id}/resend")
ASKING_VAPI = "/v1/assistants"  # what creates, rotates, checks, restores or removes there


def document_problems(document: OpenAPI) -> None:
    """Put the refusals into the document; what a route says of its own stays, in the same shape."""
    document.components.schemas[NAME] = problem_schema()
    for path, item in (document.paths or {}).items():
        for method in METHODS:
            operation: Operation | None = getattr(item, method)
            if operation is not None:
                put_problems(path, item, operation)


def put_problems(path: str, item: PathItem, operation: Operation) -> None:
    """One operation's refusals, instead of the framework's own idea of them."""
    answers = operation.responses or {}
    told = {status: answer.description for status, answer in answers.items() if is_problem(answer) and isinstance(answer, OpenAPIResponse)}
    wanted = told | {status: DESCRIPTIONS[status] for status in refusals_of(path, item, operation)}
    kept = {status: answer for status, answer in answers.items() if status < "400"}
    operation.responses = kept | {status: refusal(wanted[status]) for status in sorted(wanted)}


def refusals_of(path: str, item: PathItem, operation: Operation) -> set[str]:
    """The statuses that an operation may refuse with."""
    if path.startswith("/twilio"):
        return {"403", "404", "413", "503"} if "{message_id}" in path else {"403", "413", "503"}
    if not path.startswith("/v1"):
        return {"503"} if path == "/health/ready" else set()
    found = {"401", "403", "503"}
    if operation is item.post and path in QUEUING:
        found.add("429")
    if operation.request_body or operation.parameters:
        found.add("400")
    if "{" in path:
        found.add("404")
    if operation.request_body:
        found |= {"413", "415"}
    if operation is not item.get:
        found |= KEYED
    if path.startswith(ASKING_VAPI) and operation in (item.post, item.delete):
        found |= {"502", "504"}
    return found


def is_problem(answer: OpenAPIResponse | Reference) -> bool:
    """Whether a route documented this refusal itself."""
    return isinstance(answer, OpenAPIResponse) and MEDIA_TYPE in (answer.content or {})


def refusal(description: str) -> OpenAPIResponse:
    """One refusal."""
    return OpenAPIResponse(description, content={MEDIA_TYPE: OpenAPIMediaType(Reference(f"#/components/schemas/{NAME}"))})


def problem_schema() -> Schema:
    """A problem document (RFC 9457) as api/problems.py writes it."""
    text = Schema(type=OpenAPIType.STRING)
    place = Schema(type=OpenAPIType.OBJECT, properties={"pointer": text, "detail": text}, required=["pointer", "detail"])
    return Schema(
        type=OpenAPIType.OBJECT,
        title=NAME,
        description="What went wrong (RFC 9457).",
        required=["type", "title", "status", "detail", "request_id"],
        properties={
            "type": text,
            "title": text,
            "status": Schema(type=OpenAPIType.INTEGER),
            "detail": text,
            "request_id": Schema(type=OpenAPIType.STRING, description="Also in the header X-Request-Id; quote it."),
            "errors": Schema(
                type=OpenAPIType.ARRAY, items=place, description="Of a 400: JSON pointers (RFC 6901) and what is wrong there."
            ),
        },
    )

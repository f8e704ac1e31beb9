"""What the OpenAPI document says of the Idempotency-Key: every operation of our own API that changes something takes it."""

from litestar.openapi.spec import OpenAPI, Operation, Parameter, Schema
from litestar.openapi.spec.enums import OpenAPIType

from api.idempotency import KEY_DESCRIPTION, KEY_HEADER, LONGEST

MUTATING = ("put", "post", "patch", "delete")
OURS = "/v1"


def document_keys(document: OpenAPI) -> None:
    """Put the header into the document where a route does not name it itself."""
    for path, item in (document.paths or {}).items():
        for method in MUTATING:
            operation: Operation | None = getattr(item, method)
            if operation is not None and path.startswith(OURS) and not names_key(operation):
                operation.parameters = [*(operation.parameters or []), key_parameter()]


def names_key(operation: Operation) -> bool:
    """Whether the route takes the header as a parameter of its own."""
    return any(isinstance(each, Parameter) and each.name == KEY_HEADER for each in operation.parameters or ())


def key_parameter() -> Parameter:
    """The header as api/idempotency.py reads it."""
    text = Schema(type=OpenAPIType.STRING, min_length=1, max_length=LONGEST)
    return Parameter(name=KEY_HEADER, param_in="header", required=False, description=KEY_DESCRIPTION, schema=text)

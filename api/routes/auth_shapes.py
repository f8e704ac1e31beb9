"""How Vapi proves itself, as the HTTP contract has it: the options of its credentials, and the secret at the only time it is shown."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from api.routes.shapes import END
from runtime.refusals import Invalid
from tenants.signature_plans import BearerPlan, Plan, SignaturePlan, check

HeaderName = Annotated[str, Meta(max_length=64, description="The name of a header; upper and lower case are the same.")]
Secret = Annotated[
    str, Meta(max_length=1_000, description="A secret of your own, 16 to 512 printable ASCII characters. Without one, one is made.")
]
Prefix = Annotated[
    str, Meta(max_length=64, pattern=r"^[\x21-\x7e]*" + END, description="What stands before the signature.", examples=["sha256="])
]
Format = Annotated[
    str,
    Meta(
        max_length=500,
        pattern=r"^[\x20-\x7e\n\r\t]*" + END,
        description="What is signed, out of {timestamp}, {body}, {method}, {url}, {svix-id}. The default is {timestamp}.{body}, "
        "without a timestamp {body}.",
        examples=["{timestamp}.{body}"],
    ),
]
Window = Annotated[int, Meta(ge=10, le=86_400, description="How far the timestamp may be from now, in seconds.", examples=[300])]
HMAC_ONLY = (
    "algorithm",
    "signature_header",
    "timestamp_header",
    "signature_prefix",
    "include_timestamp",
    "payload_format",
    "message_id_header",
    "signature_encoding",
    "secret_is_base64",
    "replay_window_seconds",
)
BEARER_ONLY = ("header_name", "bearer_prefix")


class AuthRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How Vapi proves itself. What is left out is as Vapi has it by default; an option of the other mode is a mistake."""

    mode: Literal["bearer", "hmac"] = "bearer"
    secret: Secret | UnsetType = UNSET
    header_name: HeaderName | UnsetType = UNSET
    bearer_prefix: bool | UnsetType = UNSET
    algorithm: Literal["sha256", "sha512", "sha1"] | UnsetType = UNSET
    signature_header: HeaderName | UnsetType = UNSET
    timestamp_header: HeaderName | UnsetType = UNSET
    signature_prefix: Prefix | UnsetType = UNSET
    include_timestamp: bool | UnsetType = UNSET
    payload_format: Format | UnsetType = UNSET
    message_id_header: HeaderName | UnsetType = UNSET
    signature_encoding: Literal["hex", "base64"] | UnsetType = UNSET
    secret_is_base64: bool | UnsetType = UNSET
    replay_window_seconds: Window | UnsetType = UNSET

    @property
    def given(self) -> str | None:
        """The user's own secret, if any."""
        return None if isinstance(self.secret, UnsetType) else self.secret

    def plan(self) -> Plan:
        """As it is stored and checked.

        Raises:
            Invalid: an option of the other mode, or one that cannot work.
        """
        other = HMAC_ONLY if self.mode == "bearer" else BEARER_ONLY
        for option in other:
            if getattr(self, option) is not UNSET:
                raise Invalid.at(f"/auth/{option}", f"This is no option of the mode {self.mode}.")
        kind: type[BearerPlan | SignaturePlan] = BearerPlan if self.mode == "bearer" else SignaturePlan
        given = {name: getattr(self, name) for name in kind.__struct_fields__ if getattr(self, name) is not UNSET}
        plan = kind(
            **{name: value.lower() if name.endswith("_header") or name == "header_name" else value for name, value in given.items()}
        )
        check(plan)
        return plan


class Auth(msgspec.Struct, frozen=True, omit_defaults=True):
    """The credential with the options of its mode; the secret appears only when it is new."""

    mode: str
    secret: str | None = None
    header_name: str | UnsetType = UNSET
    bearer_prefix: bool | UnsetType = UNSET
    algorithm: str | UnsetType = UNSET
    signature_header: str | UnsetType = UNSET
    timestamp_header: str | UnsetType = UNSET
    signature_prefix: str | UnsetType = UNSET
    include_timestamp: bool | UnsetType = UNSET
    payload_format: str | UnsetType = UNSET
    message_id_header: str | UnsetType = UNSET
    signature_encoding: str | UnsetType = UNSET
    secret_is_base64: bool | UnsetType = UNSET
    replay_window_seconds: int | UnsetType = UNSET


def shown_auth(plan: Plan, secret: str | None = None) -> Auth:
    """A credential as the contract has it; header names in lower case."""
    if isinstance(plan, BearerPlan):
        return Auth("bearer", secret, header_name=plan.header_name, bearer_prefix=plan.bearer_prefix)
    return Auth("hmac", secret, **{**msgspec.structs.asdict(plan), "payload_format": plan.format})

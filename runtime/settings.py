"""Every setting with its default and its reason. A wrong or missing one stops the start with one sentence that names it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from urllib.parse import urlsplit

from runtime.crypto import Keyring

PREFIX = "TRUNKLINE_"
SANDBOX_HOSTS = {"127.0.0.1", "localhost", "::1"}
DEFAULT_TWILIO = "https://api.twilio.com"
DEFAULT_VAPI = "https://api.vapi.ai"


class SettingError(Exception):
    """One sentence that names the setting and says what it should be."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment, read once. Empty text means "not set"."""

    database_url: str = ""  # application role; it owns nothing
    database_owner_url: str = ""  # migrations only
    redis_url: str = ""
    public_base_url: str = ""  # what Vapi and Twilio reach us by; signatures are made over it
    secret_keys: str = ""  # "id:base64 of 32 bytes", newest first, comma between them
    admin_key: str = ""
    twilio_base_url: str = DEFAULT_TWILIO
    vapi_base_url: str = DEFAULT_VAPI
    vapi_api_key: str = ""
    environment: str = "production"  # development | test | production
    log_format: str = "json"  # json | console
    host: str = "127.0.0.1"
    port: int = 8080
    metrics_port: int = 0  # 0: /metrics on the API's own port
    worker_port: int = 0  # 0: the worker answers no probes
    data_dir: str = ".trunkline"
    database_connections: int = 16  # per process; one tenant uses at most a quarter
    sentry_dsn: str = ""

    @property
    def keyring(self) -> Keyring:
        """The keys for secrets at rest and keyed hashes."""
        return Keyring.parse(self.secret_keys)


def load(*required: str, environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings from the environment; `required` names those that this command cannot do without.

    Raises:
        SettingError: one is missing, malformed, or unfit for production.
    """
    values: dict[str, str | int] = {}
    for field in fields(Settings):
        name = "SENTRY_DSN" if field.name == "sentry_dsn" else PREFIX + field.name.upper()
        given = environ.get(name, "").strip()
        if given:
            values[field.name] = whole_number(name, given) if field.type is int else given
        elif field.name in required:
            raise SettingError(f"{name} is not set; this command needs it.")
    settings = Settings(**values)  # type: ignore[arg-type]  # each value has its field's type: see whole_number
    check(settings)
    return settings


def whole_number(name: str, given: str) -> int:
    """The number in `given`, or a sentence that names the setting."""
    if not given.isascii() or not given.isdigit():
        raise SettingError(f"{name} should be a whole number.")
    return int(given)


def check(settings: Settings) -> None:
    """Refuse what cannot work, and in production what is meant for a sandbox."""
    for field, schemes in {"database_url": POSTGRES, "database_owner_url": POSTGRES, "redis_url": ("redis", "rediss", "unix")}.items():
        value = getattr(settings, field)
        if value and urlsplit(value).scheme not in schemes:
            raise SettingError(f"{PREFIX}{field.upper()} should start with {schemes[0]}://.")
    for field in ("public_base_url", "twilio_base_url", "vapi_base_url"):
        value = getattr(settings, field)
        if value and urlsplit(value).scheme not in ("http", "https"):
            raise SettingError(f"{PREFIX}{field.upper()} should be an http or https address.")
    if settings.environment not in ("development", "test", "production"):
        raise SettingError(f"{PREFIX}ENVIRONMENT should be development, test or production.")
    if settings.log_format not in ("json", "console"):
        raise SettingError(f"{PREFIX}LOG_FORMAT should be json or console.")
    if settings.secret_keys:
        try:
            Keyring.parse(settings.secret_keys)
        except ValueError as error:
            raise SettingError(f"{PREFIX}SECRET_KEYS {error}") from None
    if settings.environment == "production":
        check_production(settings)


def check_production(settings: Settings) -> None:
    """Production refuses sandbox addresses and keys."""
    for field in ("twilio_base_url", "vapi_base_url"):
        if urlsplit(getattr(settings, field)).hostname in SANDBOX_HOSTS:
            raise SettingError(f"{PREFIX}{field.upper()} points at a sandbox; unset it or set {PREFIX}ENVIRONMENT=development.")
    if settings.public_base_url and not settings.public_base_url.startswith("https://"):
        raise SettingError(f"{PREFIX}PUBLIC_BASE_URL should start with https:// in production: keys travel over it.")
    if settings.admin_key and (len(settings.admin_key) < 24 or settings.admin_key.startswith("dev")):  # noqa: PLR2004  a guessable key
        raise SettingError(f"{PREFIX}ADMIN_KEY is too short or a development key; make one of at least 24 random characters.")
    if settings.secret_keys and settings.secret_keys.startswith("dev"):
        raise SettingError(f"{PREFIX}SECRET_KEYS holds a development key; make one with `trunkline secrets new`.")


POSTGRES = ("postgresql", "postgres", "postgresql+asyncpg")

"""Every setting with its default and its reason. A wrong or missing one stops the start with one sentence that names it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from runtime.addresses import AllowedHosts
from runtime.crypto import Keyring

PREFIX = "TRUNKLINE_"
POSTGRES = ("postgresql", "postgres", "postgresql+asyncpg")
REDIS = ("redis", "rediss", "unix")
WEB = ("http", "https")
SCHEMES = {"database_url": POSTGRES, "database_owner_url": POSTGRES, "redis_url": REDIS}
WEB_ADDRESSES = ("public_base_url", "twilio_base_url", "vapi_base_url")
PORTS = range(65_536)
FEWEST_CONNECTIONS, SHORTEST_ADMIN_KEY = 1, 24
DEFAULT_TWILIO = "https://api.twilio.com"
DEFAULT_VAPI = "https://api.vapi.ai"


class SettingError(Exception):
    """One sentence that names the setting and says what it should be."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment, read once. Empty text means "not set"."""

    database_url: str = field(default="", repr=False)  # application role; it owns nothing
    database_owner_url: str = field(default="", repr=False)  # migrations only
    redis_url: str = field(default="", repr=False)
    public_base_url: str = ""  # what Vapi and Twilio reach us by; signatures are made over it
    secret_keys: str = field(default="", repr=False)  # "id:base64 of 32 bytes", newest first, comma between them
    admin_key: str = field(default="", repr=False)
    twilio_base_url: str = DEFAULT_TWILIO
    vapi_base_url: str = DEFAULT_VAPI
    vapi_api_key: str = field(default="", repr=False)
    tool_hosts_allowed: str = ""  # hosts, addresses, networks that tenants' tools may reach though they are not public
    quiet_hours_file: str = ""  # the operator's own rules about hours; empty: those that came with this release
    environment: str = "production"  # development | test | production
    log_format: str = "json"  # json | console
    host: str = "127.0.0.1"
    port: int = 8080
    metrics_port: int = 0  # 0: /metrics on the API's own port
    worker_port: int = 0  # 0: the worker answers no probes
    data_dir: str = ".trunkline"
    database_connections: int = 16  # per process; one tenant uses at most a quarter
    sentry_dsn: str = field(default="", repr=False)

    @property
    def keyring(self) -> Keyring:
        """The keys for secrets at rest and keyed hashes."""
        return Keyring.parse(self.secret_keys)

    @property
    def tool_hosts(self) -> AllowedHosts:
        """Hosts that tenants' tools may reach though they are not public, and over plain http."""
        return AllowedHosts.parse(self.tool_hosts_allowed)


def load(*required: str, environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings from the environment; `required` names those that this command cannot do without.

    Raises:
        SettingError: one is missing, malformed, or unfit for production.
    """
    values: dict[str, str | int] = {}
    for each in fields(Settings):
        name = name_of(each.name)
        given = environ.get(name, "").strip()
        if given:
            values[each.name] = whole_number(name, given) if each.type is int else given
        elif each.name in required:
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
    check_addresses(settings)
    check_numbers(settings)
    if settings.environment not in ("development", "test", "production"):
        raise SettingError(f"{name_of('environment')} should be development, test or production.")
    if settings.log_format not in ("json", "console"):
        raise SettingError(f"{name_of('log_format')} should be json or console.")
    check_keys(settings)
    check_tool_hosts(settings)
    check_dsn(settings)
    if settings.environment == "production":
        check_production(settings)


def check_addresses(settings: Settings) -> None:
    """Every address has a scheme that its client speaks."""
    for name, schemes in SCHEMES.items():
        if getattr(settings, name) and split(settings, name).scheme not in schemes:
            raise SettingError(f"{name_of(name)} should start with {schemes[0]}://.")
    for name in WEB_ADDRESSES:
        address = split(settings, name)
        if getattr(settings, name) and not (address.scheme in WEB and address.hostname):
            raise SettingError(f"{name_of(name)} should be an http or https address.")


def check_numbers(settings: Settings) -> None:
    """Every number is in its range."""
    for name in ("port", "metrics_port", "worker_port"):
        if getattr(settings, name) not in PORTS:
            raise SettingError(f"{name_of(name)} should be a port, at most {PORTS[-1]}.")
    if settings.database_connections < FEWEST_CONNECTIONS:
        raise SettingError(f"{name_of('database_connections')} should be at least {FEWEST_CONNECTIONS}.")


def check_keys(settings: Settings) -> None:
    """The keys for secrets at rest can be read."""
    if settings.secret_keys:
        try:
            Keyring.parse(settings.secret_keys)
        except ValueError as error:
            raise SettingError(f"{name_of('secret_keys')} {error}") from None


def check_tool_hosts(settings: Settings) -> None:
    """The hosts that the operator allows can be read."""
    try:
        AllowedHosts.parse(settings.tool_hosts_allowed)
    except ValueError as error:
        raise SettingError(f"{name_of('tool_hosts_allowed')} {error}") from None


def check_dsn(settings: Settings) -> None:
    """A DSN has a key, a host and a project (develop.sentry.dev, "DSN"); the SDK would stop with a trace."""
    dsn = split(settings, "sentry_dsn")
    if settings.sentry_dsn and not (dsn.scheme in WEB and dsn.username and dsn.hostname and dsn.path.rpartition("/")[2].isdigit()):
        raise SettingError("SENTRY_DSN should look like https://key@host/project.")


def check_production(settings: Settings) -> None:
    """Production refuses sandbox addresses and keys."""
    for name in ("twilio_base_url", "vapi_base_url"):
        if is_loopback(split(settings, name).hostname or ""):
            raise SettingError(f"{name_of(name)} points at a sandbox; unset it or set {name_of('environment')}=development.")
    if settings.public_base_url and split(settings, "public_base_url").scheme != "https":
        raise SettingError(f"{name_of('public_base_url')} should start with https:// in production: keys travel over it.")
    if settings.admin_key and (len(settings.admin_key) < SHORTEST_ADMIN_KEY or settings.admin_key.startswith("dev")):
        raise SettingError(
            f"{name_of('admin_key')} is too short or a development key; make one of at least {SHORTEST_ADMIN_KEY} random characters."
        )
    if settings.secret_keys and any(key.id.startswith("dev") for key in settings.keyring.keys):
        raise SettingError(f"{name_of('secret_keys')} holds a development key; make one with `trunkline secrets new`.")


def split(settings: Settings, name: str) -> SplitResult:
    """The parts of an address.

    Raises:
        SettingError: it is none, as with a bracket or a port that does not read.
    """
    try:
        parts: SplitResult = urlsplit(getattr(settings, name))
        _ = parts.port  # read only when asked for
    except ValueError:
        raise SettingError(f"{name_of(name)} is no address: its host or port does not read.") from None
    return parts


def is_loopback(host: str) -> bool:
    """Whether an address leads back to this machine."""
    try:
        found = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return found.is_loopback or found.is_unspecified


def name_of(field_name: str) -> str:
    """A setting as the environment names it."""
    return "SENTRY_DSN" if field_name == "sentry_dsn" else PREFIX + field_name.upper()

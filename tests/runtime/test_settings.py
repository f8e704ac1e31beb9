import base64

import pytest

from runtime.crypto import new_master_key
from runtime.settings import SettingError, load

KEYS = new_master_key("k1")
ADMIN = "an operator's key of enough length"
GOOD = {
    "TRUNKLINE_DATABASE_URL": "postgresql://app:pw@db.example.com/trunkline",
    "TRUNKLINE_DATABASE_OWNER_URL": "postgres://owner:pw@db.example.com:5432/trunkline",
    "TRUNKLINE_REDIS_URL": "rediss://redis.example.com:6379/0",
    "TRUNKLINE_PUBLIC_BASE_URL": "https://hooks.example.com",
    "TRUNKLINE_SECRET_KEYS": KEYS,
    "TRUNKLINE_ADMIN_KEY": ADMIN,
    "TRUNKLINE_PORT": "9000",
    "SENTRY_DSN": "https://key@o1.ingest.example.com/42",
}


def test_what_is_good_is_taken() -> None:
    settings = load("database_url", "redis_url", environ=GOOD)
    assert settings.database_url == GOOD["TRUNKLINE_DATABASE_URL"]
    assert (settings.port, settings.environment, settings.log_format) == (9000, "production", "json")
    assert settings.twilio_base_url == "https://api.twilio.com"
    assert settings.keyring.keys[0].id == "k1"
    assert settings.sentry_dsn == GOOD["SENTRY_DSN"]


def test_nothing_is_needed_but_what_a_command_names() -> None:
    assert load(environ={}).database_url == ""
    assert load(environ={"TRUNKLINE_REDIS_URL": "  "}).redis_url == ""


@pytest.mark.parametrize("given", [{}, {"TRUNKLINE_REDIS_URL": ""}, {"TRUNKLINE_REDIS_URL": " "}, {"REDIS_URL": "redis://localhost"}])
def test_a_missing_one_is_named(given: dict[str, str]) -> None:
    with pytest.raises(SettingError, match=r"^TRUNKLINE_REDIS_URL is not set; this command needs it\.$"):
        load("redis_url", environ=given)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRUNKLINE_DATABASE_URL", "mysql://db.example.com/trunkline"),
        ("TRUNKLINE_DATABASE_URL", "db.example.com/trunkline"),
        ("TRUNKLINE_DATABASE_URL", "postgresql://app:pw@db.example.com:port/trunkline"),
        ("TRUNKLINE_DATABASE_URL", "postgresql://app:p#w@db.example.com/trunkline"),
        ("TRUNKLINE_DATABASE_OWNER_URL", "sqlite:///file"),
        ("TRUNKLINE_REDIS_URL", "http://redis.example.com"),
        ("TRUNKLINE_REDIS_URL", "redis://[::1"),
        ("TRUNKLINE_PUBLIC_BASE_URL", "hooks.example.com"),
        ("TRUNKLINE_PUBLIC_BASE_URL", "https:///path"),
        ("TRUNKLINE_TWILIO_BASE_URL", "ftp://api.twilio.com"),
        ("TRUNKLINE_VAPI_BASE_URL", "api.vapi.ai"),
        ("TRUNKLINE_PORT", "http"),
        ("TRUNKLINE_PORT", "-1"),
        ("TRUNKLINE_PORT", "65536"),
        ("TRUNKLINE_PORT", "٣"),
        ("TRUNKLINE_METRICS_PORT", "70000"),
        ("TRUNKLINE_WORKER_PORT", "tcp://10.0.0.1:80"),
        ("TRUNKLINE_DATABASE_CONNECTIONS", "0"),
        ("TRUNKLINE_TOOL_HOSTS_ALLOWED", "10.0.0.1/8"),
        ("TRUNKLINE_TOOL_HOSTS_ALLOWED", "http://tools.internal"),
        ("TRUNKLINE_TOOL_HOSTS_ALLOWED", "tools.internal 10.0.0.0/8"),
        ("TRUNKLINE_TOOL_HOSTS_ALLOWED", "127.1"),
        ("TRUNKLINE_ENVIRONMENT", "staging"),
        ("TRUNKLINE_LOG_FORMAT", "xml"),
        ("TRUNKLINE_SECRET_KEYS", "k1:short"),
        pytest.param("TRUNKLINE_SECRET_KEYS", f"{KEYS},{KEYS}", id="one key twice"),
        ("SENTRY_DSN", "https://o1.ingest.example.com/42"),
        ("SENTRY_DSN", "https://key@o1.ingest.example.com"),
        ("SENTRY_DSN", "key@o1.ingest.example.com/42"),
    ],
)
def test_a_wrong_one_is_named_in_one_sentence_without_its_value(name: str, value: str) -> None:
    with pytest.raises(SettingError) as refused:
        load(environ=GOOD | {name: value})
    sentence = str(refused.value)
    assert sentence.startswith(name)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert value not in sentence


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRUNKLINE_TWILIO_BASE_URL", "http://127.0.0.1:9000"),
        ("TRUNKLINE_TWILIO_BASE_URL", "http://localhost"),
        ("TRUNKLINE_TWILIO_BASE_URL", "http://127.1.2.3"),
        ("TRUNKLINE_TWILIO_BASE_URL", "http://0.0.0.0:9000"),
        ("TRUNKLINE_VAPI_BASE_URL", "http://[::1]:9000"),
        ("TRUNKLINE_PUBLIC_BASE_URL", "http://hooks.example.com"),
        ("TRUNKLINE_ADMIN_KEY", "short"),
        ("TRUNKLINE_ADMIN_KEY", "dev" + ADMIN),
        pytest.param("TRUNKLINE_SECRET_KEYS", new_master_key("dev1"), id="a key of the sandbox"),
        pytest.param("TRUNKLINE_SECRET_KEYS", f"{KEYS},{new_master_key('dev1')}", id="a key of the sandbox behind a real one"),
    ],
)
def test_production_refuses_what_is_meant_for_a_sandbox(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=f"^{name} "):
        load(environ=GOOD | {name: value})
    assert load(environ=GOOD | {name: value, "TRUNKLINE_ENVIRONMENT": "development"})


def test_printed_settings_hold_no_secret() -> None:
    secrets = ["pw@", KEYS.partition(":")[2], ADMIN, "key@o1", "vapi-key"]
    assert base64.b64decode(secrets[1])
    shown = repr(load(environ=GOOD | {"TRUNKLINE_VAPI_API_KEY": "vapi-key"}))
    assert [secret for secret in secrets if secret in shown] == []

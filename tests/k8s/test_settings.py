"""The settings of each pod are ones that the code knows, needs and accepts."""

import base64
import os
from dataclasses import fields
from typing import Any

import pytest

from runtime.settings import SettingError, Settings, load

KNOWN = {"SENTRY_DSN" if field.name == "sentry_dsn" else f"TRUNKLINE_{field.name.upper()}" for field in fields(Settings)}
REQUIRED = {
    "api": ("database_url", "redis_url", "public_base_url", "secret_keys", "admin_key"),
    "worker": ("database_url", "redis_url", "public_base_url", "secret_keys"),
    "cleanup": ("database_url", "redis_url"),
    "migrate": ("database_owner_url",),
}
OWNER = ("trunkline-owner", "database-owner-url")
COMPONENTS = sorted(REQUIRED)


def filled_in() -> dict[tuple[str, str], str]:
    """What an operator writes over the placeholders."""
    return {
        ("trunkline-app", "database-url"): "postgresql://app@postgres.example.com/trunkline",
        ("trunkline-app", "redis-url"): "rediss://redis.example.com:6379/0",
        ("trunkline-app", "secret-keys"): "first:" + base64.b64encode(os.urandom(32)).decode(),
        ("trunkline-app", "admin-key"): base64.b64encode(os.urandom(24)).decode(),
        ("trunkline-app", "vapi-api-key"): "",
        ("trunkline-app", "sentry-dsn"): "",
        OWNER: "postgresql://owner@postgres.example.com/trunkline",
    }


@pytest.mark.parametrize("component", COMPONENTS)
def test_no_setting_is_unknown_to_the_code(rendered: Any, component: str) -> None:
    plain, secret = rendered.environment(component)
    assert plain.keys() | secret.keys() <= KNOWN


@pytest.mark.parametrize("component", COMPONENTS)
def test_production_starts_with_them(rendered: Any, component: str) -> None:
    plain, secret = rendered.environment(component)
    values = filled_in()
    settings = load(*REQUIRED[component], environ=plain | {name: values[reference] for name, reference in secret.items()})
    assert settings.environment == "production"
    assert settings.log_format == "json"


@pytest.mark.parametrize("component", COMPONENTS)
def test_production_refuses_the_placeholders(rendered: Any, secrets: dict[tuple[str, str], str], component: str) -> None:
    plain, secret = rendered.environment(component)
    with pytest.raises(SettingError):
        load(*REQUIRED[component], environ=plain | {name: secrets[reference] for name, reference in secret.items()})


def test_every_secret_key_referred_to_is_in_the_example_and_none_is_spare(rendered: Any, secrets: dict[tuple[str, str], str]) -> None:
    assert {reference for component in COMPONENTS for reference in rendered.environment(component)[1].values()} == secrets.keys()
    assert filled_in().keys() == secrets.keys()


def test_only_the_migration_sees_the_owner_and_it_sees_nothing_else(rendered: Any) -> None:
    for component in COMPONENTS:
        _, secret = rendered.environment(component)
        assert (OWNER in secret.values()) == (component == "migrate")
    assert rendered.environment("migrate")[1] == {"TRUNKLINE_DATABASE_OWNER_URL": OWNER}


def test_only_the_api_sees_the_admin_key(rendered: Any) -> None:
    assert [component for component in COMPONENTS if "TRUNKLINE_ADMIN_KEY" in rendered.environment(component)[1]] == ["api"]

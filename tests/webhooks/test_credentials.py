import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import clock
from runtime.crypto import Keyring, new_master_key
from tenants.snapshot import Snapshot
from tests.webhooks.snapshots import snapshot
from webhooks.credentials import authenticates, presented_secrets

KEY = new_master_key("one")
KEYRING = Keyring.parse(KEY)
FOREVER = float("inf")


def tenant(*secrets: str, until: float = FOREVER) -> Snapshot:
    return snapshot(credentials={KEYRING.digest(secret): until for secret in secrets})


@pytest.mark.parametrize(
    ("authorization", "vapi_secret", "secrets"),
    [
        (None, None, []),
        ("", "", []),
        ("Bearer ", "", []),
        ("Bearer    ", "   ", []),
        ("Bearer s", None, ["s"]),
        ("bearer s", None, ["s"]),
        ("BEARER  s ", None, ["s"]),
        ("Basic s", None, []),
        ("s", None, []),
        ("Bearers", None, []),
        (None, "s", ["s"]),
        ("Bearer a", "b", ["a", "b"]),
        ("Bearer a", "", ["a"]),
    ],
)
def test_secrets_stand_in_two_headers_and_an_empty_one_is_none(
    authorization: str | None, vapi_secret: str | None, secrets: list[str]
) -> None:
    assert presented_secrets(authorization, vapi_secret) == secrets


def test_only_the_tenants_own_secret_opens() -> None:
    assert authenticates(tenant("s"), KEYRING, ["s"])
    assert authenticates(tenant("s", "older"), KEYRING, ["older"])
    assert authenticates(tenant("s"), KEYRING, ["wrong", "s"])
    assert not authenticates(tenant("s"), KEYRING, ["S"])
    assert not authenticates(tenant("s"), KEYRING, [])
    assert not authenticates(tenant("other"), KEYRING, ["s"])
    assert not authenticates(None, KEYRING, ["s"])


def test_an_empty_secret_matches_nothing_not_even_an_empty_one() -> None:
    assert not authenticates(tenant(""), KEYRING, [""])
    assert not authenticates(tenant(""), KEYRING, [])


def test_a_secret_ends() -> None:
    assert authenticates(tenant("s", until=clock.monotonic() + 60), KEYRING, ["s"])
    assert not authenticates(tenant("s", until=clock.monotonic() - 0.001), KEYRING, ["s"])


def test_a_secret_hashed_with_an_older_key_still_opens_until_that_key_is_gone() -> None:
    newer = new_master_key("two")
    assert authenticates(tenant("s"), Keyring.parse(f"{newer},{KEY}"), ["s"])
    assert not authenticates(tenant("s"), Keyring.parse(newer), ["s"])


@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_is_presented_is_compared_and_nothing_raises(stored: str, presented: str) -> None:
    wanted = presented != "" and stored == presented
    assert authenticates(tenant(stored), KEYRING, [presented]) == wanted

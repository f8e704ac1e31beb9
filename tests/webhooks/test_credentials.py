import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import clock, crypto
from runtime.crypto import Keyring, new_master_key
from tenants.snapshot import Snapshot
from tests.webhooks.snapshots import snapshot
from webhooks.credentials import MOST_PRESENTED, authenticates, presented_secrets

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
        ("Basic s", None, ["Basic s"]),
        ("s", None, ["s"]),
        ("Bearers", None, ["Bearers"]),
        (None, "s", ["s"]),
        (None, "Bearer s", ["s"]),
        ("Bearer a", "b", ["a", "b"]),
        ("Bearer a", "", ["a"]),
    ],
)
def test_secrets_stand_in_two_headers_with_the_word_bearer_or_without_and_an_empty_one_is_none(
    authorization: str | None, vapi_secret: str | None, secrets: list[str]
) -> None:
    given = {b"authorization": authorization, b"x-vapi-secret": vapi_secret, b"x-other": "never looked at"}
    assert presented_secrets({name: value.encode() for name, value in given.items() if value is not None}) == secrets


def test_a_tenants_own_headers_are_looked_into_after_the_two() -> None:
    headers = {b"x-one": b"1", b"authorization": b"Bearer 0", b"x-two": b"Bearer 2", b"x-empty": b""}
    assert presented_secrets(headers, (b"x-two", b"x-one", b"x-empty", b"x-missing")) == ["0", "2", "1"]


@pytest.mark.parametrize("presented", [[], ["wrong"], ["wrong", "wronger"], ["w"] * MOST_PRESENTED])
@pytest.mark.parametrize("known", [True, False])
def test_a_refusal_costs_the_same_hashes_whoever_it_is_and_whatever_is_presented(
    presented: list[str], known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed, keyed = [], crypto.keyed
    monkeypatch.setattr(crypto, "keyed", lambda key, secret: hashed.append(secret) or keyed(key, secret))
    assert not authenticates(tenant("s", "t") if known else None, KEYRING, presented)
    assert len(hashed) == MOST_PRESENTED + (2 if known else 0)  # the two that the test's own tenant was made with


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


def test_a_secret_that_was_accepted_is_not_hashed_again_and_ends_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed, keyed = [], crypto.keyed
    ending = tenant("s", until=clock.monotonic() + 60)
    monkeypatch.setattr(crypto, "keyed", lambda key, secret: hashed.append(secret) or keyed(key, secret))
    assert [authenticates(ending, KEYRING, ["s"]) for _ in range(3)] == [True] * 3
    assert hashed == ["s"]
    assert not authenticates(ending, KEYRING, ["wrong"])
    assert list(ending.recognised) == ["s"], "what was refused is not remembered"
    later = clock.monotonic() + 61
    monkeypatch.setattr(clock, "monotonic", lambda: later)
    assert not authenticates(ending, KEYRING, ["s"])


def test_a_secret_hashed_with_an_older_key_still_opens_until_that_key_is_gone() -> None:
    newer = new_master_key("two")
    assert authenticates(tenant("s"), Keyring.parse(f"{newer},{KEY}"), ["s"])
    assert not authenticates(tenant("s"), Keyring.parse(newer), ["s"])


@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_is_presented_is_compared_and_nothing_raises(stored: str, presented: str) -> None:
    wanted = presented != "" and stored == presented
    assert authenticates(tenant(stored), KEYRING, [presented]) == wanted

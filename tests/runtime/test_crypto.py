import base64
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.crypto import Keyring, SealBroken, new_master_key

OLD, NEW = new_master_key("old"), new_master_key("new")
RING = Keyring.parse(NEW)
TENANT = uuid4()
COLUMN = "senders.auth_token"


@given(plain=st.text(), tenant=st.uuids(), column=st.text(max_size=40))
def test_what_was_sealed_opens_for_its_tenant_and_column(plain: str, tenant: UUID, column: str) -> None:
    try:
        plain.encode(), column.encode()
    except UnicodeEncodeError:
        return  # a lone surrogate is no text that PostgreSQL or Twilio could give us
    sealed = RING.seal(plain, tenant, column)
    assert RING.open(sealed, tenant, column) == plain
    assert sealed.startswith("new:")
    assert len(plain) < 8 or plain not in sealed


@given(tenant=st.just(TENANT) | st.uuids(), column=st.sampled_from([COLUMN, "senders.api_key_secret", "webhook_credentials.secret", ""]))
def test_it_opens_nowhere_else(tenant: UUID, column: str) -> None:
    sealed = RING.seal("a token", TENANT, COLUMN)
    if (tenant, column) == (TENANT, COLUMN):
        assert RING.open(sealed, tenant, column) == "a token"
    else:
        with pytest.raises(SealBroken):
            RING.open(sealed, tenant, column)


@given(place=st.integers(0, 34), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_breaks_it(place: int, bit: int) -> None:
    key_id, _, encoded = RING.seal("a token", TENANT, COLUMN).partition(":")
    raw = bytearray(base64.b64decode(encoded))
    assert len(raw) == 35  # nonce 12, text 7, tag 16
    raw[place] ^= 1 << bit
    with pytest.raises(SealBroken):
        RING.open(f"{key_id}:{base64.b64encode(raw).decode()}", TENANT, COLUMN)


@given(st.text() | st.text(alphabet="newold:=+/AZaz09").map(lambda text: f"new:{text}"))
def test_rubbish_breaks_and_does_nothing_else(sealed: str) -> None:
    with pytest.raises(SealBroken):
        RING.open(sealed, TENANT, COLUMN)


def test_the_refusal_names_the_column_and_no_value() -> None:
    sealed = RING.seal("a token", TENANT, COLUMN)
    with pytest.raises(SealBroken) as refused:
        RING.open(sealed, uuid4(), COLUMN)
    assert str(refused.value) == f"a sealed {COLUMN} does not open with the keys at hand"


def test_equal_secrets_do_not_look_equal() -> None:
    assert len({RING.seal("a token", TENANT, COLUMN) for _ in range(100)}) == 100


def test_rotation() -> None:
    """The new key seals, the old one still opens; without the old one its values are lost; a key's id alone opens nothing."""
    before, during, after = Keyring.parse(OLD), Keyring.parse(f"{NEW}, {OLD}"), Keyring.parse(NEW)
    old, new = before.seal("old", TENANT, COLUMN), during.seal("new", TENANT, COLUMN)
    assert (old[:4], new[:4]) == ("old:", "new:")
    assert [during.open(each, TENANT, COLUMN) for each in (old, new)] == ["old", "new"]
    assert after.open(new, TENANT, COLUMN) == "new"
    with pytest.raises(SealBroken):
        after.open(old, TENANT, COLUMN)
    with pytest.raises(SealBroken):
        during.open("new" + old[3:], TENANT, COLUMN)
    with pytest.raises(SealBroken):
        Keyring.parse(new_master_key("new")).open(new, TENANT, COLUMN)


def test_keyed_hashes_follow_rotation() -> None:
    before, during = Keyring.parse(OLD), Keyring.parse(f"{NEW},{OLD}")
    stored = before.digest("trk_secret")
    assert during.digests("trk_secret") == [during.digest("trk_secret"), stored]
    assert stored not in Keyring.parse(NEW).digests("trk_secret")
    assert (len(stored), stored == before.digest("trk_secreT")) == (32, False)


def test_sealing_and_hashing_use_keys_of_their_own() -> None:
    (key,) = RING.keys
    material = base64.b64decode(NEW.partition(":")[2])
    assert material != key.pepper
    assert len(key.pepper) == 32


def test_a_keyring_shows_nothing_of_its_keys() -> None:
    """Its repr ends in logs and in debuggers."""
    assert repr(Keyring.parse("k1:" + base64.b64encode(bytes(32)).decode())) == "Keyring(keys=(Key(id='k1'),))"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no key"),
        (" , ", "holds no key"),
        ("k1", "should be id:base64"),
        (f"k1:{base64.b64encode(bytes(31)).decode()}", "should be id:base64"),
        (f":{base64.b64encode(bytes(32)).decode()}", "should be id:base64"),
        (f"k-1:{base64.b64encode(bytes(32)).decode()}", "should be id:base64"),
        ("k1:*", "should be id:base64"),
        ("k1:Ångström", "should be id:base64"),
        pytest.param(f"{OLD},{new_master_key('old')}", "names two keys alike", id="two of one name"),
    ],
)
def test_what_is_no_keyring_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        Keyring.parse(text)
    assert base64.b64encode(bytes(31)).decode() not in str(refused.value)
